"""Advantage estimators without a critic: from the returns of a group's episodes to one number per episode or decision.

All formulas are on one group of returns ``R [G]``:

================= ================================================================== ===============================
part              advantage                                                          source
================= ================================================================== ===============================
GroupRelative     ``(R - mean) / (std + eps)``, std optional                         GRPO 2402.03300, Dr.GRPO 2503.20783
 leave_one_out    ``G / (G - 1) (R - mean)``                                         RLOO 2402.14740
 virtual_rewards  mean and std over the group and k imagined maximal returns         NGRPO 2509.18851
 length_weighted  ``R - sum(n R) / sum(n)``, n the episodes' tokens                  OPO 2505.23585
Signed            ``p R`` for successes, ``-n`` for failures                         PSR, NSR, W-REINFORCE 2506.01347
Halves            ``R - mean`` of the other or the own half of a sorted group        CANON 2509.23962
ReturnToGo        discounted reward-to-go, whitened over the batch's tokens          REINFORCE++ 2501.03262
================= ================================================================== ===============================

``Gae`` (with a critic) is in ``vlarl.objectives.critic``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from vlarl.objectives.credit import decision_advantages
from vlarl.types import RolloutBatch


class Advantage(Protocol):
    """A frozen dataclass."""

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """Advantages ``float32 [B]`` or ``[B, D]`` of a batch sorted by group, and metrics."""
        ...


def group_members(groups: Tensor) -> list[Tensor]:
    """Rows of every group, in the order of group numbers."""
    return [(groups == group).nonzero()[:, 0] for group in groups.unique().tolist()]


@dataclass(frozen=True, kw_only=True)
class GroupRelative:
    """Compare an episode with the others from the same start. A group of one has nothing to compare with: A = R."""

    centre: Literal["mean", "leave_one_out", "length_weighted"] = "mean"
    scale: Literal["none", "std"] = "std"
    ddof: int = 1
    """Degrees of freedom taken off in the standard deviation (1: unbiased, as verl and SimpleVLA-RL)."""
    epsilon: float = 1e-6
    """Added to the standard deviation."""
    virtual_rewards: int = 0
    """Imagined episodes with the maximal return; they count in mean and deviation (NGRPO: 1)."""
    maximal_return: float = 1.0
    """Return of the imagined episodes."""
    scale_all: float = 1.0
    """Constant factor (GPG's alpha)."""

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B]``."""
        advantages = torch.zeros_like(batch.returns)
        lengths = batch.token_mask.flatten(1).sum(1).float()
        for members in group_members(batch.groups):
            advantages[members] = self.of_group(batch.returns[members], lengths[members])
        return advantages * self.scale_all if self.scale_all != 1.0 else advantages, {}

    def of_group(self, returns: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Advantages of one group's returns ``[G]``."""
        number = len(returns)
        if number == 1 and not self.virtual_rewards:
            return returns.clone()
        if self.virtual_rewards:
            returns = torch.cat((returns, returns.new_full((self.virtual_rewards,), self.maximal_return)))
        if self.centre == "length_weighted":
            assert lengths is not None
            centred = returns - (lengths * returns).sum() / lengths.sum()
        else:
            centred = returns - returns.mean()
        if self.centre == "leave_one_out":
            centred = centred * (len(returns) / (len(returns) - 1))
        if self.scale == "std":
            centred = centred / (returns.std(correction=self.ddof) + self.epsilon)
        return centred[:number]


