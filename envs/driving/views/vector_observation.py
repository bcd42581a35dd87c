"""What surrounds the ego as lists of numbers: itself, its route, the nearest pieces of lanes, the nearest others.

Everything is in the ego's frame (x ahead, y to the left) and scaled to about [-1, 1]. Seven numbers per lane piece and
per partner, as in PufferDrive.

| part | columns |
|---|---|
| ego | speed, steer, acceleration, yaw rate, route offset, sine and cosine of the angle to the route, limit |
| route | x, y of points 2, 4, 8, 16, 32 m ahead along the route |
| lanes | x, y, half length, half width, cosine, sine, wanted speed (negative within junctions); zeros if empty |
| partners | x, y, half length, half width, cosine, sine, speed; zeros if empty |
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import CELL, MapArrays, Records
from envs.driving.world.records import Status
from envs.driving.world.world import DrivingWorlds

EGO, ROUTE, PIECE, PARTNER = 8, 10, 7, 7
"""Numbers per part."""
STRIDE = 4
"""Every so many points of a lane there is a piece."""
CANDIDATES = 2048
EMPTY = int(Status.EMPTY)
FAR, FAST, SIZE = 50.0, 20.0, 5.0
"""Scales of places [m], speeds [m/s] and sizes [m]."""


@kernel
def near_pieces(
    world_map: MapArrays, x: float, y: float, radius: float, wanted: int, numbers: NDArray[np.int64]
) -> int:
    """The ``wanted`` nearest pieces within ``radius``, nearest first, into ``numbers``; how many there are.

    Looks through rings of grid cells until enough pieces are nearer than any that a further ring could hold.
    """
    grid = world_map.grid[0]
    found, distances = np.empty(CANDIDATES, np.int64), np.empty(CANDIDATES, np.float64)
    column, row = math.floor((x - grid.x) / CELL), math.floor((y - grid.y) / CELL)
    count, certain, ring = 0, 0, 0
    while ring <= radius / CELL + 1 and certain < wanted:
        for r in range(max(row - ring, 0), min(row + ring + 1, grid.rows)):
            step = 1 if abs(r - row) == ring else max(2 * ring, 1)
            for c in range(column - ring, column + ring + 1, step):
                if not 0 <= c < grid.columns:
                    continue
                cell = r * grid.columns + c
                for place in range(world_map.cell_start[cell], world_map.cell_start[cell + 1]):
                    number = world_map.cell_points[place]
                    point = world_map.points[number]
                    distance = (point.x - x) ** 2 + (point.y - y) ** 2
                    first = world_map.lanes[point.lane].start
                    if (number - first) % STRIDE == 0 and distance <= radius * radius and count < CANDIDATES:
                        found[count], distances[count] = number, distance
                        count += 1
        certain = 0
        for i in range(count):
            certain += distances[i] <= (ring * CELL) ** 2
        ring += 1
    order = np.argsort(distances[:count], kind="mergesort")
    for i in range(min(count, wanted)):
        numbers[i] = found[order[i]]
    return min(count, wanted)


@kernel
def observe_ego(world: Records, ego: Records, route: Records, out: NDArray[np.float32]) -> None:
    """Fill the parts of the ego and its route."""
    out[0], out[1] = ego.speed / FAST, ego.steer
    out[2], out[3] = ego.acceleration / SIZE, ego.yaw_rate
    out[4] = min(max(world.route_offset / SIZE, -2.0), 2.0)
    out[5], out[6] = math.sin(world.route_angle), math.cos(world.route_angle)
    out[7] = world.speed_limit / FAST
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    for i in range(ROUTE // 2):
        place = min(world.route_index + (2 << i), world.route_count - 1)
        dx, dy = route[place].x - ego.x, route[place].y - ego.y
        out[EGO + 2 * i] = (dx * cos + dy * sin) / FAR
        out[EGO + 2 * i + 1] = (dy * cos - dx * sin) / FAR


@kernel
def observe_pieces(
    world_map: MapArrays, ego: Records, radius: float, wanted: int, numbers: NDArray[np.int64], out: NDArray[np.float32]
) -> None:
    """Fill the nearest pieces of lanes."""
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    count = near_pieces(world_map, ego.x, ego.y, radius, wanted, numbers)
    for k in range(count):
        point = world_map.points[numbers[k]]
        lane = world_map.lanes[point.lane]
        dx, dy = point.x - ego.x, point.y - ego.y
        row = k * PIECE
        out[row], out[row + 1] = (dx * cos + dy * sin) / FAR, (dy * cos - dx * sin) / FAR
        last = min(numbers[k] + STRIDE, lane.stop - 1)
        out[row + 2] = 0.5 * (world_map.points[last].arc - point.arc) / SIZE
        out[row + 3] = point.half_width / SIZE
        out[row + 4], out[row + 5] = math.cos(point.heading - ego.heading), math.sin(point.heading - ego.heading)
        out[row + 6] = point.speed / FAST if lane.junction < 0 else -point.speed / FAST
    out[count * PIECE :] = 0.0


@kernel
def observe_partners(actors: Records, radius: float, wanted: int, out: NDArray[np.float32]) -> None:
    """Fill the nearest others within ``radius``, nearest first."""
    ego = actors[0]
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    distances = np.full(len(actors), np.inf)
    for index in range(1, len(actors)):
        if actors[index].active != 0:
            distances[index] = (actors[index].x - ego.x) ** 2 + (actors[index].y - ego.y) ** 2
    order = np.argsort(distances, kind="mergesort")
    out[:] = 0.0
    for k in range(min(wanted, len(actors))):
        if distances[order[k]] > radius * radius:
            break
        actor = actors[order[k]]
        dx, dy = actor.x - ego.x, actor.y - ego.y
        row = k * PARTNER
        out[row], out[row + 1] = (dx * cos + dy * sin) / FAR, (dy * cos - dx * sin) / FAR
        out[row + 2], out[row + 3] = actor.half_length / SIZE, actor.half_width / SIZE
        out[row + 4], out[row + 5] = math.cos(actor.heading - ego.heading), math.sin(actor.heading - ego.heading)
        out[row + 6] = actor.speed / FAST


@kernel
def observe(
    world_map: MapArrays,
    first: int,
    last: int,
    worlds: Records,
    actors: Records,
    routes: Records,
    radius: float,
    pieces: int,
    partners: int,
    out: NDArray[np.float32],
) -> None:
    """Fill the rows of the worlds ``first`` to ``last - 1`` that are not empty."""
    numbers = np.empty(pieces, np.int64)
    split = EGO + ROUTE + pieces * PIECE
    for w in range(first, last):
        if worlds[w].status == EMPTY:
            continue
        observe_ego(worlds[w], actors[w, 0], routes[w], out[w])
        observe_pieces(world_map, actors[w, 0], radius, pieces, numbers, out[w, EGO + ROUTE : split])
        observe_partners(actors[w], radius, partners, out[w, split:])


@dataclass(frozen=True, kw_only=True)
class VectorObservation:
    """Sizes of the observation.

    Example::

        VectorObservation(pieces=64, partners=16).observe(worlds)      # float32 [N, 578]
    """

    pieces: int = 64
    partners: int = 16
    radius: float = 50.0
    """Metres."""

    @property
    def length(self) -> int:
        """Numbers per world."""
        return EGO + ROUTE + self.pieces * PIECE + self.partners * PARTNER

    def observe(self, worlds: DrivingWorlds, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """``float32 [N, length]``, written into ``out`` where given; empty worlds are left out."""
        rows = np.empty((len(worlds.worlds), self.length), np.float32) if out is None else out

        def fill(first: int, last: int) -> None:
            observe(
                worlds.map,
                first,
                last,
                worlds.worlds,
                worlds.actors,
                worlds.routes,
                self.radius,
                self.pieces,
                self.partners,
                rows,
            )

        worlds.in_ranges(fill)
        return rows
