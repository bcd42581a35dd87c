"""What the ego has to know of its route beside the vector observation, as twelve numbers.

| number | holds |
|---|---|
| 0 | bumper to the next stop line that still counts |
| 1, 2, 3 | 1 if it has a red light, a yellow light, a stop sign at which the ego has not halted |
| 4, 5 | bumper to the nearest thing on the route's lanes, and its speed along them |
| 6 | bumper to the next junction on the route |
| 7 | 1 if nobody is, or has the right to go, on what conflicts with the way through that junction |
| 8 | speed that limit, curves and what comes next allow |
| 9 | the ego's speed |
| 10 | half of the ego's length |
| 11 | how far to the left of the route the way past an obstacle leads, 0 without one |

Where lanes merge like a zip (:mod:`envs.driving.maps.merges`), whoever is to go first counts as on the route's lanes.

Distances are in units of 50 m (what is further than 150 m, or not there, is 3), speeds of 20 m/s, as in
:mod:`envs.driving.views.vector_observation`; half of the length and the way past are in units
of 5 m.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, locate, project
from envs.driving.views.vector_observation import FAR, FAST, SIZE
from envs.driving.world.halting import STOP_SIGN
from envs.driving.world.lights import RED, YELLOW
from envs.driving.world.occupancy import Scratch, clear, fill, make_scratch
from envs.driving.world.passing import OUT, way_past
from envs.driving.world.pressures import OBSTACLE, OBSTACLE_ROOM
from envs.driving.world.records import Status
from envs.driving.world.route_driver import way_is_free
from envs.driving.world.world import DrivingWorlds

LENGTH = 12
EMPTY = int(Status.EMPTY)
REACH = 150.0
"""Metres."""
LINE, IS_RED, IS_YELLOW, IS_SIGN, GAP, GAP_SPEED, JUNCTION, FREE, WANTED, SPEED, HALF_LENGTH, SHIFT = range(LENGTH)
ABREAST = 5.0
"""Gap to somebody beside who is to merge first, as long as there is room, metres."""
PASSED = -1.0
"""A line counts until the bumper is this far beyond it, metres."""


@kernel
def note_lines(
    world_map: MapArrays, ego: Records, lane_number: int, travelled: float, lights: NDArray[np.int8], out: Records
) -> None:
    """Note the first stop line of a lane that starts ``travelled`` metres ahead, if none was noted before."""
    lane = world_map.lanes[lane_number]
    for place in range(lane.stop_start, lane.stop_stop):
        stop = world_map.stops[place]
        distance = travelled + stop.arc - ego.half_length
        served = stop.kind == STOP_SIGN and ego.served_stop == place
        if served or distance < PASSED or distance >= out[LINE]:
            continue
        out[LINE] = distance
        out[IS_SIGN] = 1.0 if stop.kind == STOP_SIGN else 0.0
        out[IS_RED] = 1.0 if stop.kind != STOP_SIGN and lights[place] == RED else 0.0
        out[IS_YELLOW] = 1.0 if stop.kind != STOP_SIGN and lights[place] == YELLOW else 0.0


@kernel
def note_vehicles(ego: Records, lane_number: int, travelled: float, scratch: Scratch, out: Records) -> None:
    """Note the nearest of those on a lane that starts ``travelled`` metres ahead."""
    number = scratch.head[lane_number]
    while number >= 0:
        entry = scratch.entries[number]
        number = entry.following
        distance = travelled + entry.arc
        gap = distance - ego.half_length - entry.half
        if entry.kind == OBSTACLE:
            gap -= OBSTACLE_ROOM
        if entry.actor != 0 and distance > 0.0 and gap < out[GAP]:
            out[GAP], out[GAP_SPEED] = gap, entry.speed


@kernel
def note_mergers(
    world_map: MapArrays, ego: Records, lane_number: int, to_end: float, scratch: Scratch, out: Records
) -> None:
    """Note the nearest of those that go first where the lane, ``to_end`` metres to its end, merges with others."""
    lane = world_map.lanes[lane_number]
    for place in range(lane.merger_start, lane.merger_stop):
        merger = world_map.mergers[place]
        number = scratch.head[merger.lane]
        while number >= 0:
            entry = scratch.entries[number]
            number = entry.following
            left = merger.to_end - entry.arc
            gap = to_end - left - ego.half_length - entry.half
            if to_end > lane.length:
                gap = max(gap, ABREAST)
            if entry.actor != 0 and left < to_end and gap < out[GAP]:
                out[GAP], out[GAP_SPEED] = gap, entry.speed


@kernel
def look_along(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    lights: NDArray[np.int8],
    scratch: Scratch,
    out: NDArray[np.float64],
) -> None:
    """Fill ``out`` in metres and m/s; the scratch holds who is where."""
    ego, here = actors[0], route[world.route_index]
    out[:] = 0.0
    shift, beside, beside_arc = way_past(world_map, world, actors, route, scratch)
    out[LINE], out[GAP], out[JUNCTION], out[FREE] = REACH, REACH, REACH, 1.0
    out[SPEED], out[HALF_LENGTH], out[SHIFT] = ego.speed, ego.half_length, shift
    passes = beside >= 0 and abs(world.route_offset) > OUT
    if beside >= 0:
        note_vehicles(ego, beside, -beside_arc, scratch, out)
    first = world_map.lanes[here.lane]
    arc, _, _ = project(world_map, here.lane, ego.arc if ego.lane == here.lane else 0.0, ego.x, ego.y)
    out[WANTED] = world_map.points[locate(world_map.points, first.start, first.stop, first.length, arc)].speed
    past = (ego.x - here.x) * math.cos(here.heading) + (ego.y - here.y) * math.sin(here.heading)
    lane = -1
    for place in range(world.route_index, world.route_count):
        point = route[place]
        ahead = point.arc - here.arc - past
        if ahead > REACH:
            break
        if point.lane == lane:
            continue
        junction = world_map.lanes[point.lane].junction
        within = lane < 0 or world_map.lanes[lane].junction == junction
        lane = point.lane
        arc, _, _ = project(world_map, lane, arc if world_map.lanes[lane].length > arc else 0.0, point.x, point.y)
        travelled, arc = ahead - arc, 0.0
        if junction >= 0 and not within and PASSED < travelled - ego.half_length < out[JUNCTION]:
            out[JUNCTION] = travelled - ego.half_length
            out[FREE] = 1.0 if way_is_free(world_map, world, actors, route, place, scratch) else 0.0
        note_lines(world_map, ego, lane, travelled, lights, out)
        if not (passes and lane == here.lane):
            note_vehicles(ego, lane, travelled, scratch, out)
        note_mergers(world_map, ego, lane, travelled + world_map.lanes[lane].length, scratch, out)


@kernel
def observe(
    world_map: MapArrays,
    worlds: Records,
    actors: Records,
    routes: Records,
    lights: NDArray[np.int8],
    scratch: Scratch,
    out: NDArray[np.float64],
) -> None:
    """Fill the rows of all worlds that have a route and are not empty; the others get zeros."""
    out[:] = 0.0
    for w in range(len(worlds)):
        if worlds[w].route_count > 0 and worlds[w].status != EMPTY:
            fill(world_map, actors[w], scratch)
            look_along(world_map, worlds[w], actors[w], routes[w], lights[w], scratch, out[w])
            clear(scratch)


class RouteAhead:
    """Looks along the routes of a batch.

    Example::

        ahead = RouteAhead(worlds).observe()      # float32 [N, 12]
    """

    def __init__(self, worlds: DrivingWorlds) -> None:
        self.worlds = worlds
        self.scratch = make_scratch(len(worlds.map.lanes), worlds.actors.shape[1])
        self.rows = np.zeros((len(worlds.worlds), LENGTH))

    def observe(self) -> NDArray[np.float32]:
        """``float32 [N, LENGTH]``."""
        worlds = self.worlds
        observe(worlds.map, worlds.worlds, worlds.actors, worlds.routes, worlds.lights, self.scratch, self.rows)
        rows = self.rows.copy()
        rows[:, [LINE, GAP, JUNCTION]] /= FAR
        rows[:, [GAP_SPEED, WANTED, SPEED]] /= FAST
        rows[:, [HALF_LENGTH, SHIFT]] /= SIZE
        return rows.astype(np.float32)
