"""Waypoint servoing as generators.

A generator yields the expert's action for the state it finds *when it is resumed*: whoever drives it steps the
simulator in between, possibly with a perturbed action, and the next action corrects for it. So the yielded action is
always the clean correction at a possibly perturbed state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from envs.libero.expert.geometry import Array, rotation_error
from envs.libero.expert.scene import Scene

Actions = Iterator[np.ndarray]

OPEN, CLOSE = -1.0, 1.0
POSITION_SCALE = 0.05
"""Metres per unit of a position action (OSC_POSE output_max of robosuite's Panda configuration)."""
ROTATION_SCALE = 0.5
"""Radians per unit of a rotation action."""
_STALL_WINDOW, _STALL_DISTANCE = 8, 0.002


def _action(scene: Scene, target: Array, rotation: Array, grip: float, gain: float) -> np.ndarray:
    position = gain * (target - scene.hand_position()) / POSITION_SCALE
    # Scale the whole vector, not each axis, so that the hand moves on a straight line.
    position = position / max(1.0, float(np.abs(position).max()))
    turn = np.clip(rotation_error(rotation, scene.hand_rotation()) / ROTATION_SCALE, -1.0, 1.0)
    return np.concatenate([position, turn, [grip]])


def move(
    scene: Scene,
    target: Array | Callable[[], Array],
    rotation: Array,
    grip: float,
    *,
    steps: int = 60,
    tolerance: float = 0.01,
    turn_tolerance: float = np.inf,
    gain: float = 1.0,
    until: Callable[[], bool] | None = None,
) -> Actions:
    """Go to ``target`` [m] (a point, or a function asked at every step) with proportional control.

    Ends within ``tolerance`` [m] and ``turn_tolerance`` [rad], when ``until`` holds, when the hand has stopped against
    something, or after ``steps`` control steps.
    """
    trail: list[Array] = []
    for _ in range(steps):
        if until is not None and until():
            return
        goal = target() if callable(target) else target
        here = scene.hand_position()
        turn = float(np.linalg.norm(rotation_error(rotation, scene.hand_rotation())))
        if np.linalg.norm(goal - here) < tolerance and turn < turn_tolerance:
            return
        trail.append(here)
        if len(trail) > _STALL_WINDOW:
            moved = float(np.linalg.norm(here - trail[-1 - _STALL_WINDOW]))
            if moved < _STALL_DISTANCE and turn < 0.1:
                return
        yield _action(scene, goal, rotation, grip, gain)


def hold(scene: Scene, rotation: Array, grip: float, steps: int, until: Callable[[], bool] | None = None) -> Actions:
    """Stay where the hand is, opening or closing, for ``steps`` control steps or until ``until`` holds."""
    here = scene.hand_position()
    for _ in range(steps):
        if until is not None and until():
            return
        yield _action(scene, here, rotation, grip, 1.0)


def grip(scene: Scene, body: int, target: Array, rotation: Array, steps: int = 12) -> Actions:
    """Close on a body at ``target``; ends early once both fingers have touched it for a few steps."""
    touched = 0
    for _ in range(steps):
        touched = touched + 1 if scene.touching(body) & 3 == 3 else 0
        if touched > 3:
            return
        yield _action(scene, target, rotation, CLOSE, 1.0)
