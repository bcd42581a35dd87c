"""A flat-shaded pinhole camera: the raster of the map as ground, boxes for everything that stands on it, sky above.

The ground is level; whatever is painted on it comes from ``views.static_layers``. Every pixel has a colour, a depth
along the camera's axis and a semantic label. Places are in CARLA's left-handed frame (x ahead, y right, z up).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records
from envs.driving.views.drawing import Image
from envs.driving.views.static_layers import BROKEN, ROAD, SOLID, StaticLayers

FURTHEST = 1000.0
"""Depth of the sky, metres."""
NEAREST = 0.1
"""What is nearer is not seen, metres."""
SKY_LABEL, ROAD_LABEL, LINE_LABEL, TERRAIN_LABEL = 11, 1, 24, 10
SKY_CODE = 16
"""Beside the codes of the raster, which are four bits."""


def _surface(code: int) -> tuple[int, tuple[int, int, int]]:
    """Label and colour of what a code of the raster, or the sky's, stands for."""
    if code == SKY_CODE:
        return SKY_LABEL, (170, 200, 235)
    if code & (SOLID | BROKEN):
        return LINE_LABEL, (235, 235, 235)
    return (ROAD_LABEL, (92, 92, 96)) if code & ROAD else (TERRAIN_LABEL, (96, 130, 82))


_SURFACES = [_surface(code) for code in range(SKY_CODE + 1)]
LABELS = np.array([label for label, _ in _SURFACES], np.uint8)
PALETTE = np.array([(blue, green, red, 255) for _, (red, green, blue) in _SURFACES], np.uint8)
"""Of each code: label, and blue, green, red, 255."""

Triple = tuple[float, float, float]
BOX = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("z", np.float64),  # of the bottom
        ("cos", np.float64),  # of the yaw
        ("sin", np.float64),
        ("half_length", np.float64),
        ("half_width", np.float64),
        ("height", np.float64),
        ("red", np.uint8),
        ("green", np.uint8),
        ("blue", np.uint8),
        ("label", np.uint8),
        ("actor", np.int32),  # its id
    ],
    align=True,
)


def axes(pitch: float, yaw: float, roll: float) -> NDArray[np.float64]:
    """``[3, 3]`` unit vectors ahead, to the right and up of a rotation in degrees (LibCarla's ``geom/Math.cpp``)."""
    sp, sy, sr = np.sin(np.radians([pitch, yaw, roll]))
    cp, cy, cr = np.cos(np.radians([pitch, yaw, roll]))
    return np.array(
        [
            [cp * cy, cp * sy, sp],
            [cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, -cp * sr],
            [-cy * sp * cr - sy * sr, cy * sr - sy * sp * cr, cp * cr],
        ]
    )


@kernel
def draw_ground(
    layers: StaticLayers,
    place: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    axis: tuple[float, float],
    level: float,
    image: Image,
    depth: NDArray[np.float32],
    labels: Image,
) -> None:
    """Fill every pixel with ground or sky. Without roll a row of pixels is equally far away."""
    height, width = depth.shape
    rows, columns = layers.codes.shape
    ratio = layers.pixels_per_metre
    left, bottom = (place[0] - layers.x) * ratio, (-place[1] - layers.y) * ratio
    drop, slope = level - place[2], view[1, 2]
    for i in range(height):
        up = (axis[1] - i - 0.5) / focal
        x, y, fall = view[0, 0] + up * view[2, 0], view[0, 1] + up * view[2, 1], view[0, 2] + up * view[2, 2]
        distance = drop / fall if fall != 0.0 else -1.0
        for j in range(width):
            right = (j + 0.5 - axis[0]) / focal
            if slope != 0.0:
                distance = drop / (fall + right * slope) if fall + right * slope != 0.0 else -1.0
            code, seen = SKY_CODE, FURTHEST
            if NEAREST < distance < FURTHEST:
                seen, scale = distance, distance * ratio
                column = math.floor(left + scale * (x + right * view[1, 0]))
                row = math.floor(bottom - scale * (y + right * view[1, 1]))
                code = int(layers.codes[row, column]) if 0 <= row < rows and 0 <= column < columns else 0
            for channel in range(4):
                image[i, j, channel] = PALETTE[code, channel]
            depth[i, j], labels[i, j] = seen, LABELS[code]


