"""The shortest way over the lanes of a road network, lane changes included. Knows nothing of CARLA.

A lane is named by any hashable key. Places are arcs, metres from the lane's beginning in its direction of travel.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

CHANGE_METRES = 20.0
"""A lane change covers so many metres of the lane, at most half of what is left of it."""
SHORTEST_CHANGE = 6.0
"""Where less is left, no lane change is planned, metres."""
CHANGE_COST = 10.0
"""A lane change is worth a detour of so many metres."""


@dataclass(frozen=True)
class Lane:
    """One lane of the network."""

    length: float
    """Metres."""
    successors: tuple[Hashable, ...] = ()
    """Lanes that begin where this one ends."""
    beside: tuple[Hashable, ...] = field(default=())
    """Lanes of the same direction into which one may change."""


class Piece(NamedTuple):
    """A part of a way on one lane."""

    lane: Hashable
    first: float
    """Arc, metres."""
    last: float
    changes: bool
    """Whether the way leaves it sideways, over the stretch that follows ``last``."""


class _Step(NamedTuple):
    """A lane, and where the way enters it."""

    lane: Hashable
    arc: float


def shortest_way(
    lanes: Mapping[Hashable, Lane], start: tuple[Hashable, float], goal: tuple[Hashable, float]
) -> list[Piece] | None:
    """The shortest way from one place to another (Dijkstra), None where there is none.

    Args:
        lanes: the network; successors that are not in it lead nowhere.
        start: lane and arc.
        goal: lane and arc; one that lies behind ``start`` on the same lane is reached over other lanes.
    """
    numbers = itertools.count()  # ties are broken by age: keys need no order
    first = _Step(*start)
    heap: list[tuple[float, int, _Step]] = [(0.0, next(numbers), first)]
    costs: dict[_Step, float] = {first: 0.0}
    came_from: dict[_Step, tuple[_Step, bool]] = {}
    arrival = _Step("goal of the search", 0.0)
    while heap:
        cost, _, here = heapq.heappop(heap)
        if here is arrival:
            return _unroll(lanes, came_from, arrival, goal)
        if cost > costs[here]:
            continue
        for following, added, changes in _ways_on(lanes, here, goal, arrival):
            total = cost + added
            if total < costs.get(following, float("inf")):
                costs[following], came_from[following] = total, (here, changes)
                heapq.heappush(heap, (total, next(numbers), following))
    return None


def _ways_on(
    lanes: Mapping[Hashable, Lane], here: _Step, goal: tuple[Hashable, float], arrival: _Step
) -> list[tuple[_Step, float, bool]]:
    """Where one gets from here: the next step, what it costs, whether it is a lane change."""
    lane = lanes[here.lane]
    left = max(lane.length - here.arc, 0.0)
    ways = [(_Step(key, 0.0), left, False) for key in lane.successors if key in lanes]
    if here.lane == goal[0] and goal[1] >= here.arc:
        ways.append((arrival, goal[1] - here.arc, False))
    stretch = min(CHANGE_METRES, 0.5 * left)
    if stretch >= 0.5 * SHORTEST_CHANGE:
        share = (here.arc + stretch) / lane.length
        ways += [
            (_Step(key, share * lanes[key].length), stretch + CHANGE_COST, True) for key in lane.beside if key in lanes
        ]
    return ways


def _unroll(
    lanes: Mapping[Hashable, Lane],
    came_from: Mapping[_Step, tuple[_Step, bool]],
    arrival: _Step,
    goal: tuple[Hashable, float],
) -> list[Piece]:
    pieces: list[Piece] = []
    step, last = arrival, goal[1]
    while step in came_from:
        before, changes = came_from[step]
        end = last if step is arrival else before.arc if changes else lanes[before.lane].length
        pieces.append(Piece(before.lane, before.arc, end, changes))
        step = before
    return pieces[::-1]
