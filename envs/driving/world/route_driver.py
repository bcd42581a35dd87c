"""A rule-based driver of the ego: pure pursuit along its route, IDM behind whatever is on it, lights and junctions.

It is the yardstick that learned policies are compared with, and drives in measurements. It sees the world's own state.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, locate, project
from envs.driving.world.car_following import idm_acceleration, pressure
from envs.driving.world.halting import LINE_MARGIN, line_pressure
from envs.driving.world.junctions import conflict_free
from envs.driving.world.occupancy import TRAFFIC, Scratch, clear, fill, make_scratch
from envs.driving.world.passing import OUT, way_past
from envs.driving.world.pressures import fork_pressure, queue_pressure, zip_pressure
from envs.driving.world.records import Status
from envs.driving.world.traffic import wheel_towards
from envs.driving.world.world import DrivingWorlds

RUNNING = int(Status.RUNNING)
CHANGE_REACH = 3
"""Steering looks this much further ahead while the ego changes lanes, metres."""
LOST_SPEED = 4.0
"""m/s, where the ego is on no lane."""


@kernel
def others_have_grants(world_map: MapArrays, actors: Records, lane_number: int) -> bool:
    """Whether traffic may enter a lane that conflicts with this one."""
    lane = world_map.lanes[lane_number]
    for place in range(lane.conflict_start, lane.conflict_stop):
        for index in range(1, len(actors)):
            actor = actors[index]
            if actor.active != 0 and actor.controller == TRAFFIC and actor.granted == world_map.conflicts[place]:
                return True
    return False


@kernel
def way_is_free(
    world_map: MapArrays, world: Records, actors: Records, route: Records, place: int, scratch: Scratch
) -> bool:
    """Whether nobody is, or may go, on what conflicts with the route's way through the junction at a point."""
    lane, junction = -1, world_map.lanes[route[place].lane].junction
    for ahead in range(place, world.route_count):
        if route[ahead].lane == lane:
            continue
        lane = route[ahead].lane
        if world_map.lanes[lane].junction != junction:
            break
        if not conflict_free(world_map, lane, 0, scratch, False) or others_have_grants(world_map, actors, lane):
            return False
    return True


@kernel
def route_pressure(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
    passes: bool,
) -> float:
    """IDM's strongest pressure along the route ahead; stops before junctions whose way is taken.

    While the ego ``passes`` something on the lane beside, those on the route's lane next to it do not count.
    """
    ego = actors[0]
    horizon = 12.0 + 2.0 * ego.speed + ego.speed * ego.speed / (2.0 * parameters.deceleration)
    lane, strongest, arc = -1, 0.0, ego.arc
    here = route[world.route_index]
    past = (ego.x - here.x) * math.cos(here.heading) + (ego.y - here.y) * math.sin(here.heading)
    for place in range(world.route_index, world.route_count):
        point = route[place]
        ahead = point.arc - here.arc - past
        if ahead > horizon:
            break
        if point.lane == lane:
            continue
        entered = world_map.lanes[point.lane].junction >= 0 and (
            lane < 0 or world_map.lanes[point.lane].junction == world_map.lanes[lane].junction
        )
        before, lane = lane, point.lane
        arc, _, _ = project(world_map, lane, arc if world_map.lanes[lane].length > arc else 0.0, point.x, point.y)
        travelled = ahead - arc
        if world_map.lanes[lane].junction >= 0 and not entered:
            distance = travelled - ego.half_length
            if distance > -1.0 and not way_is_free(world_map, world, actors, route, place, scratch):
                gap = distance - LINE_MARGIN + parameters.standstill_gap
                strongest = max(strongest, pressure(ego.speed, gap, 0.0, parameters))
        if before >= 0:
            fork = fork_pressure(world_map, actors, 0, before, lane, travelled, scratch, parameters)
            strongest = max(strongest, fork)
        if before >= 0 or not passes:
            strongest = max(strongest, queue_pressure(ego, 0, lane, travelled, scratch, parameters))
        to_end = travelled + world_map.lanes[lane].length
        strongest = max(strongest, zip_pressure(world_map, ego, 0, lane, to_end, scratch, parameters))
        strongest = max(strongest, line_pressure(world_map, ego, lane, travelled, lights, parameters))
        arc = 0.0
    return strongest


