"""One control step of a range of worlds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, project
from envs.driving.world.collisions import find_contacts
from envs.driving.world.ego_events import update_ego
from envs.driving.world.junctions import update_grants
from envs.driving.world.lights import set_lights
from envs.driving.world.occupancy import Scratch, clear, fill, level_at
from envs.driving.world.records import Controller, Kind, Status
from envs.driving.world.spawning import enter_traffic
from envs.driving.world.traffic import axle_distance, decide, next_lane
from envs.driving.world.vehicle import lagged, move, pedal_acceleration
from envs.driving.world.walkers import decide_walk, walk

EXTERNAL, TRAFFIC, WALKER = int(Controller.EXTERNAL), int(Controller.TRAFFIC), int(Controller.WALKER)
PEDESTRIAN = int(Kind.PEDESTRIAN)
RUNNING = int(Status.RUNNING)


@kernel
def drive_external(actor: Records, seconds: float, parameters: Records) -> None:
    """One physics step of a vehicle that is driven from outside.

    A throttle below 0 drives backwards. Against the way that the vehicle still moves, throttle brakes.
    """
    actor.steer = lagged(actor.steer, actor.steer_command, parameters.steer_lag, seconds)
    actor.throttle = lagged(actor.throttle, actor.throttle_command, parameters.pedal_lag, seconds)
    actor.brake = lagged(actor.brake, actor.brake_command, parameters.pedal_lag, seconds)
    actor.wheel = parameters.steer_gain * actor.steer
    way = -1.0 if actor.speed < 0.0 or (actor.speed == 0.0 and actor.throttle < 0.0) else 1.0
    push = way * actor.throttle
    acceleration = pedal_acceleration(way * actor.speed, max(push, 0.0), max(actor.brake, -push), parameters)
    move(actor, acceleration, actor.wheel, parameters.front_axle, parameters.rear_axle, seconds, way)


@kernel
def settle_on_lane(world_map: MapArrays, world: Records, actor: Records) -> None:
    """Find a traffic vehicle's new place along its way; at a dead end it leaves the world."""
    actor.arc, actor.offset, near = project(world_map, actor.lane, actor.arc, actor.x, actor.y)
    while actor.arc > world_map.lanes[actor.lane].length:
        following = next_lane(world_map, world.seed, actor.id, actor.leg, actor.lane)
        if following < 0:
            actor.active, actor.wait = 0, 0.0
            return
        actor.leg += 1
        actor.served_stop = -1
        junction = world_map.lanes[following].junction
        before = world_map.lanes[actor.lane].junction
        if junction < 0 and before >= 0:
            if actor.granted >= 0 and world_map.lanes[actor.granted].junction == before:
                actor.granted = -1
        elif junction >= 0 and junction == before:
            actor.granted = following  # the way through this junction has several lanes
        actor.arc -= world_map.lanes[actor.lane].length
        actor.previous, actor.lane = actor.lane, following
        actor.arc, actor.offset, near = project(world_map, following, max(actor.arc, 0.0), actor.x, actor.y)
    actor.z = world_map.points[near].z


@kernel
def move_actors(world_map: MapArrays, world: Records, actors: Records, scratch: Scratch, parameters: Records) -> None:
    """Integrate all actors of one world over a control step.

    Only external vehicles need substeps: their actuators lag. What others have decided is constant over the step.
    """
    substeps = int(parameters.substeps)
    seconds = parameters.control_seconds / substeps
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0:
            continue
        before = actor.speed
        if actor.controller == EXTERNAL:
            for _ in range(substeps):
                drive_external(actor, seconds, parameters)
            actor.z = level_at(world_map, actor.x, actor.y, actor.z, scratch)
        elif actor.controller == TRAFFIC:
            axle = axle_distance(actor)
            move(actor, actor.drive, actor.wheel, axle, axle, parameters.control_seconds)
            settle_on_lane(world_map, world, actor)
        elif actor.controller == WALKER:
            walk(actor, parameters.control_seconds)
        actor.acceleration = (actor.speed - before) / parameters.control_seconds


@kernel
def remember(actors: Records, past: Records) -> None:
    """Keep where the vehicles are."""
    for index in range(len(actors)):
        actor, memory = actors[index], past[index]
        memory.x, memory.y, memory.heading = actor.x, actor.y, actor.heading
        memory.half_length, memory.half_width = actor.half_length, actor.half_width
        memory.vehicle = 1 if actor.active != 0 and 0 < actor.kind < PEDESTRIAN else 0


@kernel
def advance_world(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    lights: NDArray[np.int8],
    lights_left: NDArray[np.float32],
    scratch: Scratch,
    parameters: Records,
) -> None:
    """One control step of one world: look, decide, move, then see what happened."""
    fill(world_map, actors, scratch)
    update_grants(world_map, world, actors, route, lights, scratch, parameters)
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0:
            continue
        if actor.controller == TRAFFIC:
            actor.drive, actor.wheel = decide(world_map, world, actors, index, lights, scratch, parameters)
        elif actor.controller == WALKER:
            decide_walk(actors, index, world, parameters)
    clear(scratch)
    before = (actors[0].x, actors[0].y, actors[0].heading)
    move_actors(world_map, world, actors, scratch, parameters)
    world.step += 1
    world.time = world.step * parameters.control_seconds
    for index in range(1, len(actors)):
        actor = actors[index]
        if actor.controller == TRAFFIC and actor.active == 0:
            actor.wait += parameters.control_seconds
            if actor.wait >= parameters.respawn_seconds:
                enter_traffic(world_map, world, actors, index, parameters.respawn_distance, 3)
    find_contacts(actors, scratch)
    update_ego(world_map, world, actors, route, before, lights, scratch, parameters)
    set_lights(world_map, world, parameters, lights, lights_left)


@kernel
def advance(
    world_map: MapArrays,
    first: int,
    last: int,
    worlds: Records,
    actors: Records,
    routes: Records,
    lights: NDArray[np.int8],
    lights_left: NDArray[np.float32],
    past: Records,
    scratch: Scratch,
    parameters: Records,
) -> None:
    """One control step of the worlds ``first`` to ``last - 1`` that run; nothing in it depends on the other worlds."""
    for w in range(first, last):
        if worlds[w].status != RUNNING:
            continue
        advance_world(
            world_map,
            worlds[w],
            actors[w],
            routes[w],
            lights[w],
            lights_left[w],
            scratch,
            parameters,
        )
        if past.shape[1] > 0:
            remember(actors[w], past[w, worlds[w].step % past.shape[1]])
