"""Scenes that differ from the benchmark's in light, camera or the robot's first pose: how robust is a policy?

Every figure says so (``protocol``); with the defaults nothing is touched and states stay equal to the stock
environment's bit for bit. The kinds are those of robustness suites such as LIBERO-Plus (arXiv 2510.13626); the
strengths are free.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import mujoco

CAMERA = "agentview"


@dataclass(frozen=True, kw_only=True)
class Perturbation:
    """What is different. Example: ``vlarl eval POLICY --env.perturbation.light 0.4``."""

    light: float = 1.0
    """Factor on the colours of all lights: below 1 dim, above 1 glaring."""
    camera: float = 0.0
    """The third-person camera stands this far to its right (negative: left) [m]."""
    robot: float = 0.0
    """Every arm joint starts up to this far from the recorded state, drawn per initial state [rad]."""

    def __post_init__(self) -> None:
        if not (self.light >= 0 and self.robot >= 0 and np.isfinite([self.light, self.camera, self.robot]).all()):
            raise ValueError(
                f"env.perturbation light {self.light}, camera {self.camera}, robot {self.robot}: expected finite "
                "numbers, light and robot 0 or more"
            )

    def describe(self) -> dict[str, Any] | str:
        """For the protocol of a result."""
        return "none" if self == STOCK else asdict(self)

    def apply(self, model: mujoco.MjModel) -> None:
        """Change lights and camera of a freshly built model."""
        head = model.vis.headlight
        for colours in (
            model.light_ambient,
            model.light_diffuse,
            model.light_specular,
            head.ambient,
            head.diffuse,
            head.specular,
        ):
            colours *= self.light
        camera = model.camera(CAMERA)
        camera.pos += self.camera * _first_axis(camera.quat)

    def displace(self, qpos: NDArray[np.float64], joints: NDArray[np.int64], init_state: int) -> None:
        """Move the arm's entries of ``qpos [n]``, equally whenever an initial state is played."""
        if self.robot:
            qpos[joints] += np.random.default_rng(init_state).uniform(-self.robot, self.robot, len(joints))


STOCK = Perturbation()
"""The benchmark's own scene."""


def _first_axis(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """The x axis of the frame ``wxyz``; a camera's points to its right."""
    w, x, y, z = quaternion
    return np.array([w * w + x * x - y * y - z * z, 2 * (x * y + w * z), 2 * (x * z - w * y)])