@kernel
def seen_part(
    box: Records,
    place: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    axis: tuple[float, float],
    width: int,
    height: int,
) -> tuple[int, int, int, int]:
    """Columns and rows (first, end, first, end) that the part of a box before the camera can cover."""
    left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    corners = np.empty((8, 3))
    for corner in range(8):
        along = box.half_length if corner & 1 else -box.half_length
        aside = box.half_width if corner & 2 else -box.half_width
        dx = box.x + along * box.cos - aside * box.sin - place[0]
        dy = box.y + along * box.sin + aside * box.cos - place[1]
        dz = box.z + (box.height if corner & 4 else 0.0) - place[2]
        for k in range(3):
            corners[corner, k] = dx * view[k, 0] + dy * view[k, 1] + dz * view[k, 2]
    for corner in range(8):
        for side in (1, 2, 4):  # both ends of every edge, cut off where they are too near
            one, other = corners[corner], corners[corner ^ side]
            if one[0] < NEAREST and other[0] < NEAREST:
                continue
            share = max((NEAREST - one[0]) / (other[0] - one[0]), 0.0) if one[0] < NEAREST else 0.0
            ahead = one[0] + share * (other[0] - one[0])
            column = axis[0] + focal * (one[1] + share * (other[1] - one[1])) / ahead
            row = axis[1] - focal * (one[2] + share * (other[2] - one[2])) / ahead
            left, right, top, bottom = min(left, column), max(right, column), min(top, row), max(bottom, row)
    if right < 0.0 or bottom < 0.0 or left > width or top > height:
        return 0, 0, 0, 0
    first_column, first_row = int(max(left, 0.0)), int(max(top, 0.0))
    return first_column, int(min(right + 1.0, width)), first_row, int(min(bottom + 1.0, height))


@kernel
def seen_from_box(box: Records, place: NDArray[np.float64]) -> tuple[Triple, Triple]:
    """A place in the frame of a box, whose origin is its middle, and the box's half sizes."""
    dx, dy = place[0] - box.x, place[1] - box.y
    start = (dx * box.cos + dy * box.sin, dy * box.cos - dx * box.sin, place[2] - box.z - 0.5 * box.height)
    return start, (box.half_length, box.half_width, 0.5 * box.height)


@kernel
def turned_into_box(box: Records, x: float, y: float, z: float) -> Triple:
    """A direction in the frame of a box."""
    return x * box.cos + y * box.sin, y * box.cos - x * box.sin, z


@kernel
def enter_box(start: Triple, half: Triple, ray: Triple) -> tuple[float, int]:
    """How far along a ray it enters a box, and through which pair of faces (Kay and Kajiya 1986), in the box's frame.

    Infinity where it passes by or starts inside; faces are 0 ahead and behind, 1 at the sides, 2 above and below.
    """
    enter, leave, face = -np.inf, np.inf, 0
    for axis in range(3):
        if ray[axis] == 0.0:
            if abs(start[axis]) > half[axis]:
                return np.inf, 0
            continue
        inverse = 1.0 / ray[axis]
        one, other = (-half[axis] - start[axis]) * inverse, (half[axis] - start[axis]) * inverse
        if min(one, other) > enter:
            enter, face = min(one, other), axis
        leave = min(leave, max(one, other))
    return (enter, face) if NEAREST < enter <= leave else (np.inf, 0)


