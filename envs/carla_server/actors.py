"""Who is in an episode: vehicles and walkers with a slot in the driving world, sensors, lights, the spectator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.carla_server.blueprints import Blueprint
from envs.carla_server.limits import CallError
from envs.carla_server.wire import Pose

REMEMBERED = 1000
"""Boxes of so many are kept after they are gone."""
NO_BOX = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@dataclass(kw_only=True)
class Actor:
    """Anything with an id."""

    id: int
    blueprint: Blueprint
    values: dict[str, tuple[int, str]]
    """Attributes: name -> type and value."""
    pose: Pose
    """Where it is; of vehicles and walkers only where they began, the world knows better."""
    parent: int = 0
    offset: Pose | None = None
    """Place on the parent."""
    box: list[list[float]] = field(default_factory=lambda: NO_BOX)
    """Bounding box: middle and half extents in its own frame, rotation."""
    token: bytes = b""
    """Of its stream."""

    def packed(self) -> list[Any]:
        """As the client asks for it."""
        values = [[name, *value] for name, value in self.values.items()]
        description = [self.blueprint.uid, self.blueprint.id, values]
        tags = bytes([self.blueprint.tag]) if self.blueprint.tag else b""
        return [self.id, self.parent, description, self.box, tags, self.token]

    def attribute(self, name: str, default: float = 0.0) -> float:
        """The number that an attribute holds; ``default`` where it holds none."""
        try:
            value = float(self.values[name][1])
        except (KeyError, ValueError):
            return default
        return value if np.isfinite(value) else default


@dataclass(kw_only=True)
class Body(Actor):
    """A vehicle or walker."""

    slot: int
    """In the driving world."""
    lamps: int = 0
    """Bits of ``carla.VehicleLightState`` as the client set them."""
    simulated: bool = True
    """Whether the world moves it."""
    guided: bool = False
    """Whether its client moves it step by step (a walker's own navigation)."""
    constant_velocity: tuple[float, float, float] | None = None
    """In its own frame, m/s; kept whatever the controls are."""
    physics: Any = None
    """What the client set with ``apply_physics_control``: kept and given back, not obeyed."""

    @property
    def walks(self) -> bool:
        """Whether it is a walker."""
        return self.blueprint.id.startswith("walker.")


@dataclass(kw_only=True)
class Sensor(Actor):
    """A sensor; what it sends lies in :mod:`envs.carla_server.sensors`."""

    due: float = 0.0
    """When it sends next, seconds of the episode."""
    last: float = -1.0
    """When it sent last; below 0: never."""
    angle: float = 0.0
    """Where a lidar looks, degrees."""


class Registry:
    """All actors of an episode by id. Ids are never used twice."""

    def __init__(self) -> None:
        self.by_id: dict[int, Actor] = {}
        self.bodies: dict[int, Body] = {}
        """By slot."""
        self.sensors: dict[int, Sensor] = {}
        self.next_id = 1
        self.gone: dict[int, list[list[float]]] = {}
        """Boxes of those who were taken out: a traffic manager asks a little late, and ends without an answer."""

    def new_id(self) -> int:
        """An id that nobody has had."""
        self.next_id += 1
        return self.next_id - 1

    def add(self, actor: Actor) -> None:
        """Enter an actor."""
        self.by_id[actor.id] = actor
        if isinstance(actor, Body):
            self.bodies[actor.slot] = actor
        elif isinstance(actor, Sensor):
            self.sensors[actor.id] = actor

    def remove(self, actor: Actor) -> None:
        """Take an actor out."""
        del self.by_id[actor.id]
        self.gone[actor.id] = actor.box
        if len(self.gone) > REMEMBERED:
            del self.gone[next(iter(self.gone))]
        if isinstance(actor, Body):
            del self.bodies[actor.slot]
        self.sensors.pop(actor.id, None)

    def find(self, number: int, doing: str) -> Actor:
        """The actor of an id.

        Raises:
            CallError: there is none, in CARLA's words.
        """
        if number not in self.by_id:
            raise CallError(f"{doing}: actor not found: no actor with id {number}")
        return self.by_id[number]

    def body(self, number: int, doing: str) -> Body:
        """The vehicle or walker of an id.

        Raises:
            CallError: there is none.
        """
        actor = self.find(number, doing)
        if not isinstance(actor, Body):
            raise CallError(f"{doing}: actor {number} is a {actor.blueprint.id}; a vehicle or walker is needed")
        return actor

    def vehicle(self, number: int, doing: str) -> Body:
        """The vehicle of an id.

        Raises:
            CallError: there is none.
        """
        body = self.body(number, doing)
        if body.walks:
            raise CallError(f"{doing}: actor {number} is a {body.blueprint.id}; a vehicle is needed")
        return body
