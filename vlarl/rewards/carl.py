"""CaRL's simple reward: route completion with soft penalties (arXiv 2504.17838), as ``envs/drive.py`` measures it.

``r = (RC_t - RC_{t-1}) * p_outside * p_speed * p_ttc * p_comfort * p_lane - T`` per control step, with route completion
RC in percent. The environment computes it where the world's state is, with the constants of its own configuration
(``--env.carl.hint``, ``--env.carl.lane-softener``, ...), since the same constants say what ends an episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlarl.env_protocol import Float32Array
from vlarl.errors import UserError
from vlarl.types import Trajectory

EVENT = "drive/carl"


@dataclass(frozen=True, kw_only=True)
class CarlConfig:
    """CaRL's reward."""

    scale: float = 1.0
    discount: float = 1.0
    """Within a chunk, per control step: ``R = sum_j discount^j r_j``."""

    def build(self) -> Carl:
        """Build the term."""
        return Carl(self)


class Carl:
    """The term itself."""

    name = "carl"

    def __init__(self, config: CarlConfig) -> None:
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory.

        Raises:
            UserError: an episode was not played in an environment that measures this reward.
        """
        scores = []
        for trajectory in trajectories:
            if not trajectory.events or any(EVENT not in events for events in trajectory.events):
                raise UserError(
                    f"the reward 'carl' needs the event {EVENT!r} at every decision; suite {trajectory.spec.suite!r} "
                    "does not give it. Play a driving suite, for example drive_grid_town, or take another reward."
                )
            steps = np.stack([events[EVENT] for events in trajectory.events]).astype(np.float64)
            powers = self.config.discount ** np.arange(steps.shape[1])
            scores.append((self.config.scale * (steps * powers).sum(1)).astype(np.float32))
        return scores
