"""The mesh that walkers find their ways with: read back by the layout of Detour."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from envs.carla_server.limits import CallError
from envs.carla_server.maps import MapLibrary
from envs.carla_server.navigation import CELL, CROSSWALK, PAVEMENT, POLYGON, SIDEWALK, Navigation


@pytest.fixture(scope="module")
def mesh():
    carla_map = MapLibrary().load("grid_town")
    navigation = Navigation()
    (name,) = navigation.files(carla_map, "Nav")
    return carla_map, navigation.file(carla_map, name)


def parts(data):
    """Points ``[V, 3]`` and polygons of the file."""
    magic, version, tiles = struct.unpack_from("<iii", data)
    assert (magic.to_bytes(4, "big"), version, tiles) == (b"MSET", 1, 1)
    reference, size = struct.unpack_from("<Ii", data, 40)
    assert reference > 0 and size == len(data) - 48
    magic, version = struct.unpack_from("<ii", data, 48)
    assert (magic.to_bytes(4, "big"), version) == (b"DNAV", 7)
    polygons, points, links, details, _, triangles = struct.unpack_from("<6i", data, 48 + 24)
    assert (links, details, triangles) == (4 * polygons, polygons, 2 * polygons)
    assert size == 100 + 12 * points + 32 * polygons + 12 * links + 12 * details + 4 * triangles
    at = 48 + 100
    places = np.frombuffer(data, "<f4", 3 * points, at).reshape(-1, 3)
    return places, np.frombuffer(data, POLYGON, polygons, at + 12 * points)


def test_squares_are_as_detour_wants_them(mesh):
    places, polygons = parts(mesh[1])
    corners = places[polygons["corners"][:, :4]]
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = ac[:, 0] * ab[:, 2] - ab[:, 0] * ac[:, 2]  # dtTriArea2D: above 0, or no point is ever drawn there
    assert area == pytest.approx(CELL**2, rel=1e-3)
    assert set(polygons["area"]) == {SIDEWALK, CROSSWALK}
    assert (polygons["flags"] == 1 << polygons["area"]).all()


def test_neighbours_share_their_edge(mesh):
    _, polygons = parts(mesh[1])
    corners, neighbours = polygons["corners"][:, :4].astype(int), polygons["neighbours"][:, :4].astype(int) - 1
    for edge in range(4):
        here = np.flatnonzero(neighbours[:, edge] >= 0)
        there = neighbours[here, edge]
        mine = corners[here][:, [edge, (edge + 1) % 4]]
        back = (edge + 2) % 4
        assert (neighbours[there, back] == here).all()
        assert (corners[there][:, [(back + 1) % 4, back]] == mine).all()
    assert (neighbours >= 0).mean() > 0.5


def test_pavement_lies_beside_the_road(mesh):
    carla_map, data = mesh
    places, polygons = parts(data)
    middles = places[polygons["corners"][:, :4]].mean(axis=1)
    graph = carla_map.graph
    walks = middles[polygons["area"] == SIDEWALK][::50]
    for x, _, y in walks:
        distance = np.hypot(graph.points[:, 0] - x, graph.points[:, 1] + y)
        beyond = (distance - graph.width / 2).min()
        assert -0.8 < beyond < PAVEMENT + 1.5


def test_other_files_are_not_there(mesh):
    navigation = Navigation()
    assert navigation.files(mesh[0], "") == []
    with pytest.raises(CallError, match="there is no file '../../etc/passwd'"):
        navigation.file(mesh[0], "../../etc/passwd")
