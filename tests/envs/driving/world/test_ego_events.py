"""What counts as an event of the ego, each caused on purpose."""

import math

import numpy as np
import pytest

from envs.driving.world.parameters import Criteria, WorldParameters
from envs.driving.world.records import EVENTS, Kind, Light
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, crossing, straight_road

GO = np.array([[0.0, 1.0]])
HOLD = np.array([[0.0, 0.0]])


def world(start, graph=None, **criteria):
    settings = WorldParameters(criteria=Criteria(**criteria))
    worlds = DrivingWorlds(graph or straight_road(), worlds=1, actors=4, parameters=settings)
    worlds.reset({0: start})
    assert worlds.errors == [""]
    return worlds


def happened(worlds):
    """Names of this step's events."""
    return {name for bit, name in enumerate(EVENTS) if worlds.worlds["events"][0] >> bit & 1}


def counts(worlds):
    return dict(zip(EVENTS, worlds.worlds["counts"][0].tolist(), strict=True))


def place(worlds, x, y, heading=0.0, speed=0.0):
    ego = worlds.actors[0, 0]
    ego["x"], ego["y"], ego["heading"], ego["speed"] = x, y, heading, speed
    worlds.step(HOLD)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.CAR, "collision_vehicle"),
        (Kind.BICYCLE, "collision_vehicle"),
        (Kind.PEDESTRIAN, "collision_pedestrian"),
        (Kind.OBSTACLE, "collision_static"),
    ],
)
def test_a_contact_counts_once_while_it_lasts(kind, name):
    worlds = world(Start(seed=0, route=(0,), speed=8.0, spawns=(Spawn(x=30.0, y=0.0, kind=kind),)))
    gap = 25.0 - 2.3 - worlds.actors["half_length"][0, 1]
    for _ in range(60):
        worlds.step(GO)
        if name in happened(worlds):
            break
    assert name in happened(worlds)
    assert worlds.worlds["distance"][0] == pytest.approx(gap, abs=1.3)
    assert worlds.worlds["contact"][0] == 1
    worlds.step(HOLD)
    assert name not in happened(worlds)
    assert counts(worlds)[name] == 1
    assert sum(counts(worlds).values()) == 1


def test_forecast_warns_before_the_contact():
    """Free gap over speed below 0.9 s at constant velocity."""
    worlds = world(Start(seed=0, route=(0,), speed=10.0, spawns=(Spawn(x=30.0, y=0.0, kind=Kind.CAR),)))
    for _ in range(40):
        worlds.step(HOLD)
        ego = worlds.actors[0, 0]
        gap = 30.0 - 4.6 - ego["x"]
        if worlds.worlds["imminent_collision"][0]:
            break
        assert gap > ego["speed"] * 0.7 - 0.01
    assert 0.0 < gap < 0.9 * ego["speed"]


def light_graph(kind=0):
    return straight_road(stops=[Stop(0, 100.0, kind, 0, 3), Stop(2, 100.0, kind, 1, 3)])


def wait_for(worlds, state):
    """Keep the ego standing before the line until its light shows ``state`` with time to cross."""
    for _ in range(1000):
        worlds.step(HOLD)
        if worlds.lights[0, 0] == state and worlds.lights_left[0, 0] > 1.5:
            return
    raise AssertionError(state)


@pytest.mark.parametrize("state", [Light.RED, Light.YELLOW, Light.GREEN])
def test_running_a_red_light(state):
    worlds = world(Start(seed=0, route=(0,), first_arc=92.0), light_graph())
    wait_for(worlds, state)
    worlds.actors["speed"][0, 0] = 10.0
    fronts = []
    for _ in range(12):
        worlds.step(HOLD)
        if "red_light" in happened(worlds):
            fronts.append(worlds.actors["x"][0, 0] + 2.3)
    assert worlds.actors["x"][0, 0] > 100.0
    assert counts(worlds)["red_light"] == (state == Light.RED)
    assert all(100.0 <= front < 101.1 for front in fronts)


def test_a_red_light_of_the_other_direction_does_not_concern_the_ego():
    worlds = world(Start(seed=0, route=(0,), first_arc=290.0, speed=10.0), light_graph())
    for _ in range(30):
        worlds.step(HOLD)
    assert worlds.actors["x"][0, 0] > 305.0
    assert counts(worlds)["red_light"] == 0


@pytest.mark.parametrize("halts", [True, False])
def test_stop_sign(halts):
    worlds = world(Start(seed=0, route=(0,), first_arc=94.0 if halts else 60.0), light_graph(kind=1))
    worlds.step(HOLD)
    worlds.actors["speed"][0, 0] = 0.0 if halts else 8.0
    for _ in range(80):
        worlds.step(GO)
    assert worlds.actors["x"][0, 0] > 103.0
    assert counts(worlds)["stop_sign"] == (not halts)