@dataclass(frozen=True, kw_only=True)
class Signed:
    """No baseline: successes push up, failures push down, each with its own strength.

    With returns in {0, 1}: PSR is (1, 0), NSR is (0, 1), W-REINFORCE is (0.1, 1).
    """

    positive: float = 1.0
    """Strength of successes."""
    negative: float = 1.0
    """Strength of failures."""

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B]``."""
        won = batch.succeeded
        return torch.where(won, self.positive * batch.returns, self.negative * (batch.returns - 1.0)), {}


@dataclass(frozen=True, kw_only=True)
class Halves:
    """CANON: sort a group by a metric, compare each episode with the other half and with its own.

    The plain average of both comparisons is Dr.GRPO's advantage; more weight on the other half prefers the half that
    wins, without a penalty set by hand. Deviation: the metric is the episode's length or its jerk, not an answer's
    length or entropy.
    """

    metric: Literal["length", "jerk"] = "length"
    """``length``: executed control steps; ``jerk``: mean absolute second difference of the action tokens."""
    other: float = 0.5
    """Share of the comparison with the other half; the rest is the comparison with the own half."""
    length: float = 1.0
    """Divides everything (upstream: the longest possible episode)."""

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B]``."""
        metric = batch.token_mask[..., 0].flatten(1).sum(1).float() if self.metric == "length" else jerk(batch)
        advantages = torch.zeros_like(batch.returns)
        for members in group_members(batch.groups):
            advantages[members] = self.of_group(batch.returns[members], metric[members])
        return advantages, {}

    def of_group(self, returns: Tensor, metric: Tensor) -> Tensor:
        """Advantages of one group's returns ``[G]``."""
        if len(returns) < 2:
            return returns.clone()
        order = torch.argsort(metric, stable=True)
        halves = order[: len(returns) // 2], order[len(returns) // 2 :]
        advantages = torch.zeros_like(returns)
        for own, other in (halves, halves[::-1]):
            baseline = self.other * returns[other].mean() + (1.0 - self.other) * returns[own].mean()
            advantages[own] = (returns[own] - baseline) / self.length
        return advantages


def jerk(batch: RolloutBatch) -> Tensor:
    """Mean absolute second difference of consecutive executed action tokens ``float32 [B]``, 0 below three steps."""
    values = []
    for tokens, mask in zip(batch.tokens, batch.token_mask, strict=True):
        steps = tokens.flatten(0, 1)[mask.flatten(0, 1)[:, 0]].float()
        values.append(steps.diff(n=2, dim=0).abs().mean() if len(steps) > 2 else torch.zeros(()))
    return torch.stack(values)


@dataclass(frozen=True, kw_only=True)
class ReturnToGo:
    """REINFORCE++: reward-to-go per decision, whitened over all tokens of the batch.

    With ``baseline="group"`` the group's mean return is taken off first and the episode's return is not spread over
    decisions (the paper's baseline form). Deviation: rewards arrive per decision, so the discount runs over decisions.
    """

    discount: float = 1.0
    """Per decision."""
    baseline: Literal["none", "group"] = "none"
    epsilon: float = 1e-8
    """Added to the variance."""

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B, D]``."""
        tokens = batch.token_mask.flatten(2).sum(2).float()
        if self.baseline == "group":
            centred, _ = GroupRelative(scale="none").estimate(batch)
            values = centred[:, None].expand_as(tokens)
        else:
            assert batch.rewards is not None
            values = discounted_sum(batch.rewards * batch.decision_mask, self.discount)
        return whiten(values, tokens, self.epsilon), {}


def discounted_sum(rewards: Tensor, discount: float) -> Tensor:
    """``G_t = r_t + discount G_{t+1}`` along the last dimension."""
    returns, running = torch.zeros_like(rewards), torch.zeros_like(rewards[..., 0])
    for step in reversed(range(rewards.shape[-1])):
        running = rewards[..., step] + discount * running
        returns[..., step] = running
    return returns


def whiten(values: Tensor, counts: Tensor, epsilon: float = 1e-8) -> Tensor:
    """``(v - mean) / sqrt(var + epsilon)`` with unbiased variance, every value counted ``counts`` times; 0 where 0."""
    total = counts.sum().clamp(min=1.0)
    mean = (values * counts).sum() / total
    variance = (((values - mean) ** 2) * counts).sum() / (total - 1.0).clamp(min=1.0)
    return (values - mean) * torch.rsqrt(variance + epsilon) * (counts > 0)


@dataclass(frozen=True, kw_only=True)
class OverDecisions:
    """Spread another estimator's advantage over an episode's decisions (``vlarl.objectives.credit``; ours)."""

    episode: Advantage
    """Gives one advantage per episode."""
    decay: float = 0.8
    """Lambda of the estimator that hands credit out."""
    ridge: float = 100.0
    """Penalty of the fitted value."""
    epsilon: float = 1e-6

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B, D]``, with unit deviation over the decisions that took place."""
        whole, metrics = self.episode.estimate(batch)
        values = decision_advantages(batch, whole, decay=self.decay, ridge=self.ridge)
        spread = values[batch.decision_mask].std()
        return values / (spread + self.epsilon), metrics | {"advantage_spread": float(spread)}
