"""Aggregation: which share each unit (token, action, chunk) has in a mini-batch's loss.

Every one is linear, so it is a tensor of weights that the per-unit losses are multiplied with and added up.

=============== ================================================ ======================================
mode            loss of the mini-batch                           used by
=============== ================================================ ======================================
sequence_mean   mean over episodes of the mean over their units  GRPO, SimpleVLA-RL, SRPO, RLinf, GSPO
token_mean      mean over all units                              DAPO, PPO
sequence_sum    mean over episodes of the sum over their units   REINFORCE, RLOO
token_sum       sum over all units                               verl
=============== ================================================ ======================================

``sequence_sum`` divided by a constant length is Dr.GRPO's aggregation (arXiv 2503.20783). Names as in verl's
``agg_loss``: seq-mean-token-mean, token-mean, seq-mean-token-sum, token-sum, seq-mean-token-sum-norm.
RLinf's ``mean(loss * mask / (steps / max_episode_steps))`` over a buffer of ``max_episode_steps`` positions per episode
is ``sequence_mean``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How per-unit losses become one number."""

    mode: Literal["sequence_mean", "token_mean", "sequence_sum", "token_sum"] = "sequence_mean"
    """See the module."""
    length: float = 1.0
    """Divides the sums of ``sequence_sum`` and ``token_sum`` (Dr.GRPO: the longest possible episode, in units)."""

    def weights(self, mask: Tensor) -> Tensor:
        """Weights ``float32``, shaped like ``mask bool [B, D, C, T]`` (or whatever the units' shape is).

        Episodes without a unit do not count as episodes.
        """
        share = mask.float()
        per_episode = share.sum(dim=tuple(range(1, mask.dim())), keepdim=True)
        if self.mode == "token_mean":
            return share / share.sum().clamp(min=1.0)
        if self.mode == "token_sum":
            return share / self.length
        episodes = max(int(torch.count_nonzero(per_episode)), 1)
        if self.mode == "sequence_sum":
            return share / self.length / episodes
        return share / per_episode.clamp(min=1.0) / episodes
