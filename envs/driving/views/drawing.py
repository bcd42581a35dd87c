"""Filling shapes into 8-bit images. A pixel belongs to a shape if its centre does; row r's centres are at r + 0.5."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel

Image = NDArray[np.uint8]


@kernel
def fill_quad(
    image: Image,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    x3: float,
    y3: float,
    value: int,
    add_bits: bool,
) -> None:
    """Fill a convex quadrilateral (corners in order, columns x and rows y) with ``value``, or or its bits in."""
    rows, columns = image.shape
    top, bottom = min(min(y0, y1), min(y2, y3)), max(max(y0, y1), max(y2, y3))
    for row in range(max(math.ceil(top - 0.5), 0), min(math.floor(bottom - 0.5) + 1, rows)):
        y = row + 0.5
        left, right = np.inf, -np.inf
        for ax, ay, bx, by in ((x0, y0, x1, y1), (x1, y1, x2, y2), (x2, y2, x3, y3), (x3, y3, x0, y0)):
            if min(ay, by) <= y <= max(ay, by):
                if ay == by:
                    left, right = min(left, min(ax, bx)), max(right, max(ax, bx))
                else:
                    x = ax + (y - ay) * (bx - ax) / (by - ay)
                    left, right = min(left, x), max(right, x)
        if left > right:
            continue
        begin, end = (
            max(math.ceil(max(left, -1.0) - 0.5), 0),
            min(math.floor(min(right, columns + 1.0) - 0.5) + 1, columns),
        )
        if add_bits:
            for column in range(begin, end):
                image[row, column] |= np.uint8(value)
        else:
            for column in range(begin, end):
                image[row, column] = np.uint8(value)


@kernel
def fill_box(
    image: Image, x: float, y: float, along_x: float, along_y: float, half_length: float, half_width: float, value: int
) -> None:
    """Fill an oriented box: centre, unit vector along its length, half sizes, all in pixels."""
    lx, ly = along_x * half_length, along_y * half_length
    wx, wy = -along_y * half_width, along_x * half_width
    reach = half_length + half_width
    if not (-reach < x < image.shape[1] + reach and -reach < y < image.shape[0] + reach):
        return
    fill_quad(
        image,
        x - lx - wx,
        y - ly - wy,
        x + lx - wx,
        y + ly - wy,
        x + lx + wx,
        y + ly + wy,
        x - lx + wx,
        y - ly + wy,
        value,
        False,
    )


@kernel
def fill_disc(image: Image, column: int, row: int, radius: int, value: int) -> None:
    """Fill a disc around a pixel."""
    rows, columns = image.shape
    for dy in range(max(-radius, -row), min(radius, rows - 1 - row) + 1):
        half = int(math.sqrt(radius * radius + radius - dy * dy))
        for x in range(max(column - half, 0), min(column + half + 1, columns)):
            image[row + dy, x] = np.uint8(value)


@kernel
def draw_line(image: Image, x0: float, y0: float, x1: float, y1: float, value: int) -> None:
    """Draw a line one pixel wide."""
    rows, columns = image.shape
    steps = int(max(abs(x1 - x0), abs(y1 - y0))) + 1
    for i in range(steps + 1):
        column = math.floor(x0 + (x1 - x0) * i / steps)
        row = math.floor(y0 + (y1 - y0) * i / steps)
        if 0 <= row < rows and 0 <= column < columns:
            image[row, column] = np.uint8(value)
