"""The vector observation against the map and the actors themselves."""

import math

import numpy as np
import pytest

from envs.driving.views.vector_observation import EGO, PARTNER, PIECE, ROUTE, STRIDE, VectorObservation
from envs.driving.world.records import Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import crossing, straight_road


def scene(graph=None, spawns=(), **start):
    worlds = DrivingWorlds(graph or straight_road(), worlds=1, actors=1 + len(spawns))
    worlds.reset({0: Start(seed=0, spawns=spawns, **{"route": (0,), "first_arc": 100.0, **start})})
    assert worlds.errors == [""]
    return worlds


def parts(observation, row, worlds):
    ego, rest = row[:EGO], row[EGO:]
    route, rest = rest[:ROUTE], rest[ROUTE:]
    pieces = rest[: observation.pieces * PIECE].reshape(-1, PIECE)
    return ego, route.reshape(-1, 2), pieces, rest[observation.pieces * PIECE :].reshape(-1, PARTNER)


def test_ego_and_route():
    observation = VectorObservation()
    worlds = scene(speed=10.0)
    rows = observation.observe(worlds)
    assert rows.shape == (1, observation.length) == (1, 578)
    ego, route, _, _ = parts(observation, rows[0], worlds)
    assert ego == pytest.approx([0.5, 0, 0, 0, 0, 0, 1, 13.9 / 20], abs=1e-6)
    assert route == pytest.approx(np.array([[2, 0], [4, 0], [8, 0], [16, 0], [32, 0]]) / 50)


def test_partners_in_the_egos_frame_nearest_first():
    spawns = (
        Spawn(x=140.0, y=0.0, kind=Kind.TRUCK, heading=math.pi / 2),
        Spawn(x=100.0, y=7.0, kind=Kind.CAR, heading=math.pi, speed=8.0),
        Spawn(x=160.0, y=0.0, kind=Kind.CAR),
    )
    worlds = scene(spawns=spawns)
    worlds.actors["heading"][0, 0] = math.pi / 2
    observation = VectorObservation(partners=4)
    _, _, _, partners = parts(observation, observation.observe(worlds)[0], worlds)
    assert partners[0] == pytest.approx([7 / 50, 0, 2.3 / 5, 0.95 / 5, 0, 1, 8 / 20], abs=1e-6)
    assert partners[1] == pytest.approx([0, -40 / 50, 3 / 5, 1.15 / 5, 1, 0, 0], abs=1e-6)
    assert not partners[2:].any(), "the third is beyond 50 m, a fourth there is not"


@pytest.mark.parametrize("wanted", [5, 40])
@pytest.mark.parametrize("arc", [10.0, 60.0, 79.0])
def test_pieces_are_the_nearest(wanted, arc):
    worlds = scene(graph=crossing(), route=(0, 9, 4), first_arc=arc)
    observation = VectorObservation(pieces=wanted, radius=30.0)
    _, _, pieces, _ = parts(observation, observation.observe(worlds)[0], worlds)
    points, ego = worlds.map.points, worlds.actors[0, 0]
    first = worlds.map.lanes["start"][points["lane"]]
    piece = points[(np.arange(len(points)) - first) % STRIDE == 0]
    distance = np.sort(np.hypot(piece["x"] - ego["x"], piece["y"] - ego["y"]))
    distance = distance[distance <= 30.0][:wanted]
    found = np.hypot(pieces[:, 0], pieces[:, 1]) * 50
    assert found[: len(distance)] == pytest.approx(distance, abs=1e-4)
    assert not pieces[len(distance) :].any()


def test_a_piece_says_where_the_lane_goes():
    worlds = scene()
    observation = VectorObservation(pieces=3)
    _, _, pieces, _ = parts(observation, observation.observe(worlds)[0], worlds)
    assert pieces[0] == pytest.approx([0, 0, 2 / 5, 1.75 / 5, 1, 0, 13.9 / 20], abs=1e-6)
    junction = scene(graph=crossing(), route=(0, 9, 4), first_arc=85.0)
    _, _, pieces, _ = parts(observation, observation.observe(junction)[0], junction)
    assert pieces[0, 6] < 0
