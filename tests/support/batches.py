"""Small batches made by hand, and the loss an objective gives them."""

from __future__ import annotations

import numpy as np
import torch

from vlarl.objective import Decisions, LossOutput
from vlarl.types import RolloutBatch


def batch_of(mask, old_log_probs, returns, groups, succeeded=None, rewards=None, steps: bool = False) -> RolloutBatch:
    """Rows of ``[B, L]`` arrays: one decision of L tokens, or (``steps``) L decisions of one token."""
    mask = torch.as_tensor(np.asarray(mask)).bool()
    shape = (*mask.shape, 1, 1) if steps else (mask.shape[0], 1, 1, mask.shape[1])
    mask = mask.reshape(shape)
    returns = torch.as_tensor(np.asarray(returns, np.float32))
    return RolloutBatch(
        tokens=torch.zeros_like(mask, dtype=torch.int64),
        old_log_probs=torch.as_tensor(np.asarray(old_log_probs, np.float32)).reshape(shape),
        token_mask=mask,
        inputs={},
        decision_mask=mask.any(-1).any(-1),
        returns=returns,
        succeeded=returns > 0 if succeeded is None else torch.as_tensor(succeeded),
        groups=torch.as_tensor(np.asarray(groups, np.int64)),
        temperature=1.6,
        rewards=None if rewards is None else torch.as_tensor(np.asarray(rewards, np.float32)),
    )


def group_of(returns, **changes) -> RolloutBatch:
    """One group of one-token episodes with these returns."""
    count = len(returns)
    return batch_of(np.ones((count, 1)), np.zeros((count, 1)), returns, np.zeros(count), **changes)


def loss_of(objective, log_probs, batch: RolloutBatch, entropies=None) -> LossOutput:
    """The objective's loss of a whole batch whose advantages are set; ``log_probs [B, D, C, T]``."""
    decisions = Decisions.of(batch, objective.token_weights(batch))
    valid = batch.decision_mask
    entropies = torch.zeros_like(batch.old_log_probs) if entropies is None else entropies
    return objective.loss(log_probs.reshape(batch.old_log_probs.shape)[valid], entropies[valid], decisions)
