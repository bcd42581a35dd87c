"""Putting actors into a world: places that are free, random traffic, random pedestrians."""

from __future__ import annotations

import math

import numpy as np

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import CELL, MapArrays, Records, heading_at, locate, place_at, project
from envs.driving.world.collisions import actors_overlap
from envs.driving.world.counter_random import choice, uniform
from envs.driving.world.occupancy import Scratch, lanes_near, level_at
from envs.driving.world.records import Controller, Kind

CAR, TRUCK, BICYCLE, PEDESTRIAN = int(Kind.CAR), int(Kind.TRUCK), int(Kind.BICYCLE), int(Kind.PEDESTRIAN)
OBSTACLE = int(Kind.OBSTACLE)
TRAFFIC, WALKER = int(Controller.TRAFFIC), int(Controller.WALKER)
PLACE, LOOKS, WALK_PLACE, WALK_LOOKS = 51, 61, 71, 81
"""Purposes of random numbers; each has ten of its own."""
SPAWN_TRIES = 30
FREE_AHEAD = 8.0
"""Traffic is put so far from others that this many metres stay free, besides both half lengths."""
CALM_SPEED = 8.0
"""m/s at which that is enough to stop."""
WALK_LIMIT = 17.0
"""Nobody crosses where the speed limit is higher, m/s."""
KERB = 0.8
"""Pedestrians wait this far beside the road, metres."""
WIDEST_ROAD = 40
"""Metres that are looked through for the other side of a road."""


@kernel
def set_looks(actor: Records, kind: int) -> None:
    """Give an actor the size of its kind; a truck is a van of 6 m."""
    actor.kind = kind
    if kind == TRUCK:
        actor.half_length, actor.half_width, actor.height = 3.0, 1.15, 2.6
    elif kind == BICYCLE:
        actor.half_length, actor.half_width, actor.height = 0.85, 0.35, 1.7
    elif kind == PEDESTRIAN:
        actor.half_length, actor.half_width, actor.height = 0.3, 0.3, 1.8
    else:
        actor.half_length, actor.half_width, actor.height = 2.3, 0.95, 1.5


@kernel
def clear_actor(actor: Records) -> None:
    """Reset everything but identity, size and character of an actor."""
    actor.active, actor.lamps, actor.leg, actor.ambush = 0, 0, 0, 0
    actor.speed, actor.velocity_x, actor.velocity_y, actor.yaw_rate = 0.0, 0.0, 0.0, 0.0
    actor.acceleration, actor.lateral_acceleration, actor.drive, actor.wheel = 0.0, 0.0, 0.0, 0.0
    actor.steer_command, actor.throttle_command, actor.brake_command = 0.0, 0.0, 0.0
    actor.steer, actor.throttle, actor.brake = 0.0, 0.0, 0.0
    actor.lane, actor.previous, actor.granted, actor.served_stop, actor.touching = -1, -1, -1, -1, -1
    actor.arc, actor.offset, actor.gap, actor.wait = 0.0, 0.0, 0.0, 0.0


@kernel
def occupant(actors: Records, index: int) -> int:
    """The first active actor whose box overlaps that of ``index``, -1: none."""
    for other in range(len(actors)):
        if other != index and actors[other].active != 0 and actors_overlap(actors[index], actors[other], 0.0):
            return other
    return -1


@kernel
def far_from_all(actors: Records, index: int, ego_distance: float) -> bool:
    """Whether an actor keeps ``FREE_AHEAD`` from everybody and ``ego_distance`` from the ego."""
    me = actors[index]
    for other in range(len(actors)):
        actor = actors[other]
        if other == index or actor.active == 0:
            continue
        keep = me.half_length + actor.half_length + FREE_AHEAD
        if other == 0:
            keep = max(keep, ego_distance)
        if math.hypot(actor.x - me.x, actor.y - me.y) < keep:
            return False
    return True


@kernel
def put_on_lane(world_map: MapArrays, actor: Records, lane: int, arc: float) -> None:
    """Place an actor on a lane's centre."""
    actor.x, actor.y = place_at(world_map, lane, arc)
    actor.heading = heading_at(world_map, lane, arc)
    record = world_map.lanes[lane]
    actor.z = world_map.points[locate(world_map.points, record.start, record.stop, record.length, arc)].z
    actor.lane, actor.arc, actor.offset = lane, arc, 0.0


@kernel
def lane_level(world_map: MapArrays, lane_number: int, x: float, y: float) -> float:
    """Height of a lane where it is nearest to a place."""
    lane, best, level = world_map.lanes[lane_number], np.inf, 0.0
    for number in range(lane.start, lane.stop):
        point = world_map.points[number]
        distance = (point.x - x) ** 2 + (point.y - y) ** 2
        if distance < best:
            best, level = distance, point.z
    return level


@kernel
def enter_traffic(
    world_map: MapArrays, world: Records, actors: Records, index: int, ego_distance: float, tries: int
) -> bool:
    """Try to put a traffic vehicle on a random free place of a random lane outside junctions; whether it worked."""
    actor = actors[index]
    clear_actor(actor)
    for attempt in range(tries):
        key = world.step * 1000 + attempt
        number = choice(world.seed, key, actor.id, PLACE, len(world_map.points))
        point = world_map.points[number]
        lane = world_map.lanes[point.lane]
        if lane.junction >= 0 or not actor.half_length < point.arc < lane.length - actor.half_length - 1.0:
            continue
        put_on_lane(world_map, actor, point.lane, point.arc)
        if far_from_all(actors, index, ego_distance):
            actor.active = 1
            actor.leg = choice(world.seed, key, actor.id, PLACE + 1, 1_000_000)
            actor.speed = min(0.5 * point.speed * actor.speed_factor, CALM_SPEED)
            actor.velocity_x, actor.velocity_y = (
                actor.speed * math.cos(actor.heading),
                actor.speed * math.sin(actor.heading),
            )
            return True
    return False


