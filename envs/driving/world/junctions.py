"""Who may enter a junction.

A vehicle needs the grant of its junction lane, and a grant needs every conflicting lane to be free of vehicles and of
other grants. Grants go to whoever is near first; ties go to the lower actor number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.world.halting import STOP_SIGN, is_red, must_stop_for_light
from envs.driving.world.occupancy import TRAFFIC, Scratch
from envs.driving.world.records import Kind
from envs.driving.world.traffic import next_lane

PEDESTRIAN = int(Kind.PEDESTRIAN)
EGO_PATIENCE = 8.0
"""For so many seconds of standing traffic leaves an ego its turn."""
EGO_SECONDS = 2.5
"""Traffic leaves the junction to an ego that enters it within this time."""
LONGEST_WAY = 6
"""Lanes that a way through a junction may consist of."""
ROOM = 3.0
"""Free metres wanted behind the junction, beyond the vehicle's own length."""


@kernel
def occupied_by_other(scratch: Scratch, lane: int, index: int) -> bool:
    """Whether another vehicle or obstacle is on a lane; for people one brakes when they are on one's own way."""
    number = scratch.head[lane]
    while number >= 0:
        if scratch.entries[number].actor != index and scratch.entries[number].kind != PEDESTRIAN:
            return True
        number = scratch.entries[number].following
    return False


@kernel
def conflict_free(world_map: MapArrays, lane_number: int, index: int, scratch: Scratch, count_grants: bool) -> bool:
    """Whether no lane that conflicts with this one is occupied (or granted)."""
    lane = world_map.lanes[lane_number]
    for place in range(lane.conflict_start, lane.conflict_stop):
        other = world_map.conflicts[place]
        if other != lane_number and (
            occupied_by_other(scratch, other, index) or (count_grants and scratch.grants[other] > 0)
        ):
            return False
    return True


@kernel
def way_is_free(
    world_map: MapArrays,
    world: Records,
    actor: Records,
    index: int,
    entry: tuple[int, int, float],
    scratch: Scratch,
    count_grants: bool,
) -> bool:
    """Whether all lanes of a vehicle's way through a junction are free; ``entry`` is from ``next_junction``."""
    lane_number, leg = entry[0], entry[1]
    junction = world_map.lanes[lane_number].junction
    for _ in range(LONGEST_WAY):
        if not conflict_free(world_map, lane_number, index, scratch, count_grants):
            return False
        lane_number = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        leg += 1
        if lane_number < 0 or world_map.lanes[lane_number].junction != junction:
            break
    return True


@kernel
def count_way(world_map: MapArrays, world: Records, actor: Records, change: int, scratch: Scratch) -> None:
    """Add ``change`` to the grants of the lanes that a vehicle's grant covers, from where it is within the junction."""
    lane_number, leg = actor.lane, actor.leg
    for _ in range(LONGEST_WAY):
        if lane_number == actor.granted:
            break
        lane_number = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        leg += 1
        if lane_number < 0:
            return
    if lane_number != actor.granted:
        return
    junction = world_map.lanes[lane_number].junction
    for _ in range(LONGEST_WAY):
        scratch.grants[lane_number] += change
        lane_number = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        leg += 1
        if lane_number < 0 or world_map.lanes[lane_number].junction != junction:
            break


@kernel
def next_junction(world_map: MapArrays, world: Records, actor: Records, reach: float) -> tuple[int, int, float]:
    """The junction lane that needs a grant and that a vehicle comes to within ``reach``, over lanes before it too.

    Returns:
        The lane (-1: none), the leg on which the vehicle will be there, and metres from its front to the entry.
    """
    lane_number, leg = actor.lane, actor.leg
    distance = world_map.lanes[lane_number].length - actor.arc - actor.half_length
    for _ in range(LONGEST_WAY):
        following = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        leg += 1
        if following < 0 or distance > reach:
            break
        junction = world_map.lanes[following].junction
        if junction >= 0 and world_map.lanes[following].needs_grant != 0:
            if junction == world_map.lanes[lane_number].junction:
                break
            return following, leg, distance
        distance += world_map.lanes[following].length
        lane_number = following
    return -1, leg, distance


@kernel
def has_leader(scratch: Scratch, lane: int, index: int, arc: float) -> bool:
    """Whether somebody is ahead on the lane."""
    number = scratch.head[lane]
    while number >= 0:
        entry = scratch.entries[number]
        if entry.actor != index and entry.arc > arc:
            return True
        number = entry.following
    return False


