"""Which tasks and initial states are drawn: evenly, or by how often they were solved lately.

VLA-RL's paper (arXiv 2505.18719) draws tasks by their success rate; its code draws them evenly. Here the weight of a
start with running success rate s is ``floor + exp(-((s - 1/2) / width)^2)``: what is solved half of the time teaches
most, what is always or never solved is still tried now and then. Deviation: the paper's ``exp((1/2 - s) / tau)`` rises
without end towards s = 0; ours peaks at one half, for tasks and for initial states alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlarl.env_protocol import EpisodeSpec, Outcome
from vlarl.types import Trajectory


@dataclass(frozen=True, kw_only=True)
class CurriculumConfig:
    """How starts are weighed."""

    enabled: bool = False
    width: float = 0.25
    """Distance from one half, in success, at which the bonus has fallen to 1/e."""
    floor: float = 0.05
    """Weight of what is always or never solved, relative to the best's 1."""
    memory: float = 0.8
    """Share of the old estimate that is kept when a group of a start was played."""
    candidates: int = 4
    """Groups drawn for every group played; the heavier are likelier to be played."""


class Curriculum:
    """Running success per start, and the choice among drawn groups; part of a checkpoint."""

    def __init__(self, config: CurriculumConfig) -> None:
        self.config = config
        self.success: dict[tuple[int, int], float] = {}

    def weight(self, task: int, init_state: int) -> float:
        """Weight of a start; an unknown one counts as its task's mean, an unknown task as one half."""
        rate = self.success.get((task, init_state))
        if rate is None:
            known = [value for (other, _), value in self.success.items() if other == task]
            rate = float(np.mean(known)) if known else 0.5
        return self.config.floor + float(np.exp(-(((rate - 0.5) / self.config.width) ** 2)))

    def choose(self, specs: Sequence[EpisodeSpec], number: int, generator: np.random.Generator) -> list[EpisodeSpec]:
        """The episodes of ``number`` of the drawn groups, by weight and without repetition; groups keep their order."""
        groups: dict[int, list[EpisodeSpec]] = {}
        for spec in specs:
            groups.setdefault(spec.group, []).append(spec)
        drawn = list(groups.values())
        weights = np.array([self.weight(group[0].task, group[0].init_state) for group in drawn])
        chosen = generator.choice(len(drawn), size=number, replace=False, p=weights / weights.sum())
        return [spec for index in sorted(chosen) for spec in drawn[index]]

    def note(self, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """Take in played episodes; returns metrics."""
        seen: dict[tuple[int, int], list[bool]] = {}
        for t in trajectories:
            if t.outcome is not Outcome.ERROR:
                seen.setdefault((t.spec.task, t.spec.init_state), []).append(t.succeeded)
        for start, results in seen.items():
            rate, old = float(np.mean(results)), self.success.get(start)
            self.success[start] = rate if old is None else self.config.memory * old + (1 - self.config.memory) * rate
        rates = np.array(list(self.success.values()))
        return {
            "curriculum/starts": float(len(rates)),
            "curriculum/success": float(rates.mean()) if len(rates) else 0.0,
            "curriculum/half_solved": float(((rates > 0.25) & (rates < 0.75)).mean()) if len(rates) else 0.0,
        }

    def state(self) -> list[list[Any]]:
        """For a checkpoint."""
        return [[task, start, rate] for (task, start), rate in self.success.items()]

    def load(self, state: list[list[Any]]) -> None:
        """Continue where ``state`` was taken."""
        self.success = {(int(task), int(start)): float(rate) for task, start, rate in state}
