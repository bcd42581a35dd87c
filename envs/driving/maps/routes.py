"""The shortest way from one place to another along the lanes of a map, lane changes included."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from envs.driving.errors import RouteError
from envs.driving.maps.lane_graph import EDGE_SOLID, LaneGraph

LANE_CHANGE = 10.0
"""Metres of detour that one lane change is worth."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way along lanes."""

    lanes: tuple[int, ...]
    """One after the other: each is a successor of the one before it, or lies beside it."""
    length: float
    """Metres from the start to the end; a lane change adds none."""


def find_route(graph: LaneGraph, start: tuple[int, float], end: tuple[int, float]) -> Route:
    """The shortest route, each lane change counted as ``LANE_CHANGE`` metres.

    Lanes are changed outside of junctions, not across a solid line.

    Args:
        graph: the map.
        start: lane, and metres along it.
        end: the same.

    Raises:
        RouteError: a place that is not on the map, or no way between the two.
    """
    for lane, arc in (start, end):
        _check_place(graph, lane, arc)
    # A node is (lane, whether a lane's end was passed): until then the end must not lie behind the start.
    goal_ahead = end[1] >= start[1]
    first = (start[0], False)
    cost: dict[tuple[int, bool], float] = {first: 0.0}
    came: dict[tuple[int, bool], tuple[int, bool]] = {}
    waiting: list[tuple[float, tuple[int, bool]]] = [(0.0, first)]
    while waiting:
        spent, node = heapq.heappop(waiting)
        if spent > cost[node]:
            continue
        if node[0] == end[0] and (node[1] or goal_ahead):
            return _route(graph, node, came, start[1], end[1])
        for following, price in _steps(graph, node):
            if spent + price < cost.get(following, np.inf):
                cost[following] = spent + price
                came[following] = node
                heapq.heappush(waiting, (spent + price, following))
    reached = len({lane for lane, _ in cost})
    raise RouteError(
        f"no way leads from {_name(graph, start[0])} to {_name(graph, end[0])}; from the first, {reached} of "
        f"{graph.lanes} lanes can be reached"
    )


def _steps(graph: LaneGraph, node: tuple[int, bool]) -> Iterator[tuple[tuple[int, bool], float]]:
    lane, passed = node
    for other in graph.successors_of(lane):
        yield (int(other), True), float(graph.length[lane])
    if graph.junction[lane] < 0:
        for side, other in enumerate((int(graph.left[lane]), int(graph.right[lane]))):
            if other >= 0 and np.any(graph.edge_kind[graph.lane_points(lane), side] != EDGE_SOLID):
                yield (other, passed), LANE_CHANGE


def _route(
    graph: LaneGraph,
    node: tuple[int, bool],
    came: dict[tuple[int, bool], tuple[int, bool]],
    start_arc: float,
    end_arc: float,
) -> Route:
    lanes, length = [node[0]], end_arc - start_arc
    while node in came:
        before = came[node]
        if node[0] in graph.successors_of(before[0]):
            length += float(graph.length[before[0]])
        node = before
        lanes.append(node[0])
    return Route(tuple(reversed(lanes)), length)


def _check_place(graph: LaneGraph, lane: int, arc: float) -> None:
    if not 0 <= lane < graph.lanes:
        raise RouteError(f"there is no lane {lane}; the map has the lanes 0 to {graph.lanes - 1}")
    if not 0 <= arc <= graph.length[lane]:
        raise RouteError(f"{arc} m is not on {_name(graph, lane)}, which is {graph.length[lane]:.2f} m long")


def _name(graph: LaneGraph, lane: int) -> str:
    road, section, number = graph.lane_key[lane]
    return f"lane {lane} (road {road}, section {section}, lane {number})"
