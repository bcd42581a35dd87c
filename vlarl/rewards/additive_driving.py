"""The additive shaped reward that CaRL's simple one is compared with (arXiv 2504.17838), in ``envs/drive.py``.

``r = (5 d + 5 f + 4 s + 2 c) / 16 - T`` per control step: ``d`` percent of the route covered in it; ``f``, ``s``, ``c``
the factors of an imminent collision, of the speed limit and of comfort (1 is good), each worth ``100 / 2000`` per step.
The factors, the terminations and the hint ``T`` are those of the simple reward, so that the two differ in how their
parts are put together and in nothing else; what is paid per step is paid for standing still, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlarl.env_protocol import Float32Array
from vlarl.errors import UserError
from vlarl.types import Trajectory

EVENT = "drive/factors"
PER_STEP = 100.0 / 2000.0
WEIGHTS = np.array([5.0, 5.0 * PER_STEP, 4.0 * PER_STEP, 2.0 * PER_STEP, -16.0]) / 16.0
"""Of progress, forecast, speed, comfort and hint."""


@dataclass(frozen=True, kw_only=True)
class AdditiveDrivingConfig:
    """The additive reward."""

    scale: float = 1.0
    discount: float = 1.0
    """Within a chunk, per control step: ``R = sum_j discount^j r_j``."""

    def build(self) -> AdditiveDriving:
        """Build the term."""
        return AdditiveDriving(self)


class AdditiveDriving:
    """The term itself."""

    name = "additive_driving"

    def __init__(self, config: AdditiveDrivingConfig) -> None:
        self.config = config

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory.

        Raises:
            UserError: an episode was not played in an environment that measures these factors.
        """
        scores = []
        for trajectory in trajectories:
            if not trajectory.events or any(EVENT not in events for events in trajectory.events):
                raise UserError(
                    f"the reward 'additive_driving' needs the event {EVENT!r} at every decision; suite "
                    f"{trajectory.spec.suite!r} does not give it. Play a driving suite, for example drive_grid_town."
                )
            steps = np.stack([events[EVENT] for events in trajectory.events]).astype(np.float64) @ WEIGHTS
            powers = self.config.discount ** np.arange(steps.shape[1])
            scores.append((self.config.scale * (steps * powers).sum(1)).astype(np.float32))
        return scores
