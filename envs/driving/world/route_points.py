"""The way along the lanes of a route as points 1 m apart."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.errors import RouteError
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import MapArrays, Records, heading_at, place_at, project
from envs.driving.world.counter_random import choice
from envs.driving.world.records import ROUTE_POINT

SPACING = 1.0
"""Metres between two points of a route."""
CHANGE_LENGTH = 20.0
"""A lane change stretches over this length, metres, or the whole lane if that is shorter."""
ROUTE_TURN = 41
"""Purpose of the random number that chooses the way of a random route."""


def check_connected(graph: LaneGraph, lanes: list[int]) -> None:
    """See that each lane of a route leads to the next one: to its end, or, outside of junctions, beside it.

    Raises:
        RouteError: two lanes that are not connected, or a lane that does not exist.
    """
    for lane in lanes:
        if not 0 <= lane < graph.lanes:
            raise RouteError(f"there is no lane {lane}; the map has the lanes 0 to {graph.lanes - 1}")
    for place, (lane, following) in enumerate(itertools.pairwise(lanes)):
        ways = graph.successors_of(lane).tolist()
        if graph.junction[lane] < 0:
            ways += [int(other) for other in (graph.left[lane], graph.right[lane]) if other >= 0]
        if following not in ways:
            raise RouteError(
                f"entries {place} and {place + 1} of the route are not connected: from lane {lane} "
                f"(key {graph.lane_key[lane].tolist()}) one gets to lanes {ways}, not to {following}"
            )


@kernel
def random_lanes(world_map: MapArrays, seed: np.uint64, first: int, metres: float, out: NDArray[np.int32]) -> int:
    """A chain of successors from ``first`` that covers ``metres``; how many lanes of ``out`` were filled.

    A dead end, or the end of ``out``, ends it early.
    """
    count, covered = 1, 0.0
    out[0] = first
    while count < len(out):
        lane = world_map.lanes[out[count - 1]]
        covered += lane.length
        options = lane.successor_stop - lane.successor_start
        if covered >= metres or options == 0:
            break
        out[count] = world_map.successors[lane.successor_start + choice(seed, count, 0, ROUTE_TURN, options)]
        count += 1
    return count


@kernel
def is_successor(world_map: MapArrays, lane: int, other: int) -> bool:
    """Whether one lane leads into another."""
    record = world_map.lanes[lane]
    return other in world_map.successors[record.successor_start : record.successor_stop]


@kernel
def sample_route(
    world_map: MapArrays, lanes: NDArray[np.int32], first_arc: float, last_arc: float, route: Records
) -> int:
    """Points along ``lanes`` from an arc of the first to an arc of the last; how many of ``route`` were filled.

    A lane that is followed by its neighbour is changed from over ``CHANGE_LENGTH``, early on the lane. The way ends
    where ``route`` is full.
    """
    count, arc, lane, place = 0, first_arc, lanes[0], 0
    while count < len(route):
        length = world_map.lanes[lane].length
        changes = place + 1 < len(lanes) and not is_successor(world_map, lane, lanes[place + 1])
        if not changes:
            last = place + 1 == len(lanes)
            if arc > (min(last_arc, length) if last else length):
                if last:
                    break
                arc, place = arc - length, place + 1
                lane = lanes[place]
                continue
            x, y = place_at(world_map, lane, arc)
            count = _append(route, count, x, y, heading_at(world_map, lane, arc), lane)
            arc += SPACING
            continue
        target = lanes[place + 1]
        begin, span = arc, max(min(CHANGE_LENGTH, length - arc), 1.0)
        while count < len(route) and arc < begin + span:
            x, y = place_at(world_map, lane, arc)
            beside, _, _ = project(world_map, target, arc, x, y)
            target_x, target_y = place_at(world_map, target, beside)
            share = (arc - begin) / span
            share = share * share * (3.0 - 2.0 * share)
            count = _append(
                route,
                count,
                x + share * (target_x - x),
                y + share * (target_y - y),
                heading_at(world_map, lane, arc),
                target if share >= 0.5 else lane,
            )
            arc += SPACING
        x, y = place_at(world_map, lane, arc)
        arc, _, _ = project(world_map, target, arc, x, y)
        lane, place = target, place + 1
    return count


@kernel
def _append(route: Records, count: int, x: float, y: float, heading: float, lane: int) -> int:
    """Add a point; its predecessor's heading becomes that of the step between them."""
    point = route[count]
    point.x, point.y, point.heading, point.lane, point.arc = x, y, heading, lane, 0.0
    if count > 0:
        before = route[count - 1]
        step = np.hypot(x - before.x, y - before.y)
        point.arc = before.arc + step
        if step > 1e-6:
            before.heading = np.arctan2(y - before.y, x - before.x)
    return count + 1


def route_points(
    world_map: MapArrays, lanes: list[int], first_arc: float = 0.0, last_arc: float = np.inf, most: int = 20_000
) -> Records:
    """The way along ``lanes`` as records ``[count]`` of x, y, heading, arc and lane."""
    route = np.zeros(most, ROUTE_POINT)
    count = sample_route(world_map, np.array(lanes, np.int32), first_arc, last_arc, route)
    return route[:count].copy()
