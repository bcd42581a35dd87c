"""Which boxes overlap: separating axes between neighbours in a hashed grid."""

from __future__ import annotations

import math

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records
from envs.driving.world.occupancy import LEVEL, Scratch


@kernel
def boxes_overlap(
    x: float,
    y: float,
    heading: float,
    half_length: float,
    half_width: float,
    other_x: float,
    other_y: float,
    other_heading: float,
    other_half_length: float,
    other_half_width: float,
) -> bool:
    """Whether two oriented boxes share an area, by the separating axis theorem (touching edges do not count)."""
    dx, dy = other_x - x, other_y - y
    relative = other_heading - heading
    cos, sin = abs(math.cos(relative)), abs(math.sin(relative))
    for axis, own, other in (
        (heading, half_length, other_half_length * cos + other_half_width * sin),
        (heading + 0.5 * math.pi, half_width, other_half_length * sin + other_half_width * cos),
        (other_heading, half_length * cos + half_width * sin, other_half_length),
        (other_heading + 0.5 * math.pi, half_length * sin + half_width * cos, other_half_width),
    ):
        if abs(dx * math.cos(axis) + dy * math.sin(axis)) >= own + other:
            return False
    return True


@kernel
def actors_overlap(a: Records, b: Records, seconds: float) -> bool:
    """Whether the boxes of two actors on one level overlap after ``seconds`` at constant velocity and heading."""
    if abs(b.z - a.z) > LEVEL:
        return False
    dx = b.x - a.x + seconds * (b.velocity_x - a.velocity_x)
    dy = b.y - a.y + seconds * (b.velocity_y - a.velocity_y)
    reach = math.hypot(a.half_length, a.half_width) + math.hypot(b.half_length, b.half_width)
    if dx * dx + dy * dy >= reach * reach:
        return False
    return boxes_overlap(
        0.0, 0.0, a.heading, a.half_length, a.half_width, dx, dy, b.heading, b.half_length, b.half_width
    )


@kernel
def bucket(column: int, row: int, size: int) -> int:
    """Place of a grid cell in a hash table whose size is a power of two."""
    return (column * 73856093 ^ row * 19349663) & (size - 1)


@kernel
def find_contacts(actors: Records, scratch: Scratch) -> None:
    """Set ``touching`` of every active actor of one world: the lowest number of those it overlaps with, -1: none."""
    size = len(scratch.cell_head)
    cell = 1.0
    for index in range(len(actors)):
        actor = actors[index]
        actor.touching = -1
        if actor.active != 0:
            cell = max(cell, 2.0 * math.hypot(actor.half_length, actor.half_width))
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0:
            continue
        column, row = math.floor(actor.x / cell), math.floor(actor.y / cell)
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                other_index = scratch.cell_head[bucket(c, r, size)]
                while other_index >= 0:
                    other = actors[other_index]
                    if actors_overlap(actor, other, 0.0):
                        if actor.touching < 0 or other_index < actor.touching:
                            actor.touching = other_index
                        if other.touching < 0 or index < other.touching:
                            other.touching = index
                    other_index = scratch.cell_next[other_index]
        place = bucket(column, row, size)
        scratch.cell_next[index] = scratch.cell_head[place]
        scratch.cell_head[place] = index
    scratch.cell_head[:] = -1
