"""What of a map does not move, rasterised once: road, markings, shoulders, and where speed limits begin."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.views.drawing import Image, fill_quad

ROAD, SOLID, BROKEN, SHOULDER = 1, 2, 4, 8
"""Bits of the raster."""
MARK_WIDTH = 0.3
"""Painted width of markings, metres; at least one pixel."""
MARGIN = 4.0
"""Around the map, metres."""


class StaticLayers(NamedTuple):
    """The raster of a map and its frame."""

    codes: Image
    """``[rows, columns]`` bits; row r and column c cover y and x from ``origin + (r, c) / pixels_per_metre`` on."""
    x: float
    """Left edge of the raster, metres."""
    y: float
    """Edge of row 0, metres; rows count along y."""
    pixels_per_metre: float
    speed_signs: NDArray[np.float64]
    """``[S, 4]`` x, y, heading, limit in m/s, where a limit begins."""


@kernel
def draw_strips(codes: Image, left: NDArray[np.float64], right: NDArray[np.float64], start: int, stop: int) -> None:
    """Fill the road between two edges, point by point."""
    for i in range(start, stop - 1):
        fill_quad(
            codes,
            left[i, 0],
            left[i, 1],
            left[i + 1, 0],
            left[i + 1, 1],
            right[i + 1, 0],
            right[i + 1, 1],
            right[i, 0],
            right[i, 1],
            ROAD,
            True,
        )


@kernel
def draw_marks(
    codes: Image, edge: NDArray[np.float64], kinds: NDArray[np.int8], start: int, stop: int, half: float
) -> None:
    """Paint the markings along an edge, ``half`` pixels to either side."""
    for i in range(start, stop - 1):
        if kinds[i] == 0:
            continue
        dx, dy = edge[i + 1, 0] - edge[i, 0], edge[i + 1, 1] - edge[i, 1]
        length = np.hypot(dx, dy)
        if length < 1e-9:
            continue
        wx, wy = -dy / length * half, dx / length * half
        fill_quad(
            codes,
            edge[i, 0] + wx,
            edge[i, 1] + wy,
            edge[i + 1, 0] + wx,
            edge[i + 1, 1] + wy,
            edge[i + 1, 0] - wx,
            edge[i + 1, 1] - wy,
            edge[i, 0] - wx,
            edge[i, 1] - wy,
            BROKEN if kinds[i] == 1 else SOLID,
            True,
        )


def _speed_signs(graph: LaneGraph) -> NDArray[np.float64]:
    """At the right edge of every lane whose limit differs from that of a lane it comes from."""
    signs = []
    for lane in range(len(graph.length)):
        before = graph.predecessors[graph.predecessor_start[lane] : graph.predecessor_start[lane + 1]]
        if graph.junction[lane] < 0 and len(before) and (graph.speed_limit[before] != graph.speed_limit[lane]).any():
            point = graph.lane_start[lane]
            signs.append([*graph.right_edge[point], graph.heading[point], graph.speed_limit[lane]])
    return np.array(signs, np.float64).reshape(-1, 4)


def rasterise(
    graph: LaneGraph, pixels_per_metre: float = 2.0, shoulders: NDArray[np.float64] | None = None
) -> StaticLayers:
    """Draw a map.

    Args:
        graph: the map.
        pixels_per_metre: resolution; that of the views made from it, or more.
        shoulders: ``[S, 4, 2]`` convex quadrilaterals beside the road, metres; a lane graph itself holds none.
    """
    edges = np.concatenate([graph.left_edge, graph.right_edge]).astype(np.float64)
    if shoulders is not None:
        edges = np.concatenate([edges, shoulders.reshape(-1, 2)])
    low, high = edges.min(axis=0) - MARGIN, edges.max(axis=0) + MARGIN
    columns, rows = np.ceil((high - low) * pixels_per_metre).astype(int)
    codes = np.zeros((int(rows), int(columns)), np.uint8)
    left = (graph.left_edge - low) * pixels_per_metre
    right = (graph.right_edge - low) * pixels_per_metre
    half = max(0.5 * MARK_WIDTH * pixels_per_metre, 0.71)
    if shoulders is not None:
        for quad in (shoulders - low) * pixels_per_metre:
            fill_quad(codes, *(float(value) for value in quad.ravel()), SHOULDER, True)
    lanes = list(zip(graph.lane_start[:-1].tolist(), graph.lane_start[1:].tolist(), strict=True))
    for start, stop in lanes:
        draw_strips(codes, left, right, start, stop)
    for start, stop in lanes:
        draw_marks(codes, left, np.ascontiguousarray(graph.edge_kind[:, 0]), start, stop, half)
        draw_marks(codes, right, np.ascontiguousarray(graph.edge_kind[:, 1]), start, stop, half)
    return StaticLayers(codes, float(low[0]), float(low[1]), float(pixels_per_metre), _speed_signs(graph))
