"""One episode: a map, whoever is in it, and its time. It lives until another map is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from envs.carla_server.actors import Actor, Body, Registry, Sensor
from envs.carla_server.blueprints import NOT_MODELLED, SPECTATOR, Blueprint
from envs.carla_server.collisions import Contact, resolve
from envs.carla_server.geodesy import reference
from envs.carla_server.limits import CallError, Limits
from envs.carla_server.maps import CarlaMap
from envs.carla_server.signals import Lights, find_signs
from envs.carla_server.wire import (
    ACTIVE,
    BODY,
    CAMERAS,
    VEHICLE,
    WALKER,
    WORLD_STREAM,
    Pose,
    Stream,
    sensor_header,
    token,
    world_header,
)
from envs.driving.carla_state import show_bodies
from envs.driving.errors import SpawnError
from envs.driving.world.occupancy import make_scratch
from envs.driving.world.records import Controller, Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds

MAP_CHANGED_STATES = 1
"""So many states of a new episode say that the map has changed."""


def check_image(values: dict[str, tuple[int, str]], limits: Limits) -> None:
    """Refuse images that are too large.

    Raises:
        CallError: more pixels than allowed, none, or something else than whole numbers.
    """
    size = [values[name][1] for name in ("image_size_x", "image_size_y")]
    if not all(side.isdigit() for side in size) or not 0 < int(size[0]) * int(size[1]) <= limits.image_pixels:
        raise CallError(f"an image of {size[0]} x {size[1]} pixels: 1 to {limits.image_pixels} are possible")


class Episode:
    """See the module.

    Args:
        number: id of the episode.
        carla_map: the map.
        limits: caps.
        stream_port: where sensors stream.
        frame: number of the last frame that was sent; frames count on over episodes.
    """

    def __init__(self, number: int, carla_map: CarlaMap, limits: Limits, stream_port: int, frame: int = 0) -> None:
        self.id, self.map, self.limits, self._stream_port, self.frame = number, carla_map, limits, stream_port, frame
        self.time = 0.0
        self.delta = 0.05
        self.worlds = DrivingWorlds(carla_map.graph, worlds=1, actors=limits.actors + 1)
        self.worlds.reset({0: Start(seed=0)})
        if self.worlds.errors[0]:
            raise CallError(f"{carla_map.name}: {self.worlds.errors[0]}")
        self.bodies = self.worlds.actors[0]
        self.bodies["active"][0] = 0  # the training face's ego; here whoever drives is a client's
        self.actors = Registry()
        self.records = np.zeros(len(self.bodies), BODY)
        self.records["state"] = ACTIVE
        self.vehicles, self.walkers = self.records.view(VEHICLE), self.records.view(WALKER)
        self.spectator = Actor(
            id=self.actors.new_id(), blueprint=SPECTATOR, values=SPECTATOR.fill([]), pose=Pose(0, 0, 50, -90, 0, 0)
        )
        self.actors.add(self.spectator)
        self.lights = self._place_signs()
        self.origin = reference(carla_map.text)
        self.contacts: list[Contact] = []
        """Of the last tick."""
        self.slots = np.zeros(0, np.int64)
        """Of the vehicles and walkers that are there; a new array whenever one comes or goes."""
        self._scratch = make_scratch(len(self.worlds.map.lanes), 1)
        self._others = np.zeros(0, BODY)
        self._states_sent = 0
        self._count_others()

    def _place_signs(self) -> Lights:
        signs = find_signs(self.map.drive, self.map.graph, self.worlds.map)
        signs.sort(key=lambda sign: not sign.light)
        first = self.actors.next_id
        for sign in signs:
            name = "traffic.traffic_light" if sign.light else "traffic.stop"
            x, y, along, across = sign.box
            box = [[x, y, 0.0], [along, across, 1.5], [0.0, 0.0, 0.0]]
            blueprint = Blueprint(uid=0, id=name, tag=7 if sign.light else 8)
            self.actors.add(Actor(id=self.actors.new_id(), blueprint=blueprint, values={}, pose=sign.pose, box=box))
        return Lights(signs, self.worlds.map, first, dict(self.map.drive.controllers))

    # ------------------------------------------------------------------ who is there

    def spawn(self, blueprint: Blueprint, given: Any, pose: Pose, parent: int = 0) -> Actor:
        """Put something into the world.

        Raises:
            CallError: no room, no parent, an attribute that cannot be, or somebody stands there.
        """
        values = blueprint.fill(given)
        if blueprint.id in NOT_MODELLED:
            raise CallError(f"spawn {blueprint.id}: the vlarl stand-in does not have this sensor")
        if blueprint.stream in CAMERAS:
            check_image(values, self.limits)
        holder = self.actors.find(parent, f"spawn {blueprint.id}") if parent else None
        if blueprint.kind != Kind.NONE:
            if holder is not None:
                raise CallError(f"{blueprint.id} cannot be attached to actor {parent}: only sensors can")
            return self._spawn_body(blueprint, values, pose)
        others = len(self.actors.by_id) - len(self.actors.bodies)
        if others >= self.limits.sensors + len(self.map.drive.roads) + len(self.lights.signs) + 512:
            raise CallError(f"spawn {blueprint.id}: no room: {others} sensors and controllers are there")
        kind = Actor if blueprint.stream is None else Sensor
        actor = kind(id=self.actors.new_id(), blueprint=blueprint, values=values, pose=pose, parent=parent)
        actor.offset = pose if holder is not None else None
        if blueprint.stream is not None:
            actor.token = token(actor.id, self._stream_port)
        self.actors.add(actor)
        self._count_others()
        return actor

    def _spawn_body(self, blueprint: Blueprint, values: dict[str, tuple[int, str]], pose: Pose) -> Body:
        free = np.flatnonzero(self.bodies["kind"][1:] == Kind.NONE)
        if len(free) == 0:
            raise CallError(f"spawn {blueprint.id}: no room: {self.limits.actors} vehicles and walkers are there")
        slot = int(free[0]) + 1
        length, width, height = blueprint.size
        walks = blueprint.kind == Kind.PEDESTRIAN
        try:
            self.worlds.spawn(
                0,
                slot,
                Spawn(
                    x=pose.x,
                    y=-pose.y,
                    z=pose.z,
                    heading=-float(np.radians(pose.yaw)),
                    kind=blueprint.kind,
                    controller=Controller.STILL if walks else Controller.EXTERNAL,
                    size=(length, width, 2.0 * height),
                ),
            )
        except SpawnError as error:
            raise CallError(f"Spawn failed because of collision at spawn position ({error})") from error
        box = [[0.0, 0.0, 0.0 if walks else height], [length, width, height], [0.0, 0.0, 0.0]]
        actor = Body(id=self.actors.new_id(), blueprint=blueprint, values=values, pose=pose, slot=slot, box=box)
        if walks:
            self.bodies["z"][slot] += height  # CARLA's walkers have their origin in the middle
        self.records[slot] = np.zeros((), BODY)
        self.records["id"][slot], self.records["state"][slot] = actor.id, ACTIVE
        if not walks:
            self.vehicles["gear"][slot], self.vehicles["light_state"][slot] = 1, 2
            self.vehicles["speed_limit"][slot] = 30.0
        self.actors.add(actor)
        self.slots = np.array(sorted(self.actors.bodies), np.int64)
        self.show()
        return actor

    def destroy(self, actor: Actor) -> bool:
        """Take something out, with what is attached to it; False for what belongs to the map."""
        if actor is self.spectator or actor.blueprint.id.startswith("traffic."):
            return False
        for other in [other for other in self.actors.by_id.values() if other.parent == actor.id]:
            other.parent = 0
        self.actors.remove(actor)
        if isinstance(actor, Body):
            self.bodies["active"][actor.slot], self.bodies["kind"][actor.slot] = 0, Kind.NONE
            self.slots = np.array(sorted(self.actors.bodies), np.int64)
        else:
            self._count_others()
        return True

    def pose(self, actor: Actor) -> Pose:
        """Where an actor is now."""
        if isinstance(actor, Body):
            body = self.bodies[actor.slot]
            return Pose(
                float(body["x"]), -float(body["y"]), float(body["z"]), 0.0, -float(np.degrees(body["heading"])), 0.0
            )
        if actor.parent and actor.offset is not None:
            return self.pose(self.actors.by_id[actor.parent]).attached(actor.offset)
        return actor.pose

    # ------------------------------------------------------------------ time

    def tick(self, delta: float) -> None:
        """Let so many seconds pass."""
        self.frame += 1
        self.time += delta
        self.delta = delta
        self.worlds.parameters["control_seconds"] = delta
        self.worlds.parameters["substeps"] = max(1, round(delta / 0.05))
        for body in self.actors.bodies.values():
            if body.walks:
                if not body.guided:
                    self._walk(body, delta)
            elif body.constant_velocity is not None:
                self.bodies["speed"][body.slot] = body.constant_velocity[0]
        before = self.bodies[self.slots]
        self.worlds.advance()
        self.contacts = resolve(self.bodies, before, self.slots, self.actors.bodies)
        self.lights.advance(delta)
        self.show()

    def _walk(self, walker: Body, delta: float) -> None:
        body = self.bodies[walker.slot]
        body["x"] += delta * body["velocity_x"]
        body["y"] += delta * body["velocity_y"]

    def show(self) -> None:
        """Bring the records of vehicles and walkers up to date."""
        show_bodies(
            self.worlds.map,
            self.bodies,
            self.slots,
            self.lights.shown,
            self.lights.actor_of_line,
            self.vehicles,
            self._scratch,
            self.worlds.parameters,
        )

    def _count_others(self) -> None:
        """Make room for the records of sensors, signs and the spectator."""
        lights = {int(number) for number in self.lights.records["id"]}
        self._plain = [
            actor for actor in self.actors.by_id.values() if not isinstance(actor, Body) and actor.id not in lights
        ]
        self._others = np.zeros(len(self._plain), BODY)
        self._others["id"] = [actor.id for actor in self._plain]
        self._others["state"] = ACTIVE
        for record, actor in zip(self._others, self._plain, strict=True):
            record["location"], record["rotation"] = actor.pose[:3], actor.pose[3:]

    def state(self) -> bytes:
        """The world as the client's snapshots want it."""
        changed = self._states_sent < MAP_CHANGED_STATES
        self._states_sent += 1
        for record, actor in zip(self._others, self._plain, strict=True):
            if actor.parent or actor is self.spectator:
                pose = self.pose(actor)
                record["location"], record["rotation"] = pose[:3], pose[3:]
        return b"".join(
            (
                sensor_header(Stream.WORLD, self.frame, self.time, Pose(0, 0, 0, 0, 0, 0)),
                world_header(self.id, time.time(), self.delta, changed),
                self.records[self.slots].tobytes(),
                self.lights.records.tobytes(),
                self._others.tobytes(),
            )
        )

    def publish(self, send: Callable[..., None]) -> None:
        """Send the state of the world."""
        send(WORLD_STREAM, self.state())
