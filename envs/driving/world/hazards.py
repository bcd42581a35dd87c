"""What stands on or beside the ego's route: obstacles, and parked vans behind which somebody steps out."""

from __future__ import annotations

import math

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, project
from envs.driving.world.counter_random import choice, uniform
from envs.driving.world.lane_changes import ROOM_TO_JUNCTION, SOLID_MARK
from envs.driving.world.occupancy import CORRIDOR, Scratch
from envs.driving.world.records import Controller, Kind
from envs.driving.world.spawning import (
    OBSTACLE,
    PEDESTRIAN,
    PLACE,
    SPAWN_TRIES,
    WALK_LIMIT,
    WALK_LOOKS,
    WALKER,
    clear_actor,
    far_from_all,
    kerb,
    lane_level,
    occupant,
    on_road,
    set_looks,
)

TRUCK, STILL = int(Kind.TRUCK), int(Controller.STILL)
KEEP_FROM_ENDS = 30.0
"""Nothing stands so near to the ends of the route, metres."""
CLEARANCE = 0.15
"""Between what stands at the edge of a lane and what traffic needs of it, metres."""
HIDE = 0.9
"""A pedestrian stands this far beyond the van that hides it, metres."""


@kernel
def passable(world_map: MapArrays, lane_number: int, near: int, arc: float) -> bool:
    """Whether one can drive around something on the lane: over a lane beside, far enough from where it ends."""
    lane, point = world_map.lanes[lane_number], world_map.points[near]
    beside = (lane.left >= 0 and point.left_mark != SOLID_MARK) or (lane.right >= 0 and point.right_mark != SOLID_MARK)
    return beside and ROOM_TO_JUNCTION < arc < lane.length - ROOM_TO_JUNCTION


@kernel
def put_beside(actor: Records, x: float, y: float, heading: float, offset: float) -> None:
    """Place an actor ``offset`` metres to the left of a place."""
    actor.x, actor.y = x - offset * math.sin(heading), y + offset * math.cos(heading)
    actor.heading = heading


@kernel
def free_side(world_map: MapArrays, point: Records, offset: float, level: float, scratch: Scratch) -> float:
    """The side (1 left, -1 right) on which no lane is ``offset`` metres from a place; 0 if there is none."""
    for side in (-1.0, 1.0):
        x = point.x - side * offset * math.sin(point.heading)
        y = point.y + side * offset * math.cos(point.heading)
        if not on_road(world_map, x, y, level, scratch):
            return side
    return 0.0


@kernel
def enter_obstacle(
    world_map: MapArrays, world: Records, actors: Records, index: int, route: Records, scratch: Scratch
) -> None:
    """Leave something the size of a car on the ego's route.

    It stands on the lane where a lane beside leads past, else half beside the road: traffic just passes.
    """
    obstacle = actors[index]
    set_looks(obstacle, OBSTACLE)
    clear_actor(obstacle)
    for attempt in range(SPAWN_TRIES):
        point = route[choice(world.seed, attempt, obstacle.id, PLACE, world.route_count)]
        lane = world_map.lanes[point.lane]
        if lane.junction >= 0 or not KEEP_FROM_ENDS < point.arc < world.route_length - KEEP_FROM_ENDS:
            continue
        arc, _, near = project(world_map, point.lane, 0.5 * lane.length, point.x, point.y)
        obstacle.z = lane_level(world_map, point.lane, point.x, point.y)
        draw = uniform(world.seed, attempt, obstacle.id, PLACE + 2)
        if passable(world_map, point.lane, near, arc):
            offset = draw - 0.5
        else:
            edge = CORRIDOR + CLEARANCE + obstacle.half_width
            far = world_map.points[near].half_width + obstacle.half_width
            side = free_side(world_map, point, far + 0.5, obstacle.z, scratch)
            offset = side * (edge + draw * max(far - edge, 0.0))
            if side == 0.0:
                continue
        put_beside(obstacle, point.x, point.y, point.heading, offset)
        if far_from_all(actors, index, KEEP_FROM_ENDS):
            obstacle.active = 1
            return


@kernel
def enter_occluded(
    world_map: MapArrays, world: Records, actors: Records, index: int, route: Records, scratch: Scratch
) -> None:
    """Park a van beside the ego's lane, and put a pedestrian behind it who crosses as the ego comes.

    They take the slots ``index`` and ``index + 1``. Where the map has no such place neither appears.
    """
    van, walker = actors[index], actors[index + 1]
    set_looks(van, TRUCK)
    set_looks(walker, PEDESTRIAN)
    clear_actor(van)
    clear_actor(walker)
    van.controller, walker.controller = STILL, WALKER
    walker.obeys_lights, walker.ambush = 0, 1
    walker.speed_factor = 1.3 + 0.7 * uniform(world.seed, 0, walker.id, WALK_LOOKS + 1)
    for attempt in range(SPAWN_TRIES):
        point = route[choice(world.seed, attempt, van.id, PLACE + 3, world.route_count)]
        lane = world_map.lanes[point.lane]
        if lane.junction >= 0 or lane.speed_limit > WALK_LIMIT:
            continue
        if not KEEP_FROM_ENDS < point.arc < world.route_length - KEEP_FROM_ENDS:
            continue
        arc, _, near = project(world_map, point.lane, 0.5 * lane.length, point.x, point.y)
        far = world_map.points[near].half_width + van.half_width + CLEARANCE
        van.z = walker.z = lane_level(world_map, point.lane, point.x, point.y)
        side = free_side(world_map, point, far, van.z, scratch)
        ahead = van.half_length + HIDE
        if side == 0.0 or arc + ahead > lane.length - 1.0:
            continue
        put_beside(van, point.x, point.y, point.heading, side * far)
        cos, sin = math.cos(point.heading), math.sin(point.heading)
        x, y = point.x + ahead * cos, point.y + ahead * sin
        put_beside(walker, x, y, point.heading, side * far)
        width = kerb(world_map, x, y, van.z, side * sin, -side * cos, scratch)
        if not far_from_all(actors, index, KEEP_FROM_ENDS) or occupant(actors, index + 1) >= 0:
            continue
        walker.home_x, walker.home_y = walker.x, walker.y
        walker.goal_x, walker.goal_y = x + side * width * sin, y - side * width * cos
        walker.heading = point.heading - side * 0.5 * math.pi
        van.active = walker.active = 1
        return
