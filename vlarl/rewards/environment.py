"""The environment's own reward, added up over each decision's executed steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlarl.env_protocol import Float32Array
from vlarl.types import Trajectory


@dataclass(frozen=True, kw_only=True)
class EnvironmentConfig:
    """Reward of the environment."""

    scale: float = 1.0
    discount: float = 1.0
    """Within a chunk, per control step: ``R = sum_j discount^j r_j``."""

    def build(self) -> Environment:
        """Build the term."""
        return Environment(self)


class Environment:
    """The term itself."""

    name = "environment"

    def __init__(self, config: EnvironmentConfig) -> None:
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory."""
        scores = []
        for trajectory in trajectories:
            rewards = np.stack(trajectory.env_rewards)
            powers = self.config.discount ** np.arange(rewards.shape[1])
            scores.append((self.config.scale * (rewards * powers).sum(1)).astype(np.float32))
        return scores
