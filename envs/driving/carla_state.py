"""The bodies of a world as CARLA's client reads them: left-handed, in degrees, and the light that each vehicle is at.

Here and not beside the server that uses it, since kernels are cached with the rest of this package.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import CELL, MapArrays, Records, project
from envs.driving.world.halting import STOP_SIGN
from envs.driving.world.occupancy import Scratch, lanes_near
from envs.driving.world.records import Kind, Light

PEDESTRIAN = int(Kind.PEDESTRIAN)
RED, YELLOW, GREEN = int(Light.RED), int(Light.YELLOW), int(Light.GREEN)
ZONE = 6.0
"""A vehicle is at a light or stop sign within this distance before its line, metres."""
MARGIN, REACTION = 2.0, 0.4
"""A fast one is from where it could just stop so many metres before the line, had it so many seconds to react."""
STICKY = 40.0
"""And it stays at a light within this distance, metres: one that brakes does not leave it again."""
BEHIND = 0.5
"""A light does not concern a vehicle whose front is this far behind its line, metres."""


@kernel
def own_lane(world_map: MapArrays, actor: Records, scratch: Scratch) -> tuple[int, float]:
    """The lane along its heading on which an actor is, and the arc there; -1 and 0 on none."""
    best, lane, arc = np.inf, -1, 0.0
    for k in range(lanes_near(world_map, actor.x, actor.y, actor.z, CELL, scratch)):
        number = scratch.near_lane[k]
        along, offset, near = project(world_map, number, world_map.points[scratch.near_point[k]].arc, actor.x, actor.y)
        point = world_map.points[near]
        inside = -0.5 < along < world_map.lanes[number].length + 0.5 and abs(offset) <= point.half_width
        if inside and math.cos(actor.heading - point.heading) > 0.5 and abs(offset) < best:
            best, lane, arc = abs(offset), number, along
    return lane, arc


@kernel
def consider_lines(
    world_map: MapArrays,
    lane_number: int,
    ahead: float,
    zone: float,
    stopping: float,
    lights: NDArray[np.uint8],
    light_actors: NDArray[np.int64],
    last: int,
    found: int,
    state: int,
) -> tuple[int, int]:
    """The strictest of ``found`` and the stop lines of one lane within the zone, and its state; a stop sign is red.

    ``last`` is the actor of the light that the vehicle has been at, 0 for none. A yellow light before which the vehicle
    cannot stop any more is not one it is at.
    """
    lane = world_map.lanes[lane_number]
    for place in range(lane.stop_start, lane.stop_stop):
        distance = ahead + world_map.stops[place].arc
        reach = STICKY if last != 0 and light_actors[place] == last else zone
        if not -BEHIND < distance < reach:
            continue
        shown = RED if world_map.stops[place].kind == STOP_SIGN else int(lights[place])
        if shown == YELLOW and distance < stopping:
            continue
        if found < 0 or shown < state:
            found, state = place, shown
    return found, state


@kernel
def line_ahead(
    world_map: MapArrays,
    actor: Records,
    lane_number: int,
    arc: float,
    lights: NDArray[np.uint8],
    light_actors: NDArray[np.int64],
    last: int,
    parameters: Records,
) -> tuple[int, int]:
    """The stop line that a vehicle is at, -1 for none, and the state of its light (CARLA's numbers; green for none)."""
    stopping = actor.speed * actor.speed / (2.0 * parameters.brake_deceleration)
    zone = max(ZONE, MARGIN + REACTION * abs(actor.speed) + stopping)
    ahead = -arc - actor.half_length
    found, state = consider_lines(world_map, lane_number, ahead, zone, stopping, lights, light_actors, last, -1, GREEN)
    lane = world_map.lanes[lane_number]
    if found < 0 and ahead + lane.length < STICKY:
        beyond = ahead + lane.length
        for number in range(lane.successor_start, lane.successor_stop):
            following = world_map.successors[number]
            found, state = consider_lines(
                world_map, following, beyond, zone, stopping, lights, light_actors, last, found, state
            )
    return found, state


@kernel
def show_bodies(
    world_map: MapArrays,
    actors: Records,
    slots: NDArray[np.int64],
    lights: NDArray[np.uint8],
    light_actors: NDArray[np.int64],
    bodies: Records,
    scratch: Scratch,
    parameters: Records,
) -> None:
    """Write places, motion, speed limits and lights of some actors of one world.

    Args:
        world_map: the map.
        actors: of the world.
        slots: which of them.
        lights: ``[K]`` what each stop line's light shows, in CARLA's numbers.
        light_actors: ``[K]`` id of the CARLA actor of that light, 0 for stop signs.
        bodies: ``[A]`` records of :data:`envs.carla_server.wire.VEHICLE`, by slot.
        scratch: working memory.
        parameters: of the world.
    """
    degrees = 180.0 / math.pi
    for k in range(len(slots)):
        actor, body = actors[slots[k]], bodies[slots[k]]
        cos, sin = math.cos(actor.heading), math.sin(actor.heading)
        body.location[0], body.location[1], body.location[2] = actor.x, -actor.y, actor.z
        body.rotation[1] = -actor.heading * degrees
        body.velocity[0], body.velocity[1] = actor.velocity_x, -actor.velocity_y
        body.angular_velocity[2] = -actor.yaw_rate * degrees
        along, left = actor.acceleration, actor.lateral_acceleration
        body.acceleration[0], body.acceleration[1] = along * cos - left * sin, -(along * sin + left * cos)
        if actor.kind == PEDESTRIAN:
            continue
        place, state = -1, GREEN
        lane, arc = own_lane(world_map, actor, scratch)
        if lane >= 0:
            body.speed_limit = 3.6 * world_map.lanes[lane].speed_limit
            last = int(body.light)
            place, state = line_ahead(world_map, actor, lane, arc, lights, light_actors, last, parameters)
        body.light_state = state
        body.light = 0 if place < 0 else light_actors[place]
        body.at_light = 1 if body.light != 0 else 0
