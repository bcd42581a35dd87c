"""Who is on which lane: linked lists of entries per lane, filled anew at every control step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import CELL, MapArrays, Records, project
from envs.driving.world.records import Controller

TRAFFIC, WALKER = int(Controller.TRAFFIC), int(Controller.WALKER)
LEVEL = 3.0
"""What differs in height by more is on another level, metres."""
LANES_EACH = 32
"""An actor that is not bound to a lane is entered on at most this many (lanes overlap within junctions)."""
CORRIDOR = 1.3
"""Half of what traffic needs of its lane, metres."""
STILL_BESIDE = 0.8
"""A vehicle that is off its lane's centre by more counts as on the lane beside too, metres."""
STEP_OUT_SECONDS = 2.0
"""A pedestrian counts as on a lane already if it will be within this time."""

ENTRY = np.dtype(
    [
        ("lane", np.int32),
        ("actor", np.int32),
        ("kind", np.int32),
        ("following", np.int32),  # next entry of the lane, -1
        ("arc", np.float64),
        ("half", np.float64),  # half of the occupied length
        ("speed", np.float64),  # along the lane
    ],
    align=True,
)


class Scratch(NamedTuple):
    """Working memory of one thread; nothing in it lives longer than one step of one world."""

    head: NDArray[np.int32]
    """``[L]`` first entry of each lane, -1."""
    entries: Records
    count: NDArray[np.int32]
    """``[1]``."""
    grants: NDArray[np.int32]
    """``[L]`` how many vehicles hold the right to enter each junction lane."""
    near_lane: NDArray[np.int32]
    near_point: NDArray[np.int32]
    near_distance: NDArray[np.float64]
    cell_head: NDArray[np.int32]
    """Hash table of the collision grid."""
    cell_next: NDArray[np.int32]
    """``[A]``."""


def make_scratch(lanes: int, actors: int) -> Scratch:
    """Memory for worlds with so many lanes and actors."""
    table = 1 << max(4, (2 * actors - 1).bit_length())
    return Scratch(
        head=np.full(lanes, -1, np.int32),
        entries=np.zeros(actors * LANES_EACH, ENTRY),
        count=np.zeros(1, np.int32),
        grants=np.zeros(lanes, np.int32),
        near_lane=np.zeros(LANES_EACH, np.int32),
        near_point=np.zeros(LANES_EACH, np.int32),
        near_distance=np.zeros(LANES_EACH, np.float64),
        cell_head=np.full(table, -1, np.int32),
        cell_next=np.zeros(actors, np.int32),
    )


@kernel
def lanes_near(world_map: MapArrays, x: float, y: float, z: float, radius: float, scratch: Scratch) -> int:
    """Find the lanes with a point within ``radius`` (at most the cell size), and each lane's nearest point.

    Lanes on another level (a bridge above, a road below) do not count; with a ``z`` that is nan all levels do.
    Fills ``near_lane``, ``near_point``, ``near_distance`` (squared metres) and returns how many there are. Of more than
    ``LANES_EACH`` the first found stay.
    """
    grid = world_map.grid[0]
    column, row = int(np.floor((x - grid.x) / CELL)), int(np.floor((y - grid.y) / CELL))
    found = 0
    for r in range(max(row - 1, 0), min(row + 2, grid.rows)):
        for c in range(max(column - 1, 0), min(column + 2, grid.columns)):
            cell = r * grid.columns + c
            for place in range(world_map.cell_start[cell], world_map.cell_start[cell + 1]):
                number = world_map.cell_points[place]
                point = world_map.points[number]
                distance = (point.x - x) ** 2 + (point.y - y) ** 2
                if distance > radius * radius or abs(point.z - z) > LEVEL:
                    continue
                k = 0
                while k < found and scratch.near_lane[k] != point.lane:
                    k += 1
                if k == found:
                    if found == LANES_EACH:
                        continue
                    found += 1
                elif scratch.near_distance[k] <= distance:
                    continue
                scratch.near_lane[k] = point.lane
                scratch.near_point[k] = number
                scratch.near_distance[k] = distance
    return found


@kernel
def level_at(world_map: MapArrays, x: float, y: float, z: float, scratch: Scratch) -> float:
    """Height of the nearest lane on the level of ``z`` (nan: on any); ``z`` itself, or 0, where there is none."""
    best, level = np.inf, 0.0 if np.isnan(z) else z
    for k in range(lanes_near(world_map, x, y, z, CELL, scratch)):
        if scratch.near_distance[k] < best:
            best, level = scratch.near_distance[k], world_map.points[scratch.near_point[k]].z
    return level


@kernel
def add_entry(scratch: Scratch, lane: int, index: int, kind: int, arc: float, half: float, speed: float) -> None:
    """Enter an actor on a lane."""
    number = scratch.count[0]
    entry = scratch.entries[number]
    entry.lane, entry.actor, entry.kind, entry.arc, entry.half, entry.speed = lane, index, kind, arc, half, speed
    entry.following = scratch.head[lane]
    scratch.head[lane] = number
    scratch.count[0] = number + 1


@kernel
def enter_free_actor(world_map: MapArrays, actor: Records, index: int, scratch: Scratch) -> None:
    """Enter an actor that is bound to no lane on every lane whose corridor its box reaches into, or soon will."""
    for k in range(lanes_near(world_map, actor.x, actor.y, actor.z, CELL, scratch)):
        point = world_map.points[scratch.near_point[k]]
        lane = world_map.lanes[point.lane]
        arc, offset, _ = project(world_map, point.lane, point.arc, actor.x, actor.y)
        cos, sin = np.cos(actor.heading - point.heading), np.sin(actor.heading - point.heading)
        along = abs(cos) * actor.half_length + abs(sin) * actor.half_width
        across = abs(sin) * actor.half_length + abs(cos) * actor.half_width
        corridor = min(point.half_width, CORRIDOR)
        drift = actor.speed * sin * STEP_OUT_SECONDS if actor.controller == WALKER else 0.0
        if arc < -along or arc > lane.length + along:
            continue
        if offset - across + min(drift, 0.0) > corridor or offset + across + max(drift, 0.0) < -corridor:
            continue
        add_entry(scratch, point.lane, index, actor.kind, arc, along, actor.speed * cos)


@kernel
def enter_beside(world_map: MapArrays, actor: Records, index: int, scratch: Scratch) -> None:
    """Enter a vehicle that is changing lanes on the lane that it comes from too."""
    lane = world_map.lanes[actor.lane]
    beside = lane.left if actor.offset > 0.0 else lane.right
    if beside >= 0:
        arc, _, _ = project(world_map, beside, actor.arc, actor.x, actor.y)
        add_entry(scratch, beside, index, actor.kind, arc, actor.half_length, actor.speed)


@kernel
def fill(world_map: MapArrays, actors: Records, scratch: Scratch) -> None:
    """Enter all active actors of one world."""
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0:
            continue
        if actor.controller == TRAFFIC:
            add_entry(scratch, actor.lane, index, actor.kind, actor.arc, actor.half_length, actor.speed)
            if abs(actor.offset) > STILL_BESIDE:
                enter_beside(world_map, actor, index, scratch)
        else:
            enter_free_actor(world_map, actor, index, scratch)


@kernel
def clear(scratch: Scratch) -> None:
    """Empty the lists."""
    for number in range(scratch.count[0]):
        scratch.head[scratch.entries[number].lane] = -1
    scratch.count[0] = 0
