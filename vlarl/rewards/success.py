"""Binary outcome reward: 1 at the decision in which the benchmark's own predicate fired, else 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlarl.env_protocol import Float32Array
from vlarl.types import Trajectory


@dataclass(frozen=True, kw_only=True)
class SuccessConfig:
    """Success of the episode.

    SimpleVLA-RL multiplies by 5; group-normalised advantages do not depend on it (up to their epsilon).
    """

    scale: float = 1.0

    def build(self) -> Success:
        """Build the term."""
        return Success(self)


class Success:
    """The term itself."""

    name = "success"

    def __init__(self, config: SuccessConfig) -> None:
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory, non-zero at most at the last decision."""
        rewards = []
        for trajectory in trajectories:
            values = np.zeros(len(trajectory.outputs), dtype=np.float32)
            if trajectory.succeeded:
                values[-1] = self.config.scale
            rewards.append(values)
        return rewards
