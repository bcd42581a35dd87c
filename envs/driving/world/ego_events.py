"""What happens to the ego in a control step: contacts, stop lines, lanes, progress along its route."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import CELL, MapArrays, Records, project
from envs.driving.world.collisions import actors_overlap
from envs.driving.world.halting import STOP_SIGN
from envs.driving.world.lights import RED
from envs.driving.world.occupancy import Scratch, lanes_near
from envs.driving.world.records import EVENTS, Kind

PEDESTRIAN, OBSTACLE = int(Kind.PEDESTRIAN), int(Kind.OBSTACLE)
HIT_VEHICLE, HIT_PEDESTRIAN, HIT_STATIC, RAN_RED, RAN_STOP, OFF_ROAD, WRONG_WAY, INVASION, DEVIATION, BLOCKED, DONE = (
    1 << number for number in range(len(EVENTS))
)
SEARCH = 12
"""Points of the route ahead among which the nearest is looked for at a step."""
ALONG, ACROSS = 5, 3
"""The ego's box is tested for the road at so many points."""
FORECASTS = 5


@kernel
def follow_route(world: Records, ego: Records, route: Records) -> float:
    """Advance along the route, monotone, by arc length; returns how far the ego is from it, metres."""
    index = world.route_index
    best = (route[index].x - ego.x) ** 2 + (route[index].y - ego.y) ** 2
    for place in range(index + 1, min(index + SEARCH, world.route_count)):
        distance = (route[place].x - ego.x) ** 2 + (route[place].y - ego.y) ** 2
        if distance < best:
            best, index = distance, place
    here = route[index]
    cos, sin = math.cos(here.heading), math.sin(here.heading)
    along = (ego.x - here.x) * cos + (ego.y - here.y) * sin
    arc = min(max(here.arc + min(max(along, -1.0), 1.0), world.route_arc), world.route_length)
    if world.outside_lanes != 0:
        world.outside_arc += arc - world.route_arc
    world.route_index, world.route_arc = index, arc
    world.route_offset = (ego.y - here.y) * cos - (ego.x - here.x) * sin
    turned = ego.heading - here.heading
    world.route_angle = math.atan2(math.sin(turned), math.cos(turned))
    return math.sqrt(best)


@kernel
def off_road_fraction(world_map: MapArrays, ego: Records, found: int, scratch: Scratch) -> float:
    """Part of the ego's box that lies on none of the ``found`` lanes in the scratch."""
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    outside = 0
    for i in range(ALONG):
        for j in range(ACROSS):
            along = ego.half_length * (2.0 * i / (ALONG - 1) - 1.0)
            across = ego.half_width * (2.0 * j / (ACROSS - 1) - 1.0)
            x, y = ego.x + along * cos - across * sin, ego.y + along * sin + across * cos
            on_road = False
            for k in range(found):
                lane, point = scratch.near_lane[k], world_map.points[scratch.near_point[k]]
                arc, offset, near = project(world_map, lane, point.arc, x, y)
                if -0.5 < arc < world_map.lanes[lane].length + 0.5 and (
                    abs(offset) <= world_map.points[near].half_width
                ):
                    on_road = True
                    break
            if not on_road:
                outside += 1
    return outside / (ALONG * ACROSS)


@kernel
def crosses_marking(world_map: MapArrays, ego: Records, lane: int, arc: float) -> bool:
    """Whether a corner of the ego is beyond a marked edge of its lane."""
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    for i in (-1.0, 1.0):
        for j in (-1.0, 1.0):
            x = ego.x + i * ego.half_length * cos - j * ego.half_width * sin
            y = ego.y + i * ego.half_length * sin + j * ego.half_width * cos
            _, offset, near = project(world_map, lane, arc, x, y)
            point = world_map.points[near]
            if (offset > point.half_width and point.left_mark != 0) or (
                offset < -point.half_width and point.right_mark != 0
            ):
                return True
    return False


@kernel
def find_lane(world_map: MapArrays, world: Records, ego: Records, route_lane: int, scratch: Scratch) -> int:
    """Find the ego's lane and where it is relative to lanes; returns the bits of the conditions that hold.

    Of several lanes along its direction that cover its centre, that of its route counts, else the one whose centre is
    nearest.
    """
    found = lanes_near(world_map, ego.x, ego.y, ego.z, CELL, scratch)
    world.off_road_fraction = off_road_fraction(world_map, ego, found, scratch)
    world.lane, lane_arc, nearest, covered, allowed = -1, 0.0, np.inf, False, False
    for k in range(found):
        lane = scratch.near_lane[k]
        arc, offset, near = project(world_map, lane, world_map.points[scratch.near_point[k]].arc, ego.x, ego.y)
        point = world_map.points[near]
        if abs(offset) > point.half_width or arc < -0.5 or arc > world_map.lanes[lane].length + 0.5:
            continue
        covered = True
        along = math.cos(ego.heading - point.heading) > 0.0
        allowed |= along or world_map.lanes[lane].junction >= 0
        rank = -1.0 if lane == route_lane else abs(offset)
        if along and rank < nearest:
            nearest, world.lane, lane_arc, ego.offset = rank, lane, arc, offset
            world.lane_half_width = point.half_width
    world.outside_lanes = 0 if allowed else 1
    ego.lane, ego.arc = world.lane, lane_arc
    conditions = WRONG_WAY if covered and not allowed else 0
    if world.lane >= 0:
        world.speed_limit = world_map.lanes[world.lane].speed_limit
        if world_map.lanes[world.lane].junction < 0 and crosses_marking(world_map, ego, world.lane, lane_arc):
            conditions |= INVASION
    return conditions


