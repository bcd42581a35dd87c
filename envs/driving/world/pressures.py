"""How strongly others on the way ahead hold a vehicle back: its queue, a fork, a lane that it leaves, a merge.

All are the intelligent driver model's interaction term: see :mod:`envs.driving.world.car_following`.
"""

from __future__ import annotations

import math

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, project
from envs.driving.world.car_following import pressure
from envs.driving.world.occupancy import Scratch
from envs.driving.world.records import Kind

OBSTACLE = int(Kind.OBSTACLE)
SIDE_GAP = 0.3
"""Free metres wanted to either side."""
OBSTACLE_ROOM = 4.0
"""Metres kept free before an obstacle beside the usual gap: room to drive around it."""
CLOSEST_PASS = 0.5
"""Metres within which a vehicle that changes lanes comes to the one that it leaves behind."""


@kernel
def queue_pressure(
    actor: Records, index: int, lane_number: int, travelled: float, scratch: Scratch, parameters: Records
) -> float:
    """The strongest pressure of those on a lane ahead."""
    strongest = 0.0
    number = scratch.head[lane_number]
    while number >= 0:
        entry = scratch.entries[number]
        number = entry.following
        distance = travelled + entry.arc
        if entry.actor == index or distance <= 0.0:
            continue
        gap = distance - actor.half_length - entry.half
        actor.gap = min(actor.gap, gap)
        if entry.kind == OBSTACLE:
            gap -= OBSTACLE_ROOM
        strongest = max(strongest, pressure(actor.speed, gap, entry.speed, parameters))
    return strongest


@kernel
def beside_pressure(world_map: MapArrays, actors: Records, index: int, scratch: Scratch, parameters: Records) -> float:
    """The strongest pressure of those on the lane that a vehicle is leaving, as long as they are in its way."""
    actor, strongest = actors[index], 0.0
    lane = world_map.lanes[actor.lane]
    beside = lane.left if actor.offset > 0.0 else lane.right
    _, _, near = project(world_map, actor.lane, actor.arc, actor.x, actor.y)
    turned = math.sin(actor.heading - world_map.points[near].heading)
    forward = actor.offset + 0.5 * actor.half_length * turned
    number = scratch.head[beside] if beside >= 0 else -1
    while number >= 0:
        entry = scratch.entries[number]
        number = entry.following
        other = actors[entry.actor]
        arc, offset, _ = project(world_map, actor.lane, actor.arc, other.x, other.y)
        if entry.actor == index or arc <= actor.arc:
            continue
        if abs(offset - forward) < actor.half_width + other.half_width + SIDE_GAP:
            gap = arc - actor.arc - actor.half_length - entry.half
            wide = gap + parameters.standstill_gap - CLOSEST_PASS
            strongest = max(strongest, pressure(actor.speed, wide, entry.speed, parameters))
            actor.gap = min(actor.gap, gap)
    return strongest


@kernel
def zip_pressure(
    world_map: MapArrays,
    actor: Records,
    index: int,
    lane_number: int,
    to_end: float,
    scratch: Scratch,
    parameters: Records,
) -> float:
    """The strongest pressure of those ahead in a zip: of two lanes that merge, whoever is nearer to the end goes first.

    Until the vehicle is on the merging lane itself it makes room no harder than by braking comfortably.

    Args:
        world_map: the map.
        actor: the vehicle.
        index: its number.
        lane_number: the lane on its way that merges with others.
        to_end: metres from the vehicle's centre to that lane's end.
        scratch: holds who is where.
        parameters: of the driver model.
    """
    lane, strongest = world_map.lanes[lane_number], 0.0
    for place in range(lane.merger_start, lane.merger_stop):
        merger = world_map.mergers[place]
        number = scratch.head[merger.lane]
        while number >= 0:
            entry = scratch.entries[number]
            number = entry.following
            left = merger.to_end - entry.arc
            if entry.actor == index or left > to_end or (left == to_end and entry.actor > index):
                continue
            gap = to_end - left - actor.half_length - entry.half
            strongest = max(strongest, pressure(actor.speed, gap, entry.speed, parameters))
    if to_end > lane.length:
        strongest = min(strongest, 1.0 + parameters.deceleration / parameters.acceleration)
    return strongest


@kernel
def fork_pressure(
    world_map: MapArrays,
    actors: Records,
    index: int,
    fork: int,
    way: int,
    travelled: float,
    scratch: Scratch,
    parameters: Records,
) -> float:
    """The strongest pressure of those who took another lane at a fork, as long as they are still in the way.

    Args:
        world_map: the map.
        actors: of the world.
        index: of the vehicle.
        fork: the lane that ends in the fork.
        way: the lane that the vehicle takes there.
        travelled: metres from the vehicle's centre to the start of ``way``.
        scratch: holds who is where.
        parameters: of the driver model.
    """
    actor, strongest = actors[index], 0.0
    lane = world_map.lanes[fork]
    for place in range(lane.successor_start, lane.successor_stop):
        number = scratch.head[world_map.successors[place]] if world_map.successors[place] != way else -1
        while number >= 0:
            entry = scratch.entries[number]
            number = entry.following
            if entry.actor == index:
                continue
            other = actors[entry.actor]
            arc, offset, _ = project(world_map, way, max(entry.arc, 0.0), other.x, other.y)
            distance = travelled + arc
            if distance > 0.0 and abs(offset) < actor.half_width + other.half_width + SIDE_GAP:
                gap = distance - actor.half_length - entry.half
                strongest = max(strongest, pressure(actor.speed, gap, entry.speed, parameters))
                actor.gap = min(actor.gap, gap)
    return strongest