def test_leaving_the_road():
    worlds = world(Start(seed=0, route=(0,), first_arc=45.0))
    place(worlds, 50.0, 0.0)
    assert worlds.worlds["off_road_fraction"][0] == 0.0
    place(worlds, 50.0, -1.75)
    assert worlds.worlds["off_road_fraction"][0] == pytest.approx(1 / 3), "one of three rows of the box"
    place(worlds, 50.0, -1.76)
    assert worlds.worlds["outside_lanes"][0] == 1
    assert "off_road" not in happened(worlds)
    place(worlds, 50.0, -3.0)
    assert worlds.worlds["off_road_fraction"][0] == 1.0
    assert happened(worlds) == {"off_road"}
    place(worlds, 50.0, -3.0)
    assert "off_road" not in happened(worlds), "it has not come back in between"
    assert counts(worlds)["off_road"] == 1


def test_wrong_way_and_markings():
    worlds = world(Start(seed=0, route=(0,), first_arc=45.0))
    place(worlds, 50.0, 0.7)
    assert happened(worlds) == set()
    place(worlds, 50.0, 1.2)
    assert happened(worlds) == {"lane_invasion"}, "its left side is 0.4 m beyond the broken line"
    assert worlds.worlds["outside_lanes"][0] == 0
    place(worlds, 50.0, 3.5)
    assert worlds.worlds["lane"][0] == 1
    place(worlds, 50.0, 7.0)
    assert happened(worlds) == {"wrong_way"}
    assert worlds.worlds["outside_lanes"][0] == 1
    place(worlds, 50.0, 7.0, heading=math.pi)
    assert worlds.worlds["outside_lanes"][0] == 0


def test_progress_is_monotone_arc_length():
    worlds = world(Start(seed=0, route=(0,), first_arc=10.0, last_arc=110.0, speed=10.0))
    assert worlds.worlds["route_length"][0] == pytest.approx(100.0)
    last = 0.0
    for _ in range(40):
        worlds.step(HOLD)
        arc = worlds.worlds["route_arc"][0]
        assert arc == pytest.approx(worlds.actors["x"][0, 0] - 10.0, abs=1e-6)
        assert arc > last
        last = arc
    worlds.actors["x"][0, 0] -= 15.0
    worlds.actors["speed"][0, 0] = 0.0
    worlds.step(HOLD)
    assert worlds.worlds["route_arc"][0] == last


def test_route_offset_and_angle():
    worlds = world(Start(seed=0, route=(0,), first_arc=10.0))
    place(worlds, 13.0, 0.6, heading=0.2)
    assert worlds.worlds["route_offset"][0] == pytest.approx(0.6)
    assert worlds.worlds["route_angle"][0] == pytest.approx(0.2)
    assert worlds.worlds["speed_limit"][0] == pytest.approx(13.9)


def test_way_outside_the_lanes_is_kept_apart():
    """10 m on the road, 5 m beside it."""
    worlds = world(Start(seed=0, route=(0,), first_arc=10.0, speed=10.0))
    while worlds.worlds["route_arc"][0] < 10.0:
        worlds.step(HOLD)
    inside = worlds.worlds["route_arc"][0]
    worlds.actors["y"][0, 0] = -2.5
    while worlds.worlds["route_arc"][0] < 15.0:
        worlds.step(HOLD)
    assert worlds.worlds["outside_arc"][0] == pytest.approx(worlds.worlds["route_arc"][0] - inside)


def test_route_completed_and_deviation_and_blocked():
    worlds = world(Start(seed=0, route=(0,), first_arc=10.0, last_arc=20.0, speed=10.0), blocked_seconds=2.0)
    for _ in range(11):
        worlds.step(HOLD)
    assert counts(worlds)["route_completed"] == 1
    worlds.actors["speed"][0, 0] = 0.0
    for _ in range(20):
        worlds.step(HOLD)
    assert counts(worlds)["blocked"] == 0
    worlds.step(HOLD)
    assert happened(worlds) == {"blocked"}
    place(worlds, 20.0, -29.0)
    assert "route_deviation" not in happened(worlds)
    place(worlds, 20.0, -31.0)
    assert "route_deviation" in happened(worlds)


def test_ego_on_its_route_through_a_crossing_has_no_events():
    """Steered along the route by hand: nothing is invaded, left or missed on the way through a junction."""
    worlds = world(Start(seed=0, route=(0, 8, 7), first_arc=40.0, speed=5.0), crossing())
    worlds.actors["obeys_lights"][0, 0] = 0
    for _ in range(400):
        route, ego = worlds.routes[0], worlds.actors[0, 0]
        ahead = route[min(worlds.worlds["route_index"][0] + 4, worlds.worlds["route_count"][0] - 1)]
        angle = math.atan2(ahead["y"] - ego["y"], ahead["x"] - ego["x"]) - ego["heading"]
        steer = 2.0 * math.atan2(math.sin(angle), math.cos(angle))
        worlds.step(np.array([[steer, 0.05 if ego["speed"] < 5.0 else -0.1]]))
        if counts(worlds)["route_completed"]:
            break
    found = counts(worlds)
    found.pop("red_light")
    assert found.pop("route_completed") == 1
    assert set(found.values()) == {0}, found