@kernel
def room_behind(
    world_map: MapArrays, world: Records, actor: Records, entry: tuple[int, int, float], scratch: Scratch
) -> bool:
    """Whether the vehicle will not have to halt within the junction: nobody slow there or right behind it."""
    lane_number, leg = entry[0], entry[1]
    number = scratch.head[lane_number]
    while number >= 0:
        if scratch.entries[number].speed < 1.0:
            return False
        number = scratch.entries[number].following
    exit_lane = next_lane(world_map, world.seed, actor.id, leg, lane_number)
    if exit_lane < 0:
        return True
    number = scratch.head[exit_lane]
    while number >= 0:
        ahead = scratch.entries[number]
        if ahead.speed < 2.0 and ahead.arc - ahead.half < 2.0 * actor.half_length + ROOM:
            return False
        number = ahead.following
    return True


@kernel
def may_approach(
    world_map: MapArrays,
    world: Records,
    actor: Records,
    index: int,
    wanted: int,
    lights: NDArray[np.int8],
    scratch: Scratch,
    mind_leaders: bool,
) -> bool:
    """Whether no light or unserved stop sign, and if asked for no vehicle ahead, is before the junction lane."""
    lane_number, leg, travelled = actor.lane, actor.leg, -actor.arc
    for _ in range(LONGEST_WAY):
        if lane_number == wanted or lane_number < 0:
            break
        lane = world_map.lanes[lane_number]
        for place in range(lane.stop_start, lane.stop_stop):
            stop = world_map.stops[place]
            distance = travelled + stop.arc - actor.half_length
            if stop.kind == STOP_SIGN:
                if distance > -1.0 and actor.served_stop != place:
                    return False
            elif actor.obeys_lights != 0 and must_stop_for_light(lights[place], distance, actor.speed):
                return False
        if mind_leaders and has_leader(scratch, lane_number, index, -travelled):
            return False
        travelled += lane.length
        lane_number = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        leg += 1
    return True


@kernel
def update_grant(
    world_map: MapArrays,
    world: Records,
    actor: Records,
    index: int,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
) -> None:
    """Give, keep or take back the grant of one vehicle that has not entered the junction."""
    braking = actor.speed * actor.speed / (2.0 * parameters.deceleration)
    reach = max(6.0, 1.5 * braking + actor.speed)
    entry = next_junction(world_map, world, actor, reach)
    wanted, distance = entry[0], entry[2]
    if wanted < 0:
        return
    if actor.granted == wanted:
        can_stop = actor.speed * actor.speed < 2.0 * 5.0 * max(distance, 0.0)
        if can_stop and not (
            may_approach(world_map, world, actor, index, wanted, lights, scratch, False)
            and way_is_free(world_map, world, actor, index, entry, scratch, False)
        ):
            count_way(world_map, world, actor, -1, scratch)
            actor.granted = -1
    elif (
        may_approach(world_map, world, actor, index, wanted, lights, scratch, True)
        and way_is_free(world_map, world, actor, index, entry, scratch, True)
        and room_behind(world_map, world, actor, entry, scratch)
    ):
        if actor.granted >= 0:  # still within the junction before
            count_way(world_map, world, actor, -1, scratch)
        actor.granted = wanted
        count_way(world_map, world, actor, 1, scratch)


@kernel
def ego_claim(world_map: MapArrays, world: Records, ego: Records, route: Records, lights: NDArray[np.int8]) -> int:
    """The junction lane of the ego's route that it will enter shortly, -1: none.

    One that stands claims its turn as well, but not for longer than ``EGO_PATIENCE``: others must get through.
    """
    if ego.active == 0 or world.blocked_time > EGO_PATIENCE or world.route_count == 0:
        return -1
    here = route[world.route_index].lane
    ahead = min(world.route_index + int(5.0 + EGO_SECONDS * ego.speed), world.route_count - 1)
    for place in range(world.route_index, ahead + 1):
        lane = route[place].lane
        if world_map.lanes[lane].junction >= 0 and world_map.lanes[lane].junction != world_map.lanes[here].junction:
            return -1 if is_red(world_map, route[max(place - 1, 0)].lane, lights) else lane
    return -1


@kernel
def update_grants(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
) -> None:
    """Give and take back the grants of all vehicles of one world; leaves ``scratch.grants`` at zero."""
    claim = ego_claim(world_map, world, actors[0], route, lights)
    if claim >= 0:
        scratch.grants[claim] += 1
    for index in range(len(actors)):
        actor = actors[index]
        if actor.controller == TRAFFIC and actor.active != 0 and actor.granted >= 0:
            count_way(world_map, world, actor, 1, scratch)
    for index in range(len(actors)):
        actor = actors[index]
        if actor.controller == TRAFFIC and actor.active != 0:
            update_grant(world_map, world, actor, index, lights, scratch, parameters)
    for index in range(len(actors)):
        actor = actors[index]
        if actor.controller == TRAFFIC and actor.active != 0 and actor.granted >= 0:
            count_way(world_map, world, actor, -1, scratch)
    if claim >= 0:
        scratch.grants[claim] -= 1
