"""What is in the way of the hand and of what it carries, and how far the arm reaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from envs.libero.expert.geometry import Array
from envs.libero.expert.scene import Scene

_SHOULDER = 0.333
"""Panda: height of the shoulder over the base [m]; then the wrist's horizontal distance from the grip site, its height
over it, and the distance from shoulder to wrist at which the elbow is nearly straight (0.70 m)."""
_WRIST_OFFSET = 0.088
_WRIST_OVER_GRIP = 0.21
_REACH = 0.67


def corridor_top(scene: Scene, start: Array, end: Array, radius: float, ignore: Sequence[str]) -> float:
    """Highest point of any object within ``radius`` of the horizontal segment from ``start`` to ``end``."""
    a, b = start[:2], end[:2]
    along, length = b - a, float(np.dot(b - a, b - a)) + 1e-9
    highest = -np.inf
    for name in scene.object_names:
        if name in ignore or _is_falling(scene, name):
            continue
        points = scene.points(scene.body(name))
        if len(points) == 0:
            continue
        fraction = np.clip((points[:, :2] - a) @ along / length, 0.0, 1.0)
        distance = np.linalg.norm(points[:, :2] - (a + fraction[:, None] * along), axis=1)
        near = points[distance < radius]
        if len(near):
            highest = max(highest, float(near[:, 2].max()))
    return highest


def way_from_under(scene: Scene, name: str, margin: float = 0.012) -> Array | None:
    """Shortest horizontal move [m] after which nothing hangs over an object; None where nothing does, or no way."""
    own = scene.points(scene.body(name))
    centre, top = (own.min(axis=0) + own.max(axis=0)) / 2.0, float(own[:, 2].max())
    radius = float(np.linalg.norm(own[:, :2] - centre[:2], axis=1).max()) + margin
    others = [scene.points(scene.body(other)) for other in scene.object_names if other != name]
    above = np.concatenate([points[points[:, 2] > top] for points in others])[:, :2]
    if len(above) == 0 or np.linalg.norm(above - centre[:2], axis=1).min() > radius:
        return None
    for distance in np.arange(0.02, 0.2, 0.01):
        for angle in np.deg2rad(np.arange(0, 360, 30)):
            way = distance * np.array([np.cos(angle), np.sin(angle), 0.0])
            if np.linalg.norm(above - (centre + way)[:2], axis=1).min() > radius:
                return way
    return None


def _is_falling(scene: Scene, name: str) -> bool:
    """Whether an object is still on its way down: some recorded initial states start in the air."""
    return bool(scene.data.cvel[scene.body(name)][5] < -0.3)


def ceiling(scene: Scene, point: Array) -> float:
    """How high [m] the grip site may be over ``point`` with the fingers pointing down.

    Higher up the elbow is straight: the controller can then no longer pull the hand back.
    """
    base = scene.data.xpos[scene.base]
    wrist = max(0.0, float(np.linalg.norm(point[:2] - base[:2])) - _WRIST_OFFSET)
    return float(base[2]) + _SHOULDER - _WRIST_OVER_GRIP + float(np.sqrt(max(0.0, _REACH**2 - wrist**2)))


def towards_base(scene: Scene, point: Array) -> Array:
    """Horizontal unit vector from ``point`` to the robot's base."""
    way = scene.data.xpos[scene.base] - point
    way[2] = 0.0
    return way / np.linalg.norm(way)
