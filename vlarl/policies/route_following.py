"""A rule-based driver for ``envs/drive.py``, the yardstick of learned ones: nothing in it is trained.

It steers along the route by pure pursuit and takes the pedal that the intelligent driver model asks for (Treiber,
Hennecke and Helbing 2000) behind whatever is on the route, before lights, stop signs and junctions that are not free.
It sees ``Observation.state`` alone. Since the vector observation knows nothing of lights, signs and rights of way, the
environment appends twelve numbers, which the policy finds at the end: see ``envs/driving/views/route_ahead.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vlarl.env_protocol import Float32Array, Observation
from vlarl.policies.plain_files import load_plain, save_plain
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput

FAR, FAST, SIZE = 50.0, 20.0, 5.0
"""Scales of distances [m], speeds [m/s] and sizes [m] in the state."""
ROUTE = slice(8, 18)
"""x and y of the points of the route ``ROUTE_ARCS`` metres ahead."""
OFFSET = 4
ROUTE_ARCS = np.array([2.0, 4.0, 8.0, 16.0, 32.0])
AHEAD = 12
"""Numbers of the last part."""


@dataclass(frozen=True, kw_only=True)
class RouteFollowingConfig:
    """The driver, and what it knows of its car (the environment's defaults)."""

    acceleration: float = 1.8
    """Largest, m/s^2."""
    deceleration: float = 2.5
    """Comfortable, m/s^2."""
    hardest_deceleration: float = 8.0
    """m/s^2."""
    headway: float = 1.2
    """Seconds."""
    standstill_gap: float = 2.0
    """Bumper to bumper, metres."""
    line_margin: float = 0.5
    """Halts this far before a line, metres."""
    change_reach: float = 3.0
    """Steers for a point so much further ahead while it changes lanes, metres."""
    look_ahead_seconds: float = 0.6
    """Steers for the point of the route that is reached after this time, at least 4 m ahead."""
    rear_axle: float = 1.4178
    """Behind the centre, metres."""
    wheelbase: float = 1.327
    """Metres."""
    steer_gain: float = 0.3685
    """Wheel angle at full steering, radians."""
    throttle_acceleration: float = 3.5
    """m/s^2 at standstill; falls to 0 at ``top_speed``."""
    top_speed: float = 45.0
    """m/s."""
    brake_deceleration: float = 4.952
    """m/s^2."""
    rolling_deceleration: float = 0.1
    """m/s^2."""
    air_drag: float = 0.0006
    """1/m."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The part of the state that the driver looks at, in metres and m/s."""

    route: Float32Array
    """``[5, 2]``, ahead and to the left."""
    line: float
    red: bool
    yellow: bool
    sign: bool
    gap: float
    gap_speed: float
    junction: float
    junction_free: bool
    wanted: float
    speed: float
    offset: float
    """Of the car to the left of the route."""
    shift: float
    """To the left of the route, where the way past an obstacle leads."""


def read_state(state: Float32Array) -> Scene:
    """Take the scene out of ``Observation.state``.

    Raises:
        ValueError: the state is too short to be one of ``envs/drive.py``.
    """
    if state.ndim != 1 or len(state) < ROUTE.stop + AHEAD:
        raise ValueError(f"state has shape {state.shape}; RouteFollowing drives the suites of envs/drive.py only")
    line, red, yellow, sign, gap, gap_speed, junction, free, wanted, speed, _, shift = state[-AHEAD:].astype(np.float64)
    return Scene(
        route=state[ROUTE].reshape(5, 2) * FAR,
        line=line * FAR,
        red=red > 0.5,
        yellow=yellow > 0.5,
        sign=sign > 0.5,
        gap=gap * FAR,
        gap_speed=gap_speed * FAST,
        junction=junction * FAR,
        junction_free=free > 0.5,
        wanted=wanted * FAST,
        speed=speed * FAST,
        offset=float(state[OFFSET]) * SIZE,
        shift=shift * SIZE,
    )


class RouteFollowing(nn.Module):
    """The policy.

    Args:
        config: of the driver.
        seed: without effect; nothing is random.
    """

    def __init__(self, config: RouteFollowingConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config or RouteFollowingConfig()
        self.version = 0

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One control step per decision; the noise is not used."""
        return (1, 2)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """None."""
        return []

    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide row by row; every decoding is the same."""
        outputs = []
        for observation in observations:
            scene = read_state(observation.state)
            actions = np.array(
                [[self.steer(scene), self.pedal(self.target_acceleration(scene), scene.speed)]], np.float32
            )
            outputs.append(
                PolicyOutput(
                    actions=actions,
                    tokens=actions.copy(),
                    log_probs=np.zeros((1, 2), np.float32),
                    inputs={},
                    temperature=decoding.temperature,
                    version=self.version,
                )
            )
        return outputs

    def evaluate(self, inputs: dict[str, Tensor], tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Zeros ``float32 [N, 1, 2]``: what it does is certain, and nothing can be learned."""
        zeros = torch.zeros(tokens.shape, dtype=torch.float32)
        return zeros, zeros.clone()

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and an empty ``model.safetensors``."""
        save_plain(folder, self, "vlarl.policies.route_following:RouteFollowing", self.config, card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load.

        Raises:
            CheckpointError: a field does not fit.
        """
        return load_plain(folder, RouteFollowingConfig, cls, "a RouteFollowing")

    def steer(self, scene: Scene) -> float:
        """Steering in [-1, 1] by which the centre moves on a circle through a point of the route.

        The centre's course is off the heading by the slip s, and sin(s) / rear = 2 sin(a - s) / d for a point at
        distance d and angle a; so tan(s) = g y / (d + g x) with g = 2 rear / d, and the wheel angle is that whose
        tangent is tan(s) * wheelbase / rear.
        """
        config = self.config
        reach = max(4.0, config.look_ahead_seconds * scene.speed)
        if abs(scene.shift - scene.offset) > 0.5:
            reach += config.change_reach
        ahead, left = (float(np.interp(reach, ROUTE_ARCS, scene.route[:, axis])) for axis in (0, 1))
        left += scene.shift
        distance = max(math.hypot(ahead, left), 1e-3)
        gain = 2.0 * config.rear_axle / distance
        slip = gain * left / max(distance + gain * ahead, 0.1 * distance)  # its tangent
        wheel = math.atan(slip * config.wheelbase / config.rear_axle)
        return min(max(wheel / config.steer_gain, -1.0), 1.0)

    def target_acceleration(self, scene: Scene) -> float:
        """IDM's acceleration, m/s^2, for the strongest of all reasons to brake."""
        config, speed = self.config, scene.speed
        strongest = self.pressure(speed, scene.gap, scene.gap_speed)
        to_line = scene.line - config.line_margin + config.standstill_gap
        can_stop = speed * speed < 2.0 * 3.0 * max(scene.line, 0.1)  # with 3 m/s^2, before a yellow light
        if scene.red or scene.sign or (scene.yellow and can_stop):
            strongest = max(strongest, self.pressure(speed, to_line, 0.0))
        if not scene.junction_free:
            to_junction = scene.junction - config.line_margin + config.standstill_gap
            strongest = max(strongest, self.pressure(speed, to_junction, 0.0))
        free = max(1.0 - (speed / max(scene.wanted, 0.1)) ** 4, -config.deceleration / config.acceleration)
        return max(config.acceleration * (free - strongest), -config.hardest_deceleration)

    def pressure(self, speed: float, gap: float, lead_speed: float) -> float:
        """IDM's interaction term: the wanted gap over the gap, squared."""
        config = self.config
        closing = speed * (speed - lead_speed) / (2.0 * math.sqrt(config.acceleration * config.deceleration))
        wanted = config.standstill_gap + max(0.0, speed * config.headway + closing)
        return (wanted / max(gap, 0.1)) ** 2

    def pedal(self, acceleration: float, speed: float) -> float:
        """The pedal in [-1, 1] that gives an acceleration [m/s^2]."""
        config = self.config
        wanted = acceleration + config.rolling_deceleration + config.air_drag * speed * speed
        if wanted >= 0.0:
            return min(wanted / (config.throttle_acceleration * max(1.0 - speed / config.top_speed, 0.05)), 1.0)
        return max(wanted / config.brake_deceleration, -1.0)
