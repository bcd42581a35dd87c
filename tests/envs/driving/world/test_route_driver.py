"""The rule-based driver: it arrives without infractions, alone and among others, and halts where it must."""

import numpy as np
import pytest

from envs.driving.world.parameters import WorldParameters
from envs.driving.world.records import EVENTS, Kind
from envs.driving.world.route_driver import RouteDriver, pedal_for
from envs.driving.world.start import Spawn, Start
from envs.driving.world.vehicle import pedal_acceleration
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, crossing, ring, straight_road

PARAMETERS = WorldParameters().record()


def drive(worlds, seconds):
    driver = RouteDriver(worlds)
    for _ in range(round(10 * seconds)):
        worlds.step(driver.act())
        if (worlds.worlds["counts"][:, EVENTS.index("route_completed")] > 0).all():
            break
    return [dict(zip(EVENTS, row.tolist(), strict=True)) for row in worlds.worlds["counts"]]


@pytest.mark.parametrize("acceleration", [-3.0, -0.05, 0.0, 0.7, 2.0])
@pytest.mark.parametrize("speed", [3.0, 15.0])
def test_pedals_give_the_wanted_acceleration(acceleration, speed):
    pedal = pedal_for(acceleration, speed, PARAMETERS)
    found = pedal_acceleration(speed, max(pedal, 0.0), max(-pedal, 0.0), PARAMETERS)
    assert found == pytest.approx(acceleration)


@pytest.mark.parametrize("lanes", [(0, 8, 7), (0, 9, 4), (0, 10, 5)])
@pytest.mark.parametrize("kind", [0, 1])
def test_it_gets_through_a_crossing_by_the_rules(lanes, kind):
    worlds = DrivingWorlds(crossing(kind=kind), worlds=1, actors=7)
    worlds.reset({0: Start(seed=4, route=lanes, traffic=6)})
    counts = drive(worlds, 120)[0]
    assert counts.pop("route_completed") == 1
    assert set(counts.values()) == {0}, counts


def test_it_changes_lanes_on_its_route():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=1)
    worlds.reset({0: Start(seed=0, route=(0, 1), first_arc=100.0, last_arc=300.0, speed=8.0)})
    counts = drive(worlds, 60)[0]
    assert counts["route_completed"] == 1
    assert worlds.actors["y"][0, 0] == pytest.approx(3.5, abs=0.3)
    assert counts["wrong_way"] == counts["off_road"] == 0


def test_it_halts_behind_what_stands_there():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, route=(0,), speed=10.0, spawns=(Spawn(x=150.0, y=0.0, kind=Kind.CAR),))})
    counts = drive(worlds, 40)[0]
    assert set(counts.values()) == {0}, counts
    assert worlds.actors["speed"][0, 0] < 0.2
    assert 140.0 < worlds.actors["x"][0, 0] < 145.4


def test_it_keeps_to_a_ring():
    worlds = DrivingWorlds(ring(), worlds=1, actors=1)
    worlds.reset({0: Start(seed=0, route=(0, 1, 0))})
    offsets = []
    driver = RouteDriver(worlds)
    for _ in range(300):
        worlds.step(driver.act())
        offsets.append(abs(worlds.worlds["route_offset"][0]))
    assert max(offsets) < 0.3
    assert worlds.worlds["route_arc"][0] > 200.0


def test_egos_that_failed_are_left_alone():
    worlds = DrivingWorlds(straight_road(stops=[Stop(0, 100.0)]), worlds=2, actors=1)
    worlds.reset({0: Start(seed=0, route=(0,)), 1: Start(seed=0, route=(0, 2))})
    actions = RouteDriver(worlds).act()
    assert actions[0, 1] > 0.0
    assert not actions[1].any()
    assert np.isfinite(actions).all()
