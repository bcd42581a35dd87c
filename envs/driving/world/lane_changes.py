"""Traffic changes lanes: around what stands or crawls on its own, and, where a world asks for it, before the ego."""

from __future__ import annotations

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, project
from envs.driving.world.counter_random import uniform
from envs.driving.world.occupancy import TRAFFIC, Scratch
from envs.driving.world.records import Kind

PEDESTRIAN = int(Kind.PEDESTRIAN)
CUT_IN = 101
"""Purpose of the random number that decides about cutting in."""
CONSIDER_STEPS = 10
"""A vehicle thinks about it once in so many control steps."""
SOLID_MARK = 2
ROOM_TO_JUNCTION = 40.0
"""Metres of lane that must be left."""
OVERTAKE_DISTANCE = 25.0
"""Metres to what is overtaken."""
OVERTAKE_GAP, OVERTAKE_SECONDS = 3.0, 1.2
"""From bumper to bumper it takes so many metres to drive around something, and more the faster one comes."""
SLOW_SHARE = 0.4
"""What moves at less than this share of the wanted speed is overtaken, but neither traffic (a queue) nor people."""
CUT_IN_NEAREST, CUT_IN_FURTHEST = 6.0, 20.0
"""How far ahead of the ego a vehicle cuts in, centre to centre, metres."""
CUT_IN_GAP = 2.5
"""Metres between its rear and the ego's front when it begins to."""


@kernel
def lane_is_free(
    scratch: Scratch, lane: int, index: int, arc: float, half: float, speed: float, ahead: float, behind: float
) -> bool:
    """Whether nobody is within ``ahead`` and ``behind`` metres of a vehicle's ends, nor will be soon from behind."""
    number = scratch.head[lane]
    while number >= 0:
        entry = scratch.entries[number]
        number = entry.following
        if entry.actor == index:
            continue
        distance = entry.arc - arc
        keep = half + entry.half
        if distance >= 0.0 and distance < keep + ahead:
            return False
        if distance < 0.0 and -distance < keep + behind + 2.0 * max(entry.speed - speed, 0.0):
            return False
    return True


@kernel
def is_held_up(actors: Records, actor: Records, index: int, wanted: float, scratch: Scratch) -> bool:
    """Whether something that is not traffic stands or crawls shortly ahead on the lane."""
    number = scratch.head[actor.lane]
    while number >= 0:
        entry = scratch.entries[number]
        number = entry.following
        distance = entry.arc - actor.arc
        if (
            entry.actor != index
            and distance - actor.half_length - entry.half > OVERTAKE_GAP + OVERTAKE_SECONDS * actor.speed
            and distance < OVERTAKE_DISTANCE
            and entry.speed < SLOW_SHARE * wanted
            and actors[entry.actor].controller != TRAFFIC
            and actors[entry.actor].kind != PEDESTRIAN
        ):
            return True
    return False


@kernel
def cuts_in(world: Records, actors: Records, actor: Records, target: int) -> bool:
    """Whether a vehicle beside and a little ahead of the ego decides to take its lane."""
    ego = actors[0]
    ahead = actor.arc - ego.arc
    return (
        world.cut_ins > 0.0
        and ego.active != 0
        and world.lane == target
        and CUT_IN_NEAREST < ahead < CUT_IN_FURTHEST
        and uniform(world.seed, world.step, actor.id, CUT_IN) < world.cut_ins
    )


@kernel
def consider_lane_change(
    world_map: MapArrays, world: Records, actors: Records, index: int, wanted: float, scratch: Scratch
) -> None:
    """Put a vehicle on a lane beside its own where it has a reason to and room; its steering then takes it there."""
    actor = actors[index]
    lane = world_map.lanes[actor.lane]
    if (
        (world.step + actor.id) % CONSIDER_STEPS != 0
        or lane.junction >= 0
        or abs(actor.offset) > 0.5
        or lane.length - actor.arc < ROOM_TO_JUNCTION
        or (lane.left < 0 and lane.right < 0)
    ):
        return
    held_up = is_held_up(actors, actor, index, wanted, scratch)
    for side in range(2):
        target = lane.left if side == 0 else lane.right
        if target < 0:
            continue
        arc, offset, near = project(world_map, target, actor.arc, actor.x, actor.y)
        point = world_map.points[near]
        if (point.right_mark if side == 0 else point.left_mark) == SOLID_MARK:
            continue
        cutting = cuts_in(world, actors, actor, target)
        behind = CUT_IN_GAP if cutting else 4.0 + actor.speed
        if (held_up or cutting) and lane_is_free(
            scratch, target, index, arc, actor.half_length, actor.speed, 6.0 + actor.speed, behind
        ):
            actor.lane, actor.previous, actor.arc, actor.offset = target, -1, arc, offset
            actor.leg += 1
            actor.granted, actor.served_stop = -1, -1
            return