@kernel
def cross_lines(
    world_map: MapArrays,
    world: Records,
    ego: Records,
    before: tuple[float, float, float],
    lights: NDArray[np.int8],
    parameters: Records,
) -> int:
    """The bits of stop lines that the front of the ego has run over; notes the stop sign at which it has halted.

    ``before`` is x, y and heading of the ego at the start of the step.
    """
    events = 0
    old_x = before[0] + ego.half_length * math.cos(before[2])
    old_y = before[1] + ego.half_length * math.sin(before[2])
    new_x, new_y = ego.x + ego.half_length * math.cos(ego.heading), ego.y + ego.half_length * math.sin(ego.heading)
    for place in range(len(world_map.stops)):
        stop = world_map.stops[place]
        dx, dy = new_x - stop.x, new_y - stop.y
        if dx * dx + dy * dy > 400.0:
            if ego.served_stop == place:
                ego.served_stop = -1
            continue
        now = dx * stop.cos + dy * stop.sin
        side = dy * stop.cos - dx * stop.sin
        if abs(side) > stop.half_width or math.cos(ego.heading) * stop.cos + math.sin(ego.heading) * stop.sin < 0.0:
            continue
        if stop.kind == STOP_SIGN and -parameters.stop_zone < now < 0.0 and ego.speed < parameters.stop_speed:
            ego.served_stop = place
        if now >= 0.0 and (old_x - stop.x) * stop.cos + (old_y - stop.y) * stop.sin < 0.0:
            if stop.kind == STOP_SIGN:
                if ego.served_stop != place:
                    events |= RAN_STOP
            elif lights[place] == RED:
                events |= RAN_RED
    return events


@kernel
def collides_soon(actors: Records, seconds: float) -> bool:
    """Whether the ego's box overlaps another's at one of the forecast times, at constant velocity and heading.

    The times are 1, 3, 5, 7 and 9 ninths of ``seconds`` (CaRL: every other tenth of a second up to 0.9 s).
    """
    ego = actors[0]
    if ego.speed <= 0.1:
        return False
    for index in range(1, len(actors)):
        if actors[index].active != 0:
            for tick in range(FORECASTS):
                if actors_overlap(ego, actors[index], seconds * (2 * tick + 1) / (2 * FORECASTS - 1)):
                    return True
    return False


@kernel
def new_contact(world: Records, actors: Records) -> int:
    """The bit of a contact that has just begun."""
    touching = actors[0].touching
    begins = touching >= 0 and touching != world.contact
    world.contact = touching
    if not begins:
        return 0
    kind = actors[touching].kind
    return HIT_PEDESTRIAN if kind == PEDESTRIAN else HIT_STATIC if kind == OBSTACLE else HIT_VEHICLE


@kernel
def update_ego(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    before: tuple[float, float, float],
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
) -> None:
    """Set everything in the world's record that concerns the ego, after the actors have moved."""
    ego = actors[0]
    world.distance += math.hypot(ego.x - before[0], ego.y - before[1])
    route_lane = route[world.route_index].lane if world.route_count > 0 else -1
    conditions = find_lane(world_map, world, ego, route_lane, scratch)
    events = cross_lines(world_map, world, ego, before, lights, parameters) | new_contact(world, actors)
    if world.route_count > 0:
        if follow_route(world, ego, route) > parameters.deviation:
            conditions |= DEVIATION
        if world.route_arc >= world.route_length - 1.0:
            conditions |= DONE
    if world.off_road_fraction >= parameters.off_road_fraction:
        conditions |= OFF_ROAD
    if ego.speed < parameters.blocked_speed:
        world.blocked_time += parameters.control_seconds
    else:
        world.blocked_time = 0.0
    if world.blocked_time > parameters.blocked_seconds + 1e-6:
        conditions |= BLOCKED
    world.imminent_collision = 1 if collides_soon(actors, parameters.forecast_seconds) else 0
    events |= conditions & ~world.conditions
    world.conditions = conditions
    world.events = events
    for number in range(len(EVENTS)):
        world.counts[number] += (events >> number) & 1