@kernel
def make_traffic(world: Records, actor: Records, red_runners: float) -> None:
    """Draw kind and character of a traffic vehicle; a share of ``red_runners`` ignores traffic lights."""
    draw = uniform(world.seed, 0, actor.id, LOOKS)
    set_looks(actor, TRUCK if draw < 0.08 else BICYCLE if draw < 0.13 else CAR)
    actor.controller = TRAFFIC
    actor.obeys_lights = 0 if uniform(world.seed, 0, actor.id, LOOKS + 1) < red_runners else 1
    actor.speed_factor = 0.8 + 0.3 * uniform(world.seed, 0, actor.id, LOOKS + 2)
    if actor.kind == BICYCLE:
        actor.speed_factor *= 0.45


@kernel
def on_road(world_map: MapArrays, x: float, y: float, z: float, scratch: Scratch) -> bool:
    """Whether any lane of its level covers a place."""
    for k in range(lanes_near(world_map, x, y, z, CELL, scratch)):
        lane, number = scratch.near_lane[k], scratch.near_point[k]
        arc, offset, near = project(world_map, lane, world_map.points[number].arc, x, y)
        if -0.5 < arc < world_map.lanes[lane].length + 0.5 and abs(offset) <= world_map.points[near].half_width:
            return True
    return False


@kernel
def kerb(world_map: MapArrays, x: float, y: float, z: float, dx: float, dy: float, scratch: Scratch) -> float:
    """Metres from a place on the road to just beside it, in the direction of the unit vector (dx, dy)."""
    distance = 0.0
    while distance < WIDEST_ROAD and (
        on_road(world_map, x + distance * dx, y + distance * dy, z, scratch)
        or on_road(world_map, x + (distance + KERB) * dx, y + (distance + KERB) * dy, z, scratch)
    ):
        distance += 0.5
    return distance + KERB


@kernel
def enter_walker(
    world_map: MapArrays, world: Records, actors: Records, index: int, jaywalkers: float, scratch: Scratch
) -> None:
    """Put a pedestrian at a kerb: at a crosswalk where the map has some, else, and for jaywalkers, anywhere.

    Anywhere is where vehicles go no faster than ``WALK_LIMIT``; where there is no such place nobody walks.
    """
    walker = actors[index]
    set_looks(walker, PEDESTRIAN)
    clear_actor(walker)
    walker.controller = WALKER
    jaywalks = uniform(world.seed, 0, walker.id, WALK_LOOKS) < jaywalkers
    walker.obeys_lights = 0 if jaywalks else 1
    walker.speed_factor = 1.0 + 0.7 * uniform(world.seed, 0, walker.id, WALK_LOOKS + 1)
    if len(world_map.crosswalks) > 0 and not jaywalks:
        way = world_map.crosswalks[choice(world.seed, 0, walker.id, WALK_PLACE, len(world_map.crosswalks))]
        ax, ay, bx, by = way[0], way[1], way[2], way[3]
        walker.z = level_at(world_map, 0.5 * (ax + bx), 0.5 * (ay + by), np.nan, scratch)
        length = max(math.hypot(bx - ax, by - ay), 1e-6)
        dx, dy = (bx - ax) / length, (by - ay) / length
        if on_road(world_map, ax, ay, walker.z, scratch):  # outlines may end before the kerb
            out = kerb(world_map, ax, ay, walker.z, -dx, -dy, scratch)
            ax, ay = ax - out * dx, ay - out * dy
        if on_road(world_map, bx, by, walker.z, scratch):
            out = kerb(world_map, bx, by, walker.z, dx, dy, scratch)
            bx, by = bx + out * dx, by + out * dy
    else:
        point = world_map.points[0]
        for attempt in range(SPAWN_TRIES):
            point = world_map.points[choice(world.seed, attempt, walker.id, WALK_PLACE + 1, len(world_map.points))]
            if world_map.lanes[point.lane].speed_limit <= WALK_LIMIT and world_map.lanes[point.lane].junction < 0:
                break
        if world_map.lanes[point.lane].speed_limit > WALK_LIMIT:
            return
        dx, dy = -math.sin(point.heading), math.cos(point.heading)
        left = kerb(world_map, point.x, point.y, point.z, dx, dy, scratch)
        right = kerb(world_map, point.x, point.y, point.z, -dx, -dy, scratch)
        walker.z = point.z
        ax, ay, bx, by = point.x + left * dx, point.y + left * dy, point.x - right * dx, point.y - right * dy
    if uniform(world.seed, 0, walker.id, WALK_LOOKS + 2) < 0.5:
        ax, ay, bx, by = bx, by, ax, ay
    walker.x, walker.y, walker.home_x, walker.home_y, walker.goal_x, walker.goal_y = ax, ay, ax, ay, bx, by
    walker.heading = math.atan2(by - ay, bx - ax)
    walker.wait = 10.0 * uniform(world.seed, 0, walker.id, WALK_LOOKS + 3)
    walker.active = 1 if occupant(actors, index) < 0 else 0
