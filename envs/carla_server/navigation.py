"""Where walkers may walk, as the mesh that the client's own pedestrian navigation loads (Recast and Detour).

Pavement is whatever lies within ``PAVEMENT`` metres of a road's edge; crosswalks join the sides. The mesh is a grid of
equal squares, one polygon each, in one tile. Layout: Detour's ``DetourNavMesh.h`` (version 7, 32-bit references), in
the container that LibCarla reads (``nav/Navigation.cpp``).
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from envs.carla_server.limits import CallError
from envs.carla_server.maps import CarlaMap
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.views.drawing import fill_quad
from envs.driving.views.static_layers import ROAD, rasterise

FOLDER = "Nav"
"""What the client asks for."""
PAVEMENT = 3.0
"""Metres."""
CELL = 1.0
"""Side of a square, metres; coarser where there would be too many."""
MOST_CELLS = 30_000
"""Detour numbers the polygons of a tile with 15 bits."""
SIDEWALK, CROSSWALK = 1, 2
"""Areas; their flags are ``1 << area``."""
HEIGHT, RADIUS, CLIMB = 1.8, 0.3, 0.5
"""Of walkers, metres."""

_CONTAINER = struct.Struct("<iii3fffii")
_TILE = struct.Struct("<Ii")
_HEADER = struct.Struct("<iiiiiIiiiiiiiiifff3f3ff")
POLYGON = np.dtype(
    [
        ("first_link", "<u4"),
        ("corners", "<u2", (6,)),
        ("neighbours", "<u2", (6,)),
        ("flags", "<u2"),
        ("count", "u1"),
        ("area", "u1"),
    ]
)
DETAIL = np.dtype([("corner", "<u4"), ("triangle", "<u4"), ("corners", "u1"), ("triangles", "u1"), ("padding", "<u2")])
LINK_BYTES = 12


class Navigation:
    """The meshes of maps, made when a client first asks."""

    def __init__(self) -> None:
        self._meshes: dict[str, bytes] = {}

    def files(self, carla_map: CarlaMap, folder: str) -> list[str]:
        """Name of the mesh's file; it changes with the map and with what makes the mesh, since clients keep it."""
        if folder != FOLDER:
            return []
        short = carla_map.name.rsplit("/", 1)[-1]
        digest = hashlib.sha256(Path(__file__).read_bytes() + carla_map.text.encode()).hexdigest()
        return [f"vlarl_stand_in/{FOLDER}/{short}-{digest[:16]}.bin"]

    def file(self, carla_map: CarlaMap, name: str) -> bytes:
        """The mesh of that name.

        Raises:
            CallError: the map has no such file.
        """
        if [name] != self.files(carla_map, FOLDER):
            raise CallError(f"request_file: there is no file {name!r}; {self.files(carla_map, FOLDER)[0]!r} is there")
        if name not in self._meshes:
            self._meshes[name] = make_mesh(carla_map.graph)
        return self._meshes[name]


def walkable(graph: LaneGraph, cell: float) -> tuple[NDArray[np.uint8], float, float]:
    """Area of every square (0: none), and x and y of the grid's corner, OpenDRIVE's frame."""
    layers = rasterise(graph, 1.0 / cell, _frame(graph))
    road = (layers.codes & ROAD) > 0
    beside = ndimage.distance_transform_edt(~road) * cell
    areas = np.where(~road & (beside <= PAVEMENT), SIDEWALK, 0).astype(np.uint8)
    crossing = np.zeros_like(layers.codes)
    for number in range(len(graph.crosswalk_start) - 1):
        corners = (graph.crosswalk(number) - (layers.x, layers.y)) / cell
        if len(corners) == 4:
            fill_quad(crossing, *(float(value) for value in corners.ravel()), 1, False)
    reach = ndimage.binary_dilation(crossing > 0, iterations=max(1, round(1.5 / cell)))
    areas[road & reach] = CROSSWALK
    return areas, layers.x, layers.y


def _frame(graph: LaneGraph) -> NDArray[np.float64]:
    """A speck in each corner of the map, so that the raster holds the pavement around it."""
    low, high = graph.points.min(axis=0) - 12.0, graph.points.max(axis=0) + 12.0
    return np.array([np.tile(low, (4, 1)), np.tile(high, (4, 1))])


def make_mesh(graph: LaneGraph) -> bytes:
    """The file.

    Args:
        graph: the map.
    """
    cell = CELL
    areas, x0, y0 = walkable(graph, cell)
    while np.count_nonzero(areas) > MOST_CELLS:
        cell *= 1.25
        areas, x0, y0 = walkable(graph, cell)
    rows, columns = np.nonzero(areas)
    number = np.full((areas.shape[0] + 2, areas.shape[1] + 2), -1)
    number[rows + 1, columns + 1] = np.arange(len(rows))
    corner_of, corners = np.unique(
        np.concatenate([np.stack([rows + dr, columns + dc], 1) for dr, dc in _CORNERS]), axis=0, return_inverse=True
    )
    x, y = x0 + cell * corner_of[:, 1], y0 + cell * corner_of[:, 0]
    _, near = spatial.KDTree(graph.points).query(np.stack([x, y], 1))
    points = np.stack([x, graph.elevation[near], -y], 1).astype("<f4")  # Detour's y is up; CARLA's y points right
    polygons = np.zeros(len(rows), POLYGON)
    polygons["first_link"] = 0xFFFFFFFF
    polygons["corners"][:, :4] = corners.reshape(4, -1).T
    for edge, (dr, dc) in enumerate(_NEIGHBOURS):
        polygons["neighbours"][:, edge] = number[rows + 1 + dr, columns + 1 + dc] + 1
    polygons["area"] = areas[rows, columns]
    polygons["flags"] = 1 << areas[rows, columns].astype(int)
    polygons["count"] = 4
    return _file(points, polygons)


# Row and column from a square's own to its corners. In Detour's frame x goes along columns and z against rows, and
# corners run so that dtTriArea2D is positive: from (low z, low x) to (high z, low x), and on.
_CORNERS = ((1, 0), (0, 0), (0, 1), (1, 1))
_NEIGHBOURS = ((0, -1), (-1, 0), (0, 1), (1, 0))


def _file(points: NDArray[np.float32], polygons: NDArray[np.void]) -> bytes:
    count = len(polygons)
    details = np.zeros(count, DETAIL)
    details["triangle"], details["triangles"] = 2 * np.arange(count), 2
    # Corners, and two bits per side: whether it lies on the polygon's edge.
    triangles = np.tile(np.array([[0, 1, 2, 0b000101], [0, 2, 3, 0b010100]], np.uint8), (count, 1))
    low, high = points.min(axis=0) - (0.0, 1.0, 0.0), points.max(axis=0) + (0.0, 1.0, 0.0)
    sizes = (count, len(points), 4 * count, count, 0, 2 * count, 0, 0, count)
    magic = int.from_bytes(b"VAND", "little")
    header = _HEADER.pack(magic, 7, 0, 0, 0, 0, *sizes, HEIGHT, RADIUS, CLIMB, *low, *high, 1.0)
    tile = (
        b"".join((header, points.tobytes(), polygons.tobytes(), bytes(LINK_BYTES * 4 * count), details.tobytes()))
        + triangles.tobytes()
    )
    polygon_bits = max(1, (count - 1).bit_length())
    span = high - low
    magic = int.from_bytes(b"TESM", "little")
    container = _CONTAINER.pack(magic, 1, 1, *low, span[0] + 1.0, span[2] + 1.0, 1, 1 << polygon_bits)
    return container + _TILE.pack(1 << polygon_bits, len(tile)) + tile
