"""Ratio levels: over what the probability ratio of new to old policy is formed.

A part takes the log-probabilities of tokens ``[N, C, T]`` to log-ratios of *units*: tokens, actions (all tokens of one
control step), chunks, or whole trajectories ``[R]``. Surrogates see units only. Only executed tokens count.

=============== ======================================================================== ==========================
level           log-ratio of a unit                                                      used by
=============== ======================================================================== ==========================
token           ``l - l_old``                                                            SimpleVLA-RL, SRPO, RLinf
action          sum over the tokens of one control step                                  RL4VLA, RLinf
chunk           sum over all tokens of one decision                                      RLinf, RL-100
trajectory_mean mean over the episode's tokens; units stay tokens, as GSPO codes it      GSPO (arXiv 2507.18071)
trajectory      sum over the episode's tokens                                            PACS, FlowRL
none            0, with the gradient of ``l``                                            REINFORCE, VLA-RL as coded
=============== ======================================================================== ==========================

A joint ratio of k tokens moves about k times as far as one of theirs: clip ranges do not carry over between levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from vlarl.objective import Decisions

Level = Literal["token", "action", "chunk", "trajectory_mean", "trajectory", "none"]
TRAJECTORY_LEVELS = ("trajectory_mean", "trajectory")


@dataclass(slots=True)
class Units:
    """What a surrogate sees; every tensor has the shape of the units."""

    log_ratio: Tensor
    """Carries the gradient."""
    log_prob: Tensor
    """Of the current policy, combined like the ratio; carries the gradient."""
    advantage: Tensor
    weights: Tensor
    """Share in the mini-batch's loss; adds up to 1 under a mean."""
    mask: Tensor
    """bool"""
    columns: dict[str, Tensor] = field(default_factory=dict)
    """Whatever ``prepare`` left for every decision, per unit."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Level of the ratio."""

    level: Level = "token"
    """token, action, chunk, trajectory_mean, trajectory or none; see the module."""
    log_limit: float = 0.0
    """Log-ratios are clamped to at most this (GSPO's code: 10); 0: no limit."""

    @property
    def whole_minibatch(self) -> bool:
        """Whether a unit may span micro-batches."""
        return self.level in TRAJECTORY_LEVELS

    def unit_mask(self, token_mask: Tensor) -> Tensor:
        """Which units exist, for a mask ``bool [..., C, T]``; tokens stand for themselves at trajectory levels."""
        if self.level == "action":
            return token_mask.any(-1, keepdim=True)
        if self.level == "chunk":
            return token_mask.flatten(-2).any(-1)[..., None, None]
        return token_mask

    def units(self, log_probs: Tensor, decisions: Decisions) -> Units:
        """Combine tokens into units."""
        mask = decisions.mask
        if self.level == "none":
            log_ratio = log_probs - log_probs.detach()
        else:
            log_ratio = log_probs - decisions.old_log_probs
        if self.level == "trajectory_mean":
            total, count = (_per_trajectory(v, decisions) for v in (log_ratio.detach(), torch.ones_like(log_ratio)))
            mean = (total / count.clamp(min=1))[decisions.rows][:, None, None]
            log_ratio = mean + log_probs - log_probs.detach()  # the ratio of the episode, each token's own gradient
        if self.level == "trajectory":
            units = self._trajectories(log_ratio, log_probs, decisions)
        elif self.level in ("action", "chunk"):
            dims = (-1,) if self.level == "action" else (-2, -1)
            count = mask.sum(dims, keepdim=True).clamp(min=1)
            units = Units(
                log_ratio=torch.where(mask, log_ratio, 0.0).sum(dims, keepdim=True),
                log_prob=torch.where(mask, log_probs, 0.0).sum(dims, keepdim=True),
                advantage=torch.where(mask, decisions.advantages, 0.0).sum(dims, keepdim=True) / count,
                weights=decisions.weights,
                mask=self.unit_mask(mask),
                columns={name: _per_unit(value, mask, dims) for name, value in decisions.columns.items()},
            )
        else:
            columns = {name: _per_token(value, mask) for name, value in decisions.columns.items()}
            units = Units(log_ratio, log_probs, decisions.advantages, decisions.weights, mask, columns)
        if self.log_limit:
            units.log_ratio = units.log_ratio.clamp(max=self.log_limit)
        return units

    def _trajectories(self, log_ratio: Tensor, log_probs: Tensor, decisions: Decisions) -> Units:
        mask, count = decisions.mask, _per_trajectory(torch.ones_like(log_probs), decisions)

        def column(value: Tensor) -> Tensor:
            """Tokens' values are added up, a decision's value is averaged over the episode's tokens."""
            total = _per_trajectory(_per_token(value, mask).to(log_probs.dtype), decisions)
            return total if value.dim() == 3 else total / count.clamp(min=1)

        return Units(
            log_ratio=_per_trajectory(log_ratio, decisions),
            log_prob=_per_trajectory(log_probs, decisions),
            advantage=_per_trajectory(decisions.advantages, decisions) / count.clamp(min=1),
            weights=_per_trajectory(decisions.weights.expand_as(log_probs), decisions),
            mask=count > 0,
            columns={"tokens": count} | {name: column(value) for name, value in decisions.columns.items()},
        )


def _per_trajectory(values: Tensor, decisions: Decisions) -> Tensor:
    """Sum of the executed tokens' ``values [N, C, T]`` for every trajectory ``[R]``."""
    number = int(decisions.rows.max()) + 1 if len(decisions) else 0
    per_decision = torch.where(decisions.mask, values, 0.0).flatten(1).sum(1)
    return torch.zeros(number, dtype=values.dtype).index_add(0, decisions.rows, per_decision)


def token_shares(decisions: Decisions) -> Tensor:
    """``float32 [N, C, T]``: a unit's weight divided evenly among its executed tokens."""
    mask = decisions.mask
    if decisions.weights.shape == mask.shape:
        return decisions.weights
    dims = tuple(dim for dim in range(1, mask.dim()) if decisions.weights.shape[dim] != mask.shape[dim])
    return decisions.weights * mask / mask.sum(dims, keepdim=True).clamp(min=1)


def _per_token(value: Tensor, mask: Tensor) -> Tensor:
    """A column of decisions ``[N]`` or of tokens ``[N, C, T]`` so that it broadcasts over tokens."""
    return value[:, None, None].expand_as(mask) if value.dim() == 1 else value


def _per_unit(value: Tensor, mask: Tensor, dims: tuple[int, ...]) -> Tensor:
    """A column for action or chunk units: tokens' values are added up, decisions' values are repeated."""
    if value.dim() == 1:
        return _per_token(value, mask.any(dims, keepdim=True))
    return torch.where(mask, value, 0.0).sum(dims, keepdim=True) if value.shape == mask.shape else value
