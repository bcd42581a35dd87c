"""Routes over a map of CARLA's client, which the ``carla`` wheel itself lacks.

Example::

    planner = GlobalRoutePlanner(world.get_map(), sampling_resolution=2.0)
    for waypoint, option in planner.trace_route(start_location, end_location):
        print(waypoint.transform.location, option.name)

Works with any server, since the map lives in the client. The names are those that users of CARLA's own
``agents.navigation`` know; the code is ours.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from envs.carla.lane_search import Lane, Piece, shortest_way
from envs.driving.errors import RouteError

STRAIGHT_DEGREES = 35.0
"""A way through a junction that turns by less is straight on."""
DRIVING = "Driving"


class RoadOption(enum.IntEnum):
    """What to do at a point of a route; numbers as in CARLA's agents."""

    VOID = -1
    LEFT = 1
    RIGHT = 2
    STRAIGHT = 3
    LANEFOLLOW = 4
    CHANGELANELEFT = 5
    CHANGELANERIGHT = 6


Plan = list[tuple[Any, RoadOption]]
"""Pairs of ``carla.Waypoint`` and what to do there."""


class _Sampled(NamedTuple):
    """The waypoints of a lane, their arcs, and the beginning of a lane that follows (its own end where none does)."""

    waypoints: list[Any]
    arcs: list[float]
    following: Any


def lane_key(waypoint: Any) -> tuple[int, int, int]:
    """Road, section and lane of a waypoint."""
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


class GlobalRoutePlanner:
    """See the module.

    Args:
        wmap: ``carla.Map``.
        sampling_resolution: metres between two waypoints of a route.
    """

    def __init__(self, wmap: Any, sampling_resolution: float = 2.0) -> None:
        if not sampling_resolution > 0.0:
            raise ValueError(f"sampling_resolution is {sampling_resolution}; more than 0 metres are needed")
        self._map, self._resolution = wmap, sampling_resolution
        self._sampled: dict[Hashable, _Sampled] = {}
        self.lanes = self._network()
        """The map as a network; keys are road, section and lane."""

    def trace_route(self, origin: Any, destination: Any) -> Plan:
        """The shortest way from the lane nearest to ``origin`` to the place nearest to ``destination``.

        Args:
            origin: ``carla.Location``.
            destination: ``carla.Location``.

        Returns:
            Waypoints along it, each with what to do there.

        Raises:
            RouteError: no way leads there.
        """
        start, goal = self._locate(origin), self._locate(destination)
        pieces = shortest_way(self.lanes, start, goal)
        if pieces is None:
            raise RouteError(
                f"no way leads from {_text(origin)} on lane {start[0]} to {_text(destination)} on lane {goal[0]} "
                "(road, section, lane); choose places whose lanes are connected"
            )
        plan: Plan = []
        for piece, following in pairwise([*pieces, None]):
            assert piece is not None
            self._append(plan, piece, following)
        return plan

    def _network(self) -> dict[Hashable, Lane]:
        successors: dict[Hashable, list[Hashable]] = {}
        for entry, following in self._map.get_topology():
            key = lane_key(entry)
            if key not in self._sampled:
                self._sampled[key] = self._sample(entry, following)
                successors[key] = []
            if lane_key(following) != key:
                successors[key].append(lane_key(following))
        lanes: dict[Hashable, Lane] = {}
        for key, (waypoints, arcs, following) in self._sampled.items():
            rest = waypoints[-1].transform.location.distance(following.transform.location)
            length = arcs[-1] + min(rest, self._resolution)
            lanes[key] = Lane(max(length, 1e-3), tuple(successors[key]), _beside(waypoints[len(waypoints) // 2]))
        return lanes

    def _sample(self, entry: Any, following: Any) -> _Sampled:
        waypoints = [entry, *entry.next_until_lane_end(self._resolution)]
        waypoints = [waypoint for waypoint in waypoints if lane_key(waypoint) == lane_key(entry)]
        steps = [a.transform.location.distance(b.transform.location) for a, b in pairwise(waypoints)]
        return _Sampled(waypoints, [0.0, *np.cumsum(steps).tolist()], following)

    def _locate(self, location: Any) -> tuple[Hashable, float]:
        """Lane and arc of the place on a driving lane that is nearest to a location."""
        waypoint = self._map.get_waypoint(location)
        key = lane_key(waypoint)
        if key not in self._sampled:
            raise RouteError(f"{_text(location)} is on lane {key} (road, section, lane), which leads nowhere")
        waypoints, arcs, _ = self._sampled[key]
        here = waypoint.transform.location
        nearest = min(range(len(waypoints)), key=lambda i: waypoints[i].transform.location.distance(here))
        place = waypoints[nearest].transform
        ahead = place.get_forward_vector()
        along = (here.x - place.location.x) * ahead.x + (here.y - place.location.y) * ahead.y
        return key, max(arcs[nearest] + along, 0.0)

    def _append(self, plan: Plan, piece: Piece, following: Piece | None) -> None:
        waypoints, arcs, beyond = self._sampled[piece.lane]
        part = [w for w, arc in zip(waypoints, arcs, strict=True) if piece.first - 1e-6 <= arc <= piece.last + 1e-6]
        if not part:  # shorter than the resolution
            part = [waypoints[int(np.argmin(np.abs(np.array(arcs) - piece.first)))]]
        option = _option(waypoints[0], beyond)
        plan += [(waypoint, option) for waypoint in part]
        if piece.changes and following is not None:
            target = self._sampled[following.lane].waypoints[0]
            left = _is_left(waypoints[0].transform, target.transform.location)
            change = RoadOption.CHANGELANELEFT if left else RoadOption.CHANGELANERIGHT
            plan[-1] = (plan[-1][0], change)


def _option(first: Any, beyond: Any) -> RoadOption:
    """What a lane asks for that leads from a waypoint to another one."""
    if not first.is_junction:
        return RoadOption.LANEFOLLOW
    turned = beyond.transform.rotation.yaw - first.transform.rotation.yaw
    turned = math.remainder(turned, 360.0)  # clockwise
    if abs(turned) < STRAIGHT_DEGREES:
        return RoadOption.STRAIGHT
    return RoadOption.RIGHT if turned > 0.0 else RoadOption.LEFT


def _beside(waypoint: Any) -> tuple[Hashable, ...]:
    """Lanes of the same direction beside a waypoint into which its markings let one change."""
    found = []
    allowed = str(waypoint.lane_change)
    for name, other in (("Left", waypoint.get_left_lane()), ("Right", waypoint.get_right_lane())):
        if (
            allowed in (name, "Both")
            and other is not None
            and str(other.lane_type) == DRIVING
            and other.lane_id * waypoint.lane_id > 0
        ):
            found.append(lane_key(other))
    return tuple(found)


def _is_left(transform: Any, location: Any) -> bool:
    ahead, here = transform.get_forward_vector(), transform.location
    return ahead.x * (location.y - here.y) - ahead.y * (location.x - here.x) < 0.0  # y is to the right


def _text(location: Any) -> str:
    return f"x {location.x:.1f}, y {location.y:.1f}"