@kernel
def draw_box(
    box: Records,
    place: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    axis: tuple[float, float],
    image: Image,
    depth: NDArray[np.float32],
    labels: Image,
    actors: NDArray[np.int32],
) -> None:
    """Draw one box where it is nearest."""
    height, width = depth.shape
    first_column, end_column, first_row, end_row = seen_part(box, place, view, focal, axis, width, height)
    start, half = seen_from_box(box, place)
    ahead = turned_into_box(box, view[0, 0], view[0, 1], view[0, 2])
    aside = turned_into_box(box, view[1, 0], view[1, 1], view[1, 2])
    above = turned_into_box(box, view[2, 0], view[2, 1], view[2, 2])
    for i in range(first_row, end_row):
        up = (axis[1] - i - 0.5) / focal
        x, y, z = ahead[0] + up * above[0], ahead[1] + up * above[1], ahead[2] + up * above[2]
        for j in range(first_column, end_column):
            right = (j + 0.5 - axis[0]) / focal
            ray = (x + right * aside[0], y + right * aside[1], z + right * aside[2])
            enter, face = enter_box(start, half, ray)
            if enter < depth[i, j]:
                shade = 1.0 if face == 2 else 0.8 if face == 0 else 0.65
                image[i, j, 0] = np.uint8(shade * box.blue)
                image[i, j, 1] = np.uint8(shade * box.green)
                image[i, j, 2] = np.uint8(shade * box.red)
                depth[i, j], labels[i, j], actors[i, j] = enter, box.label, box.actor


@kernel
def render(
    layers: StaticLayers,
    boxes: Records,
    place: NDArray[np.float64],
    view: NDArray[np.float64],
    focal: float,
    axis: tuple[float, float],
    level: float,
    image: Image,
    depth: NDArray[np.float32],
    labels: Image,
    actors: NDArray[np.int32],
) -> None:
    """Draw what a camera sees, or a part of it.

    Args:
        layers: the ground.
        boxes: ``[N]`` of :data:`BOX`.
        place: ``[3]`` of the camera, metres.
        view: ``[3, 3]`` of :func:`axes`.
        focal: length in pixels.
        axis: column and row of the optical axis; the middle for a whole image.
        level: height of the ground, metres.
        image: ``uint8 [H, W, 4]`` blue, green, red, 255; written.
        depth: ``float32 [H, W]`` metres along the camera's axis; written.
        labels: ``uint8 [H, W]`` CARLA's semantic labels; written.
        actors: ``int32 [H, W]`` ids of what is seen, 0 for what is no actor; written.
    """
    draw_ground(layers, place, view, focal, axis, level, image, depth, labels)
    actors[:] = 0
    for number in range(len(boxes)):
        draw_box(boxes[number], place, view, focal, axis, image, depth, labels, actors)


@kernel
def cast_rays(
    layers: StaticLayers,
    boxes: Records,
    place: NDArray[np.float64],
    rays: NDArray[np.float64],
    level: float,
    reach: float,
    distances: NDArray[np.float64],
    labels: Image,
    actors: NDArray[np.int32],
) -> None:
    """How far rays go before they meet the ground or a box.

    Args:
        layers: the ground.
        boxes: ``[N]`` of :data:`BOX`.
        place: ``[3]`` where they start, metres.
        rays: ``[R, 3]`` unit vectors.
        level: height of the ground, metres.
        reach: metres; what is further is not met.
        distances: ``float64 [R]`` metres, infinity where nothing is met; written.
        labels: ``uint8 [R]``; written.
        actors: ``int32 [R]`` ids, 0 for the ground; written.
    """
    rows, columns = layers.codes.shape
    for i in range(len(rays)):
        x, y, z = rays[i, 0], rays[i, 1], rays[i, 2]
        best, label, actor = np.inf, 0, 0
        if z < 0.0 and (level - place[2]) / z <= reach:
            best = (level - place[2]) / z
            column = math.floor((place[0] + best * x - layers.x) * layers.pixels_per_metre)
            row = math.floor((-place[1] - best * y - layers.y) * layers.pixels_per_metre)
            inside = 0 <= row < rows and 0 <= column < columns
            label = ROAD_LABEL if inside and layers.codes[row, column] & ROAD else TERRAIN_LABEL
        for number in range(len(boxes)):
            start, half = seen_from_box(boxes[number], place)
            enter, _ = enter_box(start, half, turned_into_box(boxes[number], x, y, z))
            if enter < best and enter <= reach:
                best, label, actor = enter, boxes[number].label, boxes[number].actor
        distances[i], labels[i], actors[i] = best, label, actor
