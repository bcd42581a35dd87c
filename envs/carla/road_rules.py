"""Lights and stop signs on a planned way, and how fast a vehicle may come to them.

Works through the objects of CARLA's client: where a light's line is says its ``get_stop_waypoints``, a stop sign's
the middle of its trigger volume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.carla.path_ahead import PathAhead, approach_speed

ASIDE = 1.8
"""A line counts that is at most so far beside the way, metres."""
SAME_WAY = math.radians(60.0)
"""And whose lane heads the same way within this angle."""
BEFORE_LINE = 1.0
"""The front halts so far before a line, metres."""
PASSED = 0.5
"""A line counts until the front is so far beyond it, metres."""
HALTED = 0.2
"""m/s."""
AT_SIGN = 4.0
"""A vehicle has halted at a stop sign if it stood at most so far before its line, metres."""
HARD = 3.5
"""Before a yellow light one halts unless that takes a deceleration of more, m/s^2."""


@dataclass
class StopLine:
    """A line on the way."""

    arc: float
    """Along the way, metres."""
    light: Any = None
    """``carla.TrafficLight``; None at a stop sign."""
    served: bool = False
    """Of a stop sign: the vehicle has halted there."""


def lines_on_way(path: PathAhead, actors: Any, carla_map: Any) -> list[StopLine]:
    """The lines of all lights and stop signs on a way, in its order.

    Args:
        path: the way.
        actors: ``carla.ActorList`` of the world.
        carla_map: ``carla.Map``.
    """
    lines = []
    for light in actors.filter("traffic.traffic_light*"):
        for waypoint in light.get_stop_waypoints():
            lines += [StopLine(arc, light) for arc in _meetings(path, waypoint.transform)]
    for sign in actors.filter("traffic.stop*"):
        middle = sign.get_transform().transform(sign.trigger_volume.location)
        waypoint = carla_map.get_waypoint(middle)
        if waypoint is not None:
            lines += [StopLine(arc) for arc in _meetings(path, waypoint.transform)]
    return sorted(lines, key=lambda line: line.arc)


def line_speed(
    lines: list[StopLine], front: float, speed: float, reach: float, braking: float, heed: tuple[bool, bool]
) -> float:
    """The speed, m/s, that the lines ahead allow; notes halts at stop signs.

    Args:
        lines: of the way.
        front: arc of the vehicle's front, metres.
        speed: of the vehicle, m/s.
        reach: how far to look, metres.
        braking: comfortable deceleration, m/s^2.
        heed: whether lights and stop signs count.
    """
    allowed = math.inf
    for line in lines:
        distance = line.arc - front
        if not -PASSED < distance < reach:
            continue
        if line.light is None:
            line.served |= speed < HALTED and distance < AT_SIGN
            closed = heed[1] and not line.served
        else:
            closed = heed[0] and _is_closed(str(line.light.state), distance, speed)
        if closed:
            allowed = min(allowed, approach_speed(distance - BEFORE_LINE, 0.0, braking))
    return allowed


def _is_closed(state: str, distance: float, speed: float) -> bool:
    return state == "Red" or (state == "Yellow" and speed**2 < 2.0 * HARD * max(distance, 0.0))


def _meetings(path: PathAhead, transform: Any) -> list[float]:
    """Arcs at which a way crosses the place of a line along its lane; a way may come by more than once."""
    x, y, yaw = transform.location.x, transform.location.y, math.radians(transform.rotation.yaw)
    step = path.points[:-1] - [x, y]
    share = np.clip(-(step * path.steps).sum(1) / path.lengths**2, 0.0, 1.0)
    distance = np.hypot(*(step + share[:, None] * path.steps).T)
    turned = np.abs(np.arctan2(np.sin(path.headings - yaw), np.cos(path.headings - yaw)))
    near = np.flatnonzero((distance < ASIDE) & (turned < SAME_WAY))
    groups = np.split(near, np.flatnonzero(np.diff(near) > 1) + 1) if len(near) else []
    best = [group[distance[group].argmin()] for group in groups]
    return [float(path.arcs[i] + share[i] * path.lengths[i]) for i in best]
