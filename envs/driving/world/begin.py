"""The start of a world: the ego on its route, traffic and pedestrians around it, everything drawn from the seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.world.counter_random import choice
from envs.driving.world.hazards import enter_obstacle, enter_occluded
from envs.driving.world.occupancy import Scratch
from envs.driving.world.records import Controller, Status
from envs.driving.world.route_points import random_lanes, sample_route
from envs.driving.world.spawning import (
    CAR,
    SPAWN_TRIES,
    clear_actor,
    enter_traffic,
    enter_walker,
    lane_level,
    make_traffic,
    set_looks,
)

EXTERNAL, RUNNING = int(Controller.EXTERNAL), int(Status.RUNNING)
START_PLACE = 91
"""Purpose of the random number of where a random route starts."""
START_TRIES = 16
MOST_LANES = 1024
"""A random route has at most so many lanes."""
EGO_FREE = 14.0
"""Traffic starts at least this far from the ego, metres."""


@kernel
def clear_world(world: Records, seed: np.uint64) -> None:
    """Set every number of a world to its start."""
    world.seed, world.status, world.step, world.time = seed, RUNNING, 0, 0.0
    world.route_count, world.route_index, world.route_length, world.route_arc = 0, 0, 0.0, 0.0
    world.route_offset, world.route_angle, world.outside_arc, world.distance = 0.0, 0.0, 0.0, 0.0
    world.blocked_time, world.off_road_fraction, world.speed_limit = 0.0, 0.0, 0.0
    world.lane_half_width = 0.0
    world.outside_lanes, world.imminent_collision, world.events, world.conditions = 0, 0, 0, 0
    world.contact, world.lane, world.cut_ins = -1, -1, 0.0
    for number in range(len(world.counts)):
        world.counts[number] = 0


@kernel
def random_route(world_map: MapArrays, seed: np.uint64, metres: float, route: Records, lanes: NDArray[np.int32]) -> int:
    """A route from a random place on; the first of ``START_TRIES`` that is long enough, else the last one."""
    count = 0
    for attempt in range(START_TRIES):
        place = choice(seed, attempt, 0, START_PLACE, len(world_map.points))
        point = world_map.points[place]
        lane = world_map.lanes[point.lane]
        if (lane.junction >= 0 or point.arc < 3.0 or point.arc > lane.length - 8.0) and attempt + 1 < START_TRIES:
            continue
        filled = random_lanes(world_map, seed + np.uint64(attempt), point.lane, point.arc + metres, lanes)
        count = sample_route(world_map, lanes[:filled], point.arc, np.inf, route)
        while count > 2 and route[count - 2].arc >= metres:
            count -= 1
        if route[count - 1].arc >= metres:
            break
    return count


@kernel
def place_ego(world: Records, ego: Records, route: Records, count: int, speed: float) -> None:
    """Put the ego at the start of its route."""
    set_looks(ego, CAR)
    clear_actor(ego)
    ego.controller, ego.active, ego.obeys_lights, ego.speed_factor = EXTERNAL, 1, 1, 1.0
    ego.x, ego.y, ego.heading, ego.lane, ego.speed = route[0].x, route[0].y, route[0].heading, route[0].lane, speed
    ego.velocity_x, ego.velocity_y = speed * math.cos(ego.heading), speed * math.sin(ego.heading)
    world.route_count, world.route_length = count, route[count - 1].arc


@kernel
def begin_ego(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    count: int,
    seed: np.uint64,
    metres: float,
    speed: float,
) -> int:
    """Empty a world and put the ego into it, on the route given by ``count`` points or, for 0, on a random one.

    Returns:
        The number of points of the route.
    """
    clear_world(world, seed)
    for index in range(len(actors)):
        actors[index].id = index + 1
        actors[index].kind, actors[index].controller = 0, 0
        clear_actor(actors[index])
    if count == 0:
        count = random_route(world_map, seed, metres, route, np.zeros(MOST_LANES, np.int32))
    place_ego(world, actors[0], route, count, speed)
    actors[0].z = lane_level(world_map, route[0].lane, route[0].x, route[0].y)
    return count


@kernel
def populate(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    first: int,
    traffic: int,
    pedestrians: int,
    obstacles: int,
    occluded: int,
    red_runners: float,
    jaywalkers: float,
    route: Records,
    scratch: Scratch,
) -> int:
    """Fill the slots from ``first`` on: obstacles, occluded crossings, traffic, pedestrians.

    Vehicles without a place enter later, obstacles without one do not. Returns how many vehicles found one.
    """
    placed = 0
    for index in range(first, first + obstacles):
        enter_obstacle(world_map, world, actors, index, route, scratch)
    first += obstacles
    for pair in range(occluded):
        enter_occluded(world_map, world, actors, first + 2 * pair, route, scratch)
    first += 2 * occluded
    for index in range(first, first + traffic):
        make_traffic(world, actors[index], red_runners)
        if enter_traffic(world_map, world, actors, index, EGO_FREE, SPAWN_TRIES):
            placed += 1
    for index in range(first + traffic, first + traffic + pedestrians):
        enter_walker(world_map, world, actors, index, jaywalkers, scratch)
    return placed
