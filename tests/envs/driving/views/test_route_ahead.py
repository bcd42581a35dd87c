"""What the ego is told of its route: distances by hand on maps made by hand."""

import numpy as np
import pytest

from envs.driving.views.route_ahead import (
    FREE,
    GAP,
    GAP_SPEED,
    IS_RED,
    IS_SIGN,
    IS_YELLOW,
    JUNCTION,
    LENGTH,
    LINE,
    SPEED,
    WANTED,
    RouteAhead,
)
from envs.driving.world.lights import GREEN, RED, YELLOW
from envs.driving.world.records import Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, crossing, straight_road


def look(worlds):
    row = RouteAhead(worlds).observe()[0]
    assert row.shape == (LENGTH,) and row.dtype == np.float32
    return row


def road(stops=(), **start):
    worlds = DrivingWorlds(straight_road(stops=list(stops)), worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, **{"route": (0,), "first_arc": 20.0, "speed": 10.0} | start)})
    assert worlds.errors == [""]
    return worlds, float(worlds.actors["half_length"][0, 0])


def test_an_empty_road():
    row = look(road()[0])
    assert row[[LINE, GAP, JUNCTION]].tolist() == [3.0, 3.0, 3.0]
    assert row[FREE] == 1.0
    assert row[SPEED] == pytest.approx(0.5)
    assert row[WANTED] == pytest.approx(13.9 / 20.0)


@pytest.mark.parametrize(("light", "told"), [(RED, (1, 0, 0)), (YELLOW, (0, 1, 0)), (GREEN, (0, 0, 0))])
def test_lights(light, told):
    worlds, half = road([Stop(0, 60.0), Stop(0, 90.0)])
    worlds.lights[0, :] = light
    row = look(worlds)
    assert row[LINE] * 50.0 == pytest.approx(40.0 - half, abs=1e-3)  # the first of the two
    assert tuple(row[[IS_RED, IS_YELLOW, IS_SIGN]]) == told


def test_a_stop_sign_counts_until_it_was_halted_at():
    worlds, half = road([Stop(0, 60.0, kind=1)])
    row = look(worlds)
    assert row[LINE] * 50.0 == pytest.approx(40.0 - half, abs=1e-3)
    assert row[IS_SIGN] == 1.0
    worlds.actors["served_stop"][0, 0] = 0
    row = look(worlds)
    assert (row[LINE], row[IS_SIGN]) == (3.0, 0.0)


def test_who_is_ahead():
    worlds, half = road(spawns=(Spawn(x=70.0, y=0.0, kind=Kind.CAR),))
    row = look(worlds)
    ahead = 70.0 - float(worlds.actors["x"][0, 0]) - half - float(worlds.actors["half_length"][0, 1])
    assert row[GAP] * 50.0 == pytest.approx(ahead, abs=1e-3)
    assert row[GAP_SPEED] == 0.0
    behind, _ = road(spawns=(Spawn(x=5.0, y=0.0, kind=Kind.OBSTACLE),))
    assert look(behind)[GAP] == 3.0


def test_a_junction_is_free_until_somebody_stands_in_it():
    graph = crossing()
    worlds = DrivingWorlds(graph, worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, route=(0, 8, 7))})
    row = look(worlds)
    length, half = worlds.map.lanes["length"][0], worlds.actors["half_length"][0, 0]
    assert row[JUNCTION] * 50.0 == pytest.approx(length - 5.0 - half, abs=0.05)
    assert row[FREE] == 1.0
    way = worlds.map.lanes[8]
    middle = worlds.map.points[(way["start"] + way["stop"]) // 2]
    worlds.spawn(0, 1, Spawn(x=float(middle["x"]), y=float(middle["y"]), heading=np.pi / 2))
    assert look(worlds)[FREE] == 0.0


def test_worlds_without_a_route_are_told_nothing():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=1)
    assert not RouteAhead(worlds).observe().any()
