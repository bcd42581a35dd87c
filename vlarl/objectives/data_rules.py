"""Data-side rules: what happens to a batch before advantages are estimated, and the temperature it is sampled with.

============= ========================================================================= =========================
part          what it does                                                              source
============= ========================================================================= =========================
GroupFilter   drops or mutes groups by their share of successes                         DAPO, SimpleVLA-RL, RLinf
LengthPenalty takes reward from episodes near their longest allowed length              DAPO 2503.14476
Consensus     reward 1 for ending where most of the group ends                          TTRL 2504.16084
Annealing     temperature falls along the episode                                       EAD 2510.05251
============= ========================================================================= =========================

Drawing further groups until enough carry signal (DAPO's resampling) is the trainer's ``rollout.max_draws``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from vlarl.errors import ConfigError
from vlarl.objectives.advantages import group_members
from vlarl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class GroupFilter:
    """Keep groups whose share of successes is in [low, high] and that have enough members."""

    low: float = 0.0
    high: float = 1.0
    minimum: int = 2
    """Smaller groups (siblings ended in simulator errors) have nothing to compare with."""
    mode: Literal["drop", "mute"] = "drop"
    """``drop``: as if never played; ``mute``: advantage 0, but they still divide the mean (RLinf)."""

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ConfigError(f"groups are kept from {self.low} to {self.high}: the first must not be larger")

    def apply(self, batch: RolloutBatch) -> tuple[RolloutBatch, Tensor, dict[str, float]]:
        """The batch sorted by group, which of its episodes count ``bool [B]``, and metrics."""
        rows: list[int] = []
        active: list[bool] = []
        groups = group_members(batch.groups)
        kept = 0
        for members in groups:
            share = float(batch.succeeded[members].float().mean())
            keep = len(members) >= self.minimum and self.low <= share <= self.high
            kept += keep
            if keep or self.mode == "mute":
                rows += members.tolist()
                active += [keep] * len(members)
        metrics = {"groups_kept": float(kept), "groups_total": float(len(groups))}
        return batch.select(rows), torch.tensor(active, dtype=torch.bool), metrics


class Relabel(Protocol):
    """A frozen dataclass that changes returns."""

    def apply(self, batch: RolloutBatch) -> RolloutBatch:
        """A batch with other ``returns`` (and ``rewards``)."""
        ...


@dataclass(frozen=True, kw_only=True)
class LengthPenalty:
    """DAPO's soft punishment: 0 up to ``longest - margin`` control steps, then falling to -1 at ``longest``."""

    longest: int = 512
    """Control steps from which on the penalty is -1."""
    margin: int = 128
    """Control steps over which it grows."""

    def __post_init__(self) -> None:
        if not 0 < self.margin <= self.longest:
            raise ConfigError(f"margin is {self.margin}; expected 1 to longest = {self.longest}")

    def apply(self, batch: RolloutBatch) -> RolloutBatch:
        """Add the penalty to the return and to the last decision's reward."""
        steps = batch.token_mask[..., 0].flatten(1).sum(1)
        return with_bonus(batch, self.of_lengths(steps))

    def of_lengths(self, steps: Tensor) -> Tensor:
        """``float32`` in [-1, 0]."""
        return ((self.longest - self.margin - steps).float() / self.margin).clamp(-1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """TTRL's pseudo-label: where most of a group's episodes end is taken for right.

    Deviation: an episode's "answer" is the cell of a grid in which the last seen state lies, in place of a text. Only
    worth trying where a right ending is more common than any single wrong one, and it replaces the true reward.
    """

    field: str = "state"
    """Which of the policy's inputs tells how the episode ended."""
    cell: float = 0.25
    """Side of a grid cell, in the units of that input."""

    def apply(self, batch: RolloutBatch) -> RolloutBatch:
        """Replace returns by 1 for the majority, 0 for the others."""
        if self.field not in batch.inputs:
            raise ConfigError(f"consensus on input '{self.field}': the policy's inputs are {', '.join(batch.inputs)}")
        last = torch.cumsum(batch.decision_mask.sum(1), 0) - 1
        ends = batch.inputs[self.field][last].flatten(1)
        cells = [tuple(row) for row in torch.floor(ends / self.cell).to(torch.int64).tolist()]
        returns = torch.zeros_like(batch.returns)
        for members in group_members(batch.groups):
            returns[members] = torch.tensor(agreement([cells[row] for row in members.tolist()]))
        return with_bonus(batch, returns - batch.returns)


def agreement(labels: list[tuple[int, ...]] | list[str]) -> list[float]:
    """1 for every member with the most common label (of equally common ones the first seen), else 0."""
    winner = Counter(labels).most_common(1)[0][0]
    return [float(label == winner) for label in labels]


def with_bonus(batch: RolloutBatch, bonus: Tensor) -> RolloutBatch:
    """``bonus float32 [B]`` added to the returns, and to the reward of each episode's last decision."""
    rewards = batch.rewards
    if rewards is not None:
        rewards = rewards.clone()
        rewards[torch.arange(len(batch)), batch.decision_mask.sum(1) - 1] += bonus
    return replace(batch, returns=batch.returns + bonus, rewards=rewards)


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """EAD's temperature: explore early in an episode, be precise later.

    ``T_t = max(1 + highest - exp(t / d), lowest)`` at decision t, ``d = min(pace + growth * iteration, limit)``.

    Deviations: t counts decisions, not tokens (a chunk is sampled at one temperature); upstream's code divides t by
    20 d and leaves the first tokens alone, here the paper's formula stands.
    """

    highest: float = 1.2
    lowest: float = 0.1
    pace: float = 50.0
    """d at the start [decisions]."""
    growth: float = 5.0
    """Added to d per iteration."""
    limit: float = 40_000.0

    def temperature(self, decision: int, iteration: int) -> float:
        """Temperature of a decision."""
        pace = min(self.pace + self.growth * iteration, self.limit)
        exponent = min(decision / pace, 50.0)
        return max(1.0 + self.highest - math.exp(exponent), self.lowest)
