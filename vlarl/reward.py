"""Rewards score finished trajectories; several terms add up, and their breakdown is logged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vlarl.env_protocol import Float32Array
from vlarl.types import Trajectory, check_finite


class RewardModel(Protocol):
    """One reward term."""

    name: str

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """Reward per decision ``float32 [decision]`` for each finished trajectory (none of them an error)."""
        ...


class RewardConfig(Protocol):
    """A frozen dataclass that builds a reward term."""

    def build(self) -> RewardModel:
        """Build the term."""
        ...


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
