"""The rule-based driver passes what stands on its lane, over the lane beside, once that is free."""

import numpy as np
import pytest

from envs.driving.views.route_ahead import GAP, SHIFT, RouteAhead
from envs.driving.world.records import EVENTS, Kind
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import straight_road
from tests.envs.driving.world.test_traffic import put


def blocked_road(lane=0, between=1, traffic=0, speed=10.0, first_arc=100.0):
    worlds = DrivingWorlds(straight_road(between=between), worlds=1, actors=2 + traffic)
    obstacle = Spawn(x=130.0, y=3.5 * lane, kind=Kind.OBSTACLE)
    way = {"route": (lane,), "first_arc": first_arc, "last_arc": 250.0, "speed": speed}
    worlds.reset({0: Start(seed=0, spawns=(obstacle,), traffic=traffic, **way)})
    assert worlds.errors == [""]
    return worlds


def ride(worlds, steps=600):
    driver, places = RouteDriver(worlds), []
    for _ in range(steps):
        worlds.step(driver.act())
        places.append((worlds.actors["x"][0, 0], worlds.actors["y"][0, 0]))
        if worlds.worlds["counts"][0, -1]:
            break
    return np.array(places), dict(zip(EVENTS, worlds.worlds["counts"][0].tolist(), strict=True))


@pytest.mark.parametrize("lane", [0, 1])
def test_over_the_lane_beside_and_back(lane):
    places, counts = ride(blocked_road(lane))
    assert counts["route_completed"] == 1
    assert counts["collision_static"] == counts["wrong_way"] == counts["off_road"] == 0
    beside = np.interp(130.0, places[:, 0], places[:, 1])
    assert beside == pytest.approx(3.5 * (1 - lane), abs=0.6)
    assert places[-1, 1] == pytest.approx(3.5 * lane, abs=0.3)


def test_it_waits_until_the_lane_beside_is_free():
    """Somebody stands right beside: nobody passes before that one has gone."""
    worlds = blocked_road(traffic=1, speed=0.0, first_arc=112.0)
    put(worlds, 2, 1, 114.0, 0.0)
    worlds.actors["controller"][0, 2] = 0
    places, counts = ride(worlds, 150)
    assert np.abs(places[:, 1]).max() < 0.5
    assert places[-1, 0] < 130.0 - 4.6
    assert counts["collision_static"] == 0
    worlds.actors["active"][0, 2] = 0
    _, counts = ride(worlds)
    assert counts["route_completed"] == 1
    assert counts["collision_static"] == 0


def test_a_solid_line_is_not_crossed():
    places, counts = ride(blocked_road(between=2), 300)
    assert np.abs(places[:, 1]).max() < 0.5
    assert counts["route_completed"] == counts["collision_static"] == 0


def test_what_a_policy_is_told():
    """The way past leads 3.5 m to the left (units of 5 m), and what stands there does not count as ahead any more."""
    row = RouteAhead(blocked_road()).observe()[0]
    assert row[SHIFT] == pytest.approx(0.7)
    assert row[GAP] == 3.0
    row = RouteAhead(blocked_road(lane=1)).observe()[0]
    assert row[SHIFT] == pytest.approx(-0.7)
    row = RouteAhead(blocked_road(between=2)).observe()[0]
    assert row[SHIFT] == 0.0
    # 30 m to its centre, less both half lengths and the room kept before an obstacle
    assert row[GAP] * 50.0 == pytest.approx(30.0 - 4.6 - 4.0, abs=1e-3)
