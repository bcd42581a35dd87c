"""A pinhole camera on a vehicle, over level ground: where places are in its image, and shapes clipped and filled.

Frame of the vehicle: x ahead, y to the left, z up from the ground, metres. Pixel centres are at halves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.views.drawing import Image

NEAREST = 0.4
"""What is nearer to the camera than this is cut off, metres."""
MOST_CORNERS = 8


class Lens(NamedTuple):
    """Where the camera is on the vehicle, where it looks, and its size."""

    ahead: float
    """Of the vehicle's centre, metres."""
    height: float
    cos: float
    """Of the pitch (positive: down)."""
    sin: float
    focal: float
    """Pixels."""
    columns: int
    rows: int


def make_lens(columns: int, rows: int, field_of_view: float, ahead: float, height: float, pitch: float) -> Lens:
    """A lens with a horizontal field of view in degrees and a pitch (positive: down) in degrees."""
    focal = 0.5 * columns / math.tan(0.5 * math.radians(field_of_view))
    down = math.radians(pitch)
    return Lens(ahead, height, math.cos(down), math.sin(down), focal, columns, rows)


@kernel
def ground_row(lens: Lens, row: int) -> tuple[float, float]:
    """How far ahead of the camera the ground in a row of the image is, and metres per pixel across; inf above it."""
    v = (row + 0.5 - 0.5 * lens.rows) / lens.focal
    down = lens.sin + v * lens.cos
    if down <= 1e-6:
        return np.inf, np.inf
    reach = lens.height / down
    return reach * (lens.cos - v * lens.sin), reach / lens.focal


@kernel
def depth_of(lens: Lens, x: float, z: float) -> float:
    """Distance along the camera's axis of a place of the vehicle's frame."""
    return (x - lens.ahead) * lens.cos - (z - lens.height) * lens.sin


@kernel
def to_image(lens: Lens, x: float, y: float, z: float) -> tuple[float, float]:
    """Column and row of a place in front of the camera."""
    depth = depth_of(lens, x, z)
    down = -(x - lens.ahead) * lens.sin - (z - lens.height) * lens.cos
    return 0.5 * lens.columns - lens.focal * y / depth, 0.5 * lens.rows + lens.focal * down / depth


@kernel
def fill_convex(image: Image, places: NDArray[np.float64], count: int, value: int) -> None:
    """Fill a convex polygon, ``places [count, 2]`` columns and rows, with a value."""
    rows, columns = image.shape
    top, bottom = np.inf, -np.inf
    for i in range(count):
        top, bottom = min(top, places[i, 1]), max(bottom, places[i, 1])
    top, bottom = max(top, -1.0), min(bottom, rows + 1.0)
    for row in range(max(math.ceil(top - 0.5), 0), min(math.floor(bottom - 0.5) + 1, rows)):
        y = row + 0.5
        left, right = np.inf, -np.inf
        for i in range(count):
            ax, ay = places[i, 0], places[i, 1]
            bx, by = places[(i + 1) % count, 0], places[(i + 1) % count, 1]
            if ay != by and min(ay, by) <= y <= max(ay, by):
                x = ax + (y - ay) * (bx - ax) / (by - ay)
                left, right = min(left, x), max(right, x)
        if left > right:
            continue
        begin = max(math.ceil(max(left, -1.0) - 0.5), 0)
        end = min(math.floor(min(right, columns + 1.0) - 0.5) + 1, columns)
        for column in range(begin, end):
            image[row, column] = np.uint8(value)


@kernel
def draw_face(image: Image, lens: Lens, corners: NDArray[np.float64], count: int, value: int) -> None:
    """Fill a flat convex face, ``corners [count, 3]`` in the vehicle's frame, cut off where it is too near."""
    places = np.empty((MOST_CORNERS, 2))
    kept = 0
    for i in range(count):
        j = (i + 1) % count
        here = depth_of(lens, corners[i, 0], corners[i, 2])
        there = depth_of(lens, corners[j, 0], corners[j, 2])
        if here >= NEAREST:
            places[kept, 0], places[kept, 1] = to_image(lens, corners[i, 0], corners[i, 1], corners[i, 2])
            kept += 1
        if (here >= NEAREST) != (there >= NEAREST):
            share = (NEAREST - here) / (there - here)
            x = corners[i, 0] + share * (corners[j, 0] - corners[i, 0])
            y = corners[i, 1] + share * (corners[j, 1] - corners[i, 1])
            z = corners[i, 2] + share * (corners[j, 2] - corners[i, 2])
            places[kept, 0], places[kept, 1] = to_image(lens, x, y, z)
            kept += 1
    if kept >= 3:
        fill_convex(image, places, kept, value)


@kernel
def draw_box(
    image: Image,
    lens: Lens,
    x: float,
    y: float,
    heading: float,
    half_length: float,
    half_width: float,
    low: float,
    high: float,
    value: int,
) -> None:
    """Draw an upright box: its top is ``value``, its long sides ``value + 1``, its ends ``value + 2``.

    Args:
        image: the image.
        lens: the camera.
        x: of the box's centre in the vehicle's frame.
        y: of the box's centre in the vehicle's frame.
        heading: in the vehicle's frame, radians.
        half_length: metres.
        half_width: metres.
        low: height of its underside, metres.
        high: height of its top, metres.
        value: palette number.
    """
    cos, sin = math.cos(heading), math.sin(heading)
    corners = np.empty((4, 3))
    for side in range(4):  # front, left, rear, right; those that face the camera
        if side % 2 == 0:
            nx, ny, out = (cos, sin, half_length) if side == 0 else (-cos, -sin, half_length)
        else:
            nx, ny, out = (-sin, cos, half_width) if side == 1 else (sin, -cos, half_width)
        if (lens.ahead - x - out * nx) * nx + (0.0 - y - out * ny) * ny <= 0.0:
            continue
        across = half_width if side % 2 == 0 else half_length
        for i in range(4):
            along = across if i in (0, 3) else -across
            corners[i, 0] = x + out * nx - along * ny
            corners[i, 1] = y + out * ny + along * nx
            corners[i, 2] = low if i < 2 else high
        draw_face(image, lens, corners, 4, value + 2 if side % 2 == 0 else value + 1)
    if lens.height > high:
        for i in range(4):
            along = half_length if i < 2 else -half_length
            across = half_width if i in (0, 3) else -half_width
            corners[i, 0] = x + along * cos - across * sin
            corners[i, 1] = y + along * sin + across * cos
            corners[i, 2] = high
        draw_face(image, lens, corners, 4, value)
