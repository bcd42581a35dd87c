"""How a world starts: seed, route, and who else is there."""

from __future__ import annotations

from dataclasses import dataclass

from envs.driving.world.records import Controller, Kind


@dataclass(frozen=True, kw_only=True)
class Spawn:
    """An actor at a chosen place."""

    x: float
    y: float
    heading: float = 0.0
    z: float = float("nan")
    """Metres; nan: on the nearest lane, whatever its level."""
    kind: Kind = Kind.OBSTACLE
    controller: Controller = Controller.STILL
    speed: float = 0.0
    """m/s along the heading."""
    size: tuple[float, float, float] | None = None
    """Half length, half width and height, metres; None: those of its kind."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Fully determines the start of a world, and with the controls its whole future."""

    seed: int
    route: tuple[int, ...] = ()
    """Lanes of the ego's route, each a successor or neighbour of the one before; empty: a random route."""
    first_arc: float = 5.0
    """Where on the first lane the ego starts, metres."""
    last_arc: float = float("inf")
    """Where on the last lane the route ends, metres."""
    route_metres: float = 500.0
    """Length of a random route; shorter where the map ends."""
    speed: float = 0.0
    """Of the ego at the start, m/s."""
    traffic: int = 0
    """Vehicles."""
    pedestrians: int = 0
    red_runners: float = 0.0
    """Share of the vehicles that ignore traffic lights."""
    jaywalkers: float = 0.0
    """Share of the pedestrians that cross anywhere without looking."""
    obstacles: int = 0
    """Things the size of a car left on the ego's route."""
    occluded: int = 0
    """Vans parked beside the ego's route with somebody behind who steps out as the ego comes; two slots each."""
    cut_ins: float = 0.0
    """How likely a vehicle beside and a little ahead of the ego takes its lane, each second."""
    spawns: tuple[Spawn, ...] = ()
    """Further actors, from slot 1 on."""
