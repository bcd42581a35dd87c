"""From above, with the ego heading up: where things of the world are in such an image, and the static layers in it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records
from envs.driving.views.drawing import Image
from envs.driving.views.static_layers import StaticLayers

FIXED = 16
"""Binary places of the fixed-point raster coordinates."""


class Frame(NamedTuple):
    """Position, heading and scale of an image."""

    x: float
    y: float
    cos: float
    sin: float
    size: int
    """Pixels per side."""
    from_bottom: float
    """Pixels below the ego's centre."""
    scale: float
    """Pixels per metre."""


@kernel
def frame_of(ego: Records, size: int, from_bottom: float, scale: float) -> Frame:
    """The frame of an image around the ego."""
    return Frame(ego.x, ego.y, math.cos(ego.heading), math.sin(ego.heading), size, from_bottom, scale)


@kernel
def to_pixels(frame: Frame, x: float, y: float) -> tuple[float, float]:
    """Column and row of a place; pixel centres are at halves."""
    dx, dy = x - frame.x, y - frame.y
    ahead = dx * frame.cos + dy * frame.sin
    right = dx * frame.sin - dy * frame.cos
    return 0.5 * frame.size + frame.scale * right, frame.size - frame.from_bottom - frame.scale * ahead


@kernel
def direction(frame: Frame, heading: float) -> tuple[float, float]:
    """Unit vector in columns and rows of a heading of the world."""
    cos, sin = math.cos(heading), math.sin(heading)
    return cos * frame.sin - sin * frame.cos, -(cos * frame.cos + sin * frame.sin)


@kernel
def inside(begin: int, step: int, limit: int, count: int) -> tuple[int, int]:
    """The range of i in 0 ... count for which ``0 <= begin + i * step < limit``."""
    if step == 0:
        return (0, count) if 0 <= begin < limit else (0, 0)
    if step > 0:
        first, last = -(begin // step), (limit - 1 - begin) // step
    else:
        first, last = -((limit - 1 - begin) // -step), begin // -step
    first = max(first, 0)
    return first, max(min(last + 1, count), first)


@kernel
def sample_row(layers: StaticLayers, frame: Frame, row: int, codes: NDArray[np.uint8]) -> None:
    """The raster's bits at the pixel centres of one row of the image, by nearest neighbour; 0 beyond the map."""
    one = 1 << FIXED
    ratio = layers.pixels_per_metre
    ahead = (frame.size - frame.from_bottom - (row + 0.5)) / frame.scale
    right = (0.5 - 0.5 * frame.size) / frame.scale
    x = frame.x + ahead * frame.cos + right * frame.sin
    y = frame.y + ahead * frame.sin - right * frame.cos
    column_now = math.floor((x - layers.x) * ratio * one)
    row_now = math.floor((y - layers.y) * ratio * one)
    column_step = math.floor(frame.sin * ratio / frame.scale * one + 0.5)
    row_step = math.floor(-frame.cos * ratio / frame.scale * one + 0.5)
    rows, columns = layers.codes.shape
    first, last = inside(column_now, column_step, columns << FIXED, frame.size)
    other_first, other_last = inside(row_now, row_step, rows << FIXED, frame.size)
    first, last = max(first, other_first), min(last, other_last)
    if first >= last:
        codes[:] = 0
        return
    codes[:first] = 0
    codes[last:] = 0
    raster = layers.codes
    for i in range(first, last):
        codes[i] = raster[(row_now + i * row_step) >> FIXED, (column_now + i * column_step) >> FIXED]


@kernel
def draw_static(layers: StaticLayers, frame: Frame, road: Image, marks: Image, solid: int, broken: int) -> None:
    """Fill the road image (255) and the image of markings with their two grey levels."""
    codes = np.empty(frame.size, np.uint8)
    for row in range(frame.size):
        sample_row(layers, frame, row, codes)
        for i in range(frame.size):
            road[row, i] = np.uint8(255) * (codes[i] & np.uint8(1))
        for i in range(frame.size):
            value = np.uint8(solid) * ((codes[i] >> np.uint8(1)) & np.uint8(1))
            marks[row, i] = np.uint8(broken) if codes[i] & np.uint8(4) else value
