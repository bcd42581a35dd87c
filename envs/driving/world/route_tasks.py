"""The routes of a map that are played as tasks: drawn from the map and a number, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.driving.errors import RouteError
from envs.driving.maps.map_arrays import MapArrays
from envs.driving.world.route_points import random_lanes

TRIES = 200
ROOM_BEFORE, ROOM_AFTER = 5.0, 10.0
"""A route starts at least so far from the ends of its first lane, metres."""
MOST_LANES = 1024


@dataclass(frozen=True, kw_only=True)
class RouteTask:
    """A route, as :class:`envs.driving.world.start.Start` takes it."""

    lanes: tuple[int, ...]
    first_arc: float
    last_arc: float
    metres: float
    """Length, no more than was asked for."""


def draw_route(world_map: MapArrays, number: int, metres: float) -> RouteTask:
    """Route ``number`` of a map, from a random place outside of junctions on, every turn random.

    Of up to ``TRIES`` places the first that leads on for ``metres`` is taken, else the one that leads furthest.

    Raises:
        RouteError: no lane outside of junctions is long enough to start on.
    """
    lengths = world_map.lanes["length"]
    allowed = np.flatnonzero((world_map.lanes["junction"] < 0) & (lengths > ROOM_BEFORE + ROOM_AFTER))
    if len(allowed) == 0:
        raise RouteError(
            f"no route can be drawn: of {len(lengths)} lanes none lies outside of junctions and is longer than "
            f"{ROOM_BEFORE + ROOM_AFTER:.0f} m"
        )
    random = np.random.Generator(np.random.PCG64([number, 7]))
    buffer, best = np.zeros(MOST_LANES, np.int32), None
    for _ in range(TRIES):
        first = int(allowed[int(random.random() * len(allowed))])
        first_arc = ROOM_BEFORE + random.random() * (lengths[first] - ROOM_BEFORE - ROOM_AFTER)
        seed = np.uint64(random.integers(2**63))
        count = random_lanes(world_map, seed, first, first_arc + metres, buffer)
        lanes = buffer[:count].tolist()
        before_last = float(lengths[lanes[:-1]].sum()) - first_arc
        last_arc = min(metres - before_last, float(lengths[lanes[-1]]))
        route = RouteTask(
            lanes=tuple(lanes), first_arc=float(first_arc), last_arc=last_arc, metres=before_last + last_arc
        )
        if best is None or route.metres > best.metres:
            best = route
        if best.metres >= metres - 1e-6:
            break
    assert best is not None  # TRIES is positive
    return best
