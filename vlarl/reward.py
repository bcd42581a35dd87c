"""Rewards score finished trajectories; several terms add up, and their breakdown is logged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from vlarl.env_protocol import Float32Array, Observation
from vlarl.types import Trajectory, check_finite


class RewardModel(Protocol):
    """One reward term."""

    name: str

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """Reward per decision ``float32 [decision]`` for each finished trajectory (none of them an error)."""
        ...


Watch = Callable[[Trajectory, Observation], None]
"""Takes an episode and what was seen after its newest decision, its last one included."""


class WatchingReward(RewardModel, Protocol):
    """A reward that looks at episodes while they are played: what takes long can begin before they end."""

    def watch(self, trajectory: Trajectory, observation: Observation) -> None:
        """Note what a decision led to; must return at once."""
        ...


class RewardConfig(Protocol):
    """A frozen dataclass that builds a reward term."""

    def build(self) -> RewardModel:
        """Build the term."""
        ...


def watching(terms: Sequence[RewardModel]) -> Watch | None:
    """What the collector calls after every decision for the terms that watch; None where none does."""
    watchers: list[Watch] = [term.watch for term in terms if hasattr(term, "watch")]  # pyrefly: ignore

    def watch(trajectory: Trajectory, observation: Observation) -> None:
        for each in watchers:
            each(trajectory, observation)

    return watch if watchers else None


def score_all(terms: Sequence[RewardModel], trajectories: Sequence[Trajectory]) -> None:
    """Fill ``trajectory.rewards`` with every term.

    Raises:
        ValueError: a term returned the wrong number of rewards.
        NotFiniteError: a term returned NaN or infinity (which trajectory and decision).
    """
    for term in terms:
        for trajectory, values in zip(trajectories, term.score(trajectories), strict=True):
            if values.shape != (len(trajectory.outputs),):
                raise ValueError(
                    f"reward term '{term.name}' returned shape {values.shape} for an episode of "
                    f"{len(trajectory.outputs)} decisions"
                )
            check_finite(f"reward term '{term.name}'", values, trajectory.spec)
            trajectory.rewards[term.name] = values
