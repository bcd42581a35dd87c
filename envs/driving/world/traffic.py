"""What traffic does: keep to the lane by pure pursuit (Coulter 1992), mind what is ahead on its way."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, locate, place_at
from envs.driving.world.car_following import idm_acceleration, pressure
from envs.driving.world.counter_random import choice
from envs.driving.world.halting import LINE_MARGIN, line_pressure, serve_stop_signs
from envs.driving.world.lane_changes import consider_lane_change
from envs.driving.world.occupancy import STILL_BESIDE, Scratch
from envs.driving.world.pressures import beside_pressure, fork_pressure, queue_pressure, zip_pressure
from envs.driving.world.records import Lamp

TURN = 21
"""Purpose of the random number that chooses a successor lane."""
CHANGE_REACH = 3.0
"""Steering looks this much further ahead in a lane change, metres, and one second."""
BLINK_DISTANCE = 30.0
"""Blinkers go on this far before a turn, metres."""
TURN_ANGLE = 0.5
"""A lane that bends by more than this is a turn, radians."""
BRAKE_LAMP, RIGHT_LAMP, LEFT_LAMP = int(Lamp.BRAKE), int(Lamp.RIGHT_BLINKER), int(Lamp.LEFT_BLINKER)


@kernel
def next_lane(world_map: MapArrays, seed: np.uint64, actor_id: int, leg: int, lane_number: int) -> int:
    """The successor that a vehicle takes after its ``leg``-th lane, -1 at a dead end."""
    lane = world_map.lanes[lane_number]
    count = lane.successor_stop - lane.successor_start
    if count == 0:
        return -1
    if count == 1:
        return world_map.successors[lane.successor_start]
    return world_map.successors[lane.successor_start + choice(seed, leg, actor_id, TURN, count)]


@kernel
def look_ahead(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    index: int,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
) -> float:
    """The strongest pressure along the way ahead: vehicles, people, stop lines, junctions not yet granted."""
    actor = actors[index]
    horizon = 12.0 + 2.0 * actor.speed + actor.speed * actor.speed / (2.0 * parameters.deceleration)
    lane_number, leg, travelled, strongest = actor.lane, actor.leg, -actor.arc, 0.0
    if actor.previous >= 0:
        strongest = fork_pressure(world_map, actors, index, actor.previous, lane_number, travelled, scratch, parameters)
    if abs(actor.offset) > STILL_BESIDE:
        strongest = max(strongest, beside_pressure(world_map, actors, index, scratch, parameters))
    while travelled < horizon:
        lane = world_map.lanes[lane_number]
        if lane.merger_stop > lane.merger_start:
            to_end = travelled + lane.length
            zipped = zip_pressure(world_map, actor, index, lane_number, to_end, scratch, parameters)
            strongest = max(strongest, zipped)
        strongest = max(strongest, queue_pressure(actor, index, lane_number, travelled, scratch, parameters))
        strongest = max(strongest, line_pressure(world_map, actor, lane_number, travelled, lights, parameters))
        following = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        if following < 0:
            break
        end = travelled + lane.length
        if end > horizon:
            break
        fork = fork_pressure(world_map, actors, index, lane_number, following, end, scratch, parameters)
        strongest = max(strongest, fork)
        ahead = world_map.lanes[following]
        if ahead.needs_grant != 0 and ahead.junction != lane.junction and actor.granted != following:
            distance = end - actor.half_length
            if distance > -1.0:
                gap = distance - LINE_MARGIN + parameters.standstill_gap
                strongest = max(strongest, pressure(actor.speed, gap, 0.0, parameters))
                actor.gap = min(actor.gap, max(distance, 0.0))
                break
        travelled, lane_number, leg = end, following, leg + 1
    return strongest


@kernel
def wheel_towards(ahead: float, left: float, front: float, rear: float) -> float:
    """Wheel angle for which the centre of a bicycle moves on a circle through a point of its own frame.

    The circle leaves along the course, which is the heading plus the slip s that the wheel angle itself causes:
    sin(s) / rear = 2 sin(a - s) / d for a point at distance d and angle a. That gives
    tan(s) = g left / (d + g ahead) with g = 2 rear / d.

    Args:
        ahead: metres.
        left: metres.
        front: front axle ahead of the centre, metres.
        rear: rear axle behind the centre, metres.
    """
    distance = max(math.sqrt(ahead * ahead + left * left), 1e-3)
    gain = 2.0 * rear / distance
    slip = gain * left / max(distance + gain * ahead, 0.1 * distance)
    return min(max(math.atan((front + rear) / rear * slip), -1.0), 1.0)


@kernel
def pursuit_angle(world_map: MapArrays, world: Records, actor: Records) -> float:
    """Wheel angle that leads the centre back to its way on an arc through a point ahead."""
    reach = max(3.0, 0.5 * actor.speed)
    if abs(actor.offset) > 0.5:
        reach += CHANGE_REACH + actor.speed  # back to the centre gently: it is changing lanes,
        reach = min(reach, max(actor.gap, 4.0))  # but before it is at what it drives around
    lane_number, leg, arc = actor.lane, actor.leg, actor.arc + reach
    while arc > world_map.lanes[lane_number].length:
        following = next_lane(world_map, world.seed, actor.id, leg, lane_number)
        if following < 0:
            break
        arc, lane_number, leg = arc - world_map.lanes[lane_number].length, following, leg + 1
    x, y = place_at(world_map, lane_number, arc)
    cos, sin = math.cos(actor.heading), math.sin(actor.heading)
    dx, dy = x - actor.x, y - actor.y
    axle = axle_distance(actor)
    return wheel_towards(dx * cos + dy * sin, dy * cos - dx * sin, axle, axle)


@kernel
def axle_distance(actor: Records) -> float:
    """From a traffic vehicle's centre to either axle, metres."""
    return 0.6 * actor.half_length


@kernel
def turn_lamp(world_map: MapArrays, world: Records, actor: Records) -> int:
    """The blinker for the turn that the vehicle is in or comes to, 0 for none."""
    lane = world_map.lanes[actor.lane]
    number = actor.lane
    if lane.junction < 0:
        if lane.length - actor.arc > BLINK_DISTANCE:
            return 0
        number = next_lane(world_map, world.seed, actor.id, actor.leg, actor.lane)
        if number < 0 or world_map.lanes[number].junction < 0:
            return 0
    angle = world_map.lanes[number].turn
    return LEFT_LAMP if angle > TURN_ANGLE else RIGHT_LAMP if angle < -TURN_ANGLE else 0


@kernel
def decide(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    index: int,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
) -> tuple[float, float]:
    """Acceleration [m/s^2] and wheel angle [rad] of a traffic vehicle for the coming control step."""
    actor = actors[index]
    serve_stop_signs(world_map, actor, parameters)
    actor.gap = np.inf
    strongest = look_ahead(world_map, world, actors, index, lights, scratch, parameters)
    lane = world_map.lanes[actor.lane]
    here = world_map.points[locate(world_map.points, lane.start, lane.stop, lane.length, actor.arc)]
    wanted = here.speed * actor.speed_factor
    acceleration = idm_acceleration(actor.speed, wanted, strongest, parameters)
    actor.lamps = turn_lamp(world_map, world, actor)
    if acceleration < -0.5 or actor.speed < 0.1:
        actor.lamps |= BRAKE_LAMP
    consider_lane_change(world_map, world, actors, index, wanted, scratch)
    return acceleration, pursuit_angle(world_map, world, actor)