@kernel
def steer_along(world: Records, ego: Records, route: Records, shift: float, parameters: Records) -> float:
    """Steering in [-1, 1] by pure pursuit of a line ``shift`` metres to the left of the route."""
    reach = int(max(4.0, 0.6 * ego.speed))
    if abs(shift - world.route_offset) > 0.5:
        reach += CHANGE_REACH
    target = route[min(world.route_index + reach, world.route_count - 1)]
    front, rear = parameters.front_axle, parameters.rear_axle
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    dx = target.x - shift * math.sin(target.heading) - ego.x
    dy = target.y + shift * math.cos(target.heading) - ego.y
    wheel = wheel_towards(dx * cos + dy * sin, dy * cos - dx * sin, front, rear)
    return min(max(wheel / parameters.steer_gain, -1.0), 1.0)


@kernel
def pedal_for(acceleration: float, speed: float, parameters: Records) -> float:
    """The pedal in [-1, 1] that gives an acceleration [m/s^2] at a speed."""
    drag = parameters.rolling_deceleration + parameters.air_drag * speed * speed
    wanted = acceleration + drag
    if wanted >= 0.0:
        strength = parameters.throttle_acceleration * max(1.0 - speed / parameters.top_speed, 0.05)
        return min(wanted / strength, 1.0)
    return max(wanted / parameters.brake_deceleration, -1.0)


@kernel
def act(
    world_map: MapArrays,
    worlds: Records,
    actors: Records,
    routes: Records,
    lights: NDArray[np.int8],
    scratch: Scratch,
    parameters: Records,
    out: NDArray[np.float64],
) -> None:
    """Fill ``out [N, 2]`` with steering and pedal of every running world."""
    for w in range(len(worlds)):
        world, ego = worlds[w], actors[w, 0]
        out[w] = 0.0
        if world.status != RUNNING:
            continue
        fill(world_map, actors[w], scratch)
        shift, beside, arc = way_past(world_map, world, actors[w], routes[w], scratch)
        passes = beside >= 0 and abs(world.route_offset) > OUT
        strongest = route_pressure(world_map, world, actors[w], routes[w], lights[w], scratch, parameters, passes)
        if beside >= 0:
            strongest = max(strongest, queue_pressure(ego, 0, beside, -arc, scratch, parameters))
        clear(scratch)
        wanted = LOST_SPEED
        if world.lane >= 0:
            lane = world_map.lanes[world.lane]
            wanted = world_map.points[locate(world_map.points, lane.start, lane.stop, lane.length, ego.arc)].speed
        acceleration = idm_acceleration(ego.speed, wanted, strongest, parameters)
        out[w, 0] = steer_along(world, ego, routes[w], shift, parameters)
        out[w, 1] = pedal_for(acceleration, ego.speed, parameters)


class RouteDriver:
    """Drives the egos of a batch.

    Example::

        driver = RouteDriver(worlds)
        worlds.step(driver.act())
    """

    def __init__(self, worlds: DrivingWorlds) -> None:
        self.worlds = worlds
        self.scratch = make_scratch(len(worlds.map.lanes), worlds.actors.shape[1])

    def act(self) -> NDArray[np.float64]:
        """Actions ``[N, 2]`` for :meth:`DrivingWorlds.step`."""
        worlds = self.worlds
        out = np.zeros((len(worlds.worlds), 2))
        act(
            worlds.map,
            worlds.worlds,
            worlds.actors,
            worlds.routes,
            worlds.lights,
            self.scratch,
            worlds.parameters,
            out,
        )
        return out
