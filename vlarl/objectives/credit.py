"""Where in an episode its outcome was decided: a fitted value spreads a group-relative return over decisions.

GRPO gives every token of an episode the same advantage ``y_i = R_i - mean_g``. With hundreds of tokens per episode
most of them had no part in the outcome, and their noise buries the signal. Here a ridge regression predicts
``y`` from what the policy saw at each decision, ``f(s_t) = E[y | s_t]``, and the generalised advantage estimator
(Schulman et al., arXiv 1506.02438) hands the return out:

    delta_t = f(s_{t+1}) - f(s_t),    delta_last = y - f(s_last),    A_t = sum_l lambda^l delta_{t+l}

``f(s_0) = 0``: at the start a group knows nothing but its mean. With ``lambda = 0`` an episode's advantages add up to
its GRPO advantage exactly; with ``lambda = 1`` they are that advantage minus a baseline.

The regression is a linear feature baseline (Duan et al., arXiv 1604.06778) over pooled inputs and time. It is fitted
anew on each iteration's episodes, so nothing has to be saved, and cross-fitted: no group is predicted by a fit that
saw it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlarl.types import RolloutBatch

FOLDS = 4


def decision_advantages(batch: RolloutBatch, group_relative: Tensor, *, decay: float, ridge: float) -> Tensor:
    """Spread ``group_relative float32 [B]`` over decisions.

    Args:
        batch: episodes; its floating-point inputs are the features.
        group_relative: return of each episode minus its group's mean.
        decay: the estimator's lambda in [0, 1].
        ridge: strength of the regression's penalty, per feature of unit variance.

    Returns:
        ``float32 [B, D]``, zero where no decision took place.
    """
    mask = batch.decision_mask
    values = _cross_fitted_values(batch, group_relative.double(), ridge)
    last = mask.sum(1) - 1
    following = torch.cat((values[:, 1:], torch.zeros_like(values[:, :1])), dim=1)
    following[torch.arange(len(last)), last] = group_relative.double()
    delta = (following - values) * mask
    advantages = torch.zeros_like(delta)
    running = torch.zeros(len(delta), dtype=delta.dtype)
    for step in reversed(range(delta.shape[1])):
        running = delta[:, step] + decay * running
        advantages[:, step] = running
    return (advantages * mask).float()


def _cross_fitted_values(batch: RolloutBatch, target: Tensor, ridge: float) -> Tensor:
    """``f(s_t) float64 [B, D]``; each fold of groups is predicted by a fit to the others."""
    mask = batch.decision_mask
    features = _features(batch)
    values = torch.zeros(mask.shape, dtype=torch.float64)
    groups = batch.groups.unique()
    folds = {int(group): index % FOLDS for index, group in enumerate(groups.tolist())}
    fold = torch.tensor([folds[int(group)] for group in batch.groups])
    targets = target[:, None].expand_as(mask)
    penalty = ridge * torch.eye(features.shape[-1], dtype=torch.float64)
    for index in range(min(FOLDS, len(groups))):
        train, test = mask & (fold != index)[:, None], mask & (fold == index)[:, None]
        x, y = features[train], targets[train]
        if len(x):
            weights = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
            values[test] = features[test] @ weights
    values[:, 0] = 0.0
    return values


def _features(batch: RolloutBatch) -> Tensor:
    """Standardised ``float64 [B, D, F]``: inputs averaged over tokens, small ones also squared and times the step."""
    mask = batch.decision_mask
    step = torch.arange(mask.shape[1], dtype=torch.float64).expand(mask.shape)[..., None] / mask.shape[1]
    columns = [step, step**2, step**3]
    for value in batch.inputs.values():
        if not value.is_floating_point():
            continue
        pooled = batch.padded(value).double()
        while pooled.dim() > 3:
            pooled = pooled.mean(dim=-2)
        pooled = _standardise(pooled, mask)
        columns.append(pooled)
        if value.dim() == 2:  # a plain state vector: its curvature and its drift matter, and it is small
            columns += [pooled**2, pooled * step]
    return _standardise(torch.cat(columns, dim=-1), mask)


def _standardise(values: Tensor, mask: Tensor) -> Tensor:
    rows = values[mask]
    return (values - rows.mean(0)) / (rows.std(0) + 1e-6) * mask[..., None]
