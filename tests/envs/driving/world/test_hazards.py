"""Obstacles leave a way past; a pedestrian hidden by a van steps out before the ego, which can still brake."""

import math

import numpy as np
import pytest

from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import MAPS, shipped_map
from envs.driving.scores.scores import driving_score, route_completion
from envs.driving.world.occupancy import CORRIDOR
from envs.driving.world.records import EVENTS, Controller, Kind
from envs.driving.world.route_driver import RouteDriver, pedal_for
from envs.driving.world.scenarios import scenario
from envs.driving.world.start import Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import ring, straight_road


def edge_beside(worlds, w, index):
    """Metres between the centre of the nearest route point's lane and the nearest side of an actor."""
    actor, route = worlds.actors[w, index], worlds.routes[w, : worlds.worlds["route_count"][w]]
    point = route[np.argmin(np.hypot(route["x"] - actor["x"], route["y"] - actor["y"]))]
    across = (actor["y"] - point["y"]) * math.cos(point["heading"]) - (actor["x"] - point["x"]) * math.sin(
        point["heading"]
    )
    return abs(across) - actor["half_width"]


def test_obstacles_on_a_single_lane_leave_what_traffic_needs():
    worlds = DrivingWorlds(ring(), worlds=8, actors=4)
    worlds.reset({w: Start(seed=w, route=(0, 1), obstacles=3) for w in range(8)})
    there = np.argwhere((worlds.actors["kind"] == Kind.OBSTACLE) & (worlds.actors["active"] == 1))
    assert len(there) >= 16
    for w, index in there:
        assert CORRIDOR < edge_beside(worlds, w, index) < 1.75, "in the lane, but not in the way"


def test_obstacles_on_several_lanes_stand_in_the_way():
    worlds = DrivingWorlds(straight_road(), worlds=8, actors=4)
    worlds.reset({w: Start(seed=w, route=(0,), obstacles=3) for w in range(8)})
    there = np.argwhere((worlds.actors["kind"] == Kind.OBSTACLE) & (worlds.actors["active"] == 1))
    assert len(there) >= 16
    inside = [edge_beside(worlds, w, index) < 0.0 for w, index in there if 40.0 < worlds.actors["x"][w, index] < 360.0]
    assert len(inside) > 8
    assert all(inside)


def crossing_worlds(count=8):
    worlds = DrivingWorlds(straight_road(), worlds=count, actors=3)
    worlds.reset({w: Start(seed=w, route=(0,), speed=12.0, occluded=1) for w in range(count)})
    assert (worlds.actors["active"] == 1).all()
    return worlds


def test_the_van_hides_the_pedestrian():
    """Seen from the ego 40 m before, the pedestrian is behind the van; neither is on the lane."""
    worlds = crossing_worlds()
    for van, walker in worlds.actors[:, 1:]:
        assert (van["kind"], van["controller"]) == (Kind.TRUCK, Controller.STILL)
        assert (walker["kind"], walker["controller"]) == (Kind.PEDESTRIAN, Controller.WALKER)
        assert van["y"] + van["half_width"] < -1.75
        assert walker["y"] < -1.75
        eye = walker["x"] - 40.0
        rear, front = (van["x"] + side * van["half_length"] for side in (-1.0, 1.0))
        seen = walker["y"] * (np.array([rear, front]) - eye) / 40.0  # the line of sight at both ends of the van
        assert (np.abs(seen - van["y"]) < van["half_width"]).any()
        assert walker["goal_y"] > 7.0 + 1.75, "to the other side of the road"


def approach(worlds, drive):
    """Steps until all pedestrians are across; what was hit, and how far each ego was when somebody stepped out."""
    distance = np.full(len(worlds.worlds), np.nan)
    for _ in range(600):
        worlds.step(drive(worlds))
        out = (worlds.actors["ambush"][:, 2] == 0) & np.isnan(distance)
        distance[out] = worlds.actors["x"][out, 2] - worlds.actors["x"][out, 0]
    return distance, worlds.worlds["counts"][:, EVENTS.index("collision_pedestrian")]


def keep_speed(worlds):
    pedals = [pedal_for(0.0, float(speed), worlds.parameters) for speed in worlds.actors["speed"][:, 0]]
    return np.column_stack([np.zeros(len(pedals)), pedals])


def test_who_does_not_brake_hits_somebody():
    distance, hit = approach(crossing_worlds(), keep_speed)
    begin = 8.0 + 2.0 * 12.0  # noticed within a step of 1.2 m, looked at after the next one
    assert ((begin - 2.5 < distance) & (distance < begin)).all()
    assert hit.sum() >= 4


def test_who_looks_hits_nobody():
    worlds = crossing_worlds()
    driver = RouteDriver(worlds)
    distance, hit = approach(worlds, lambda _: driver.act())
    assert np.isfinite(distance).all()
    assert (distance > 12.0**2 / (2 * 4.952)).all(), "full braking suffices"
    assert hit.sum() == 0


def test_nobody_steps_out_before_an_ego_that_stands():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(0,), occluded=1)})
    worlds.actors["x"][0, 0] = worlds.actors["x"][0, 2] - 12.0
    for _ in range(100):
        worlds.step(np.zeros((1, 2)))
    assert worlds.actors["ambush"][0, 2] == 1
    assert worlds.actors["speed"][0, 2] == 0.0


@pytest.mark.parametrize("name", sorted(MAPS))
def test_the_rule_based_driver_copes_with_the_hardest_scenario(name):
    """The yardstick at difficulty 1: obstacles, hidden pedestrians, cut-ins, jaywalkers, red-light runners."""

    worlds = DrivingWorlds(load_map(shipped_map(name)), worlds=4, actors=48)
    worlds.reset({w: scenario(w, 1.0, 48, route_metres=250.0) for w in range(4)})
    driver, best = RouteDriver(worlds), np.zeros(4)
    for _ in range(1000):
        worlds.step(driver.act())
        best = np.maximum(best, np.where(route_completion(worlds.worlds) == 100.0, driving_score(worlds.worlds), 0.0))
        if best.all():
            break
    assert (best > 0.0).sum() >= 3
    assert best.mean() > 70.0
