"""Traffic on our maps and, where they are at hand, on CARLA's towns: it flows, keeps its lanes, never collides."""

from pathlib import Path

import numpy as np
import pytest

from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import MAPS, shipped_map
from envs.driving.scores.scores import driving_score, route_completion
from envs.driving.world.records import Controller
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.start import Start
from envs.driving.world.world import DrivingWorlds

TOWNS = Path(__file__).parents[5] / "shared" / "data" / "opendrive"
WORLDS, SECONDS = 4, 60


def assert_traffic_flows(graph):
    worlds = DrivingWorlds(graph, worlds=WORLDS, actors=21)
    worlds.reset({w: Start(seed=w, traffic=17, pedestrians=3) for w in range(WORLDS)})
    worlds.actors["active"][:, 0] = 0
    speeds = []
    for _ in range(10 * SECONDS):
        worlds.step(np.zeros((WORLDS, 2)))
        actors = worlds.actors
        driving = (actors["controller"] == Controller.TRAFFIC) & (actors["active"] == 1)
        assert (actors["touching"][driving] == -1).all()
        assert np.isfinite(actors["x"]).all()
        speeds.append(actors["speed"][driving].mean())
    assert driving.sum() > 0.8 * 17 * WORLDS
    assert np.mean(speeds[-200:]) > 2.0


@pytest.mark.parametrize("name", sorted(MAPS))
def test_traffic_flows_on_our_maps(name):
    assert_traffic_flows(load_map(shipped_map(name)))


@pytest.mark.parametrize("town", ["Town02", "Town05-nosignals", "Town10HD"])
def test_traffic_flows_in_towns(town):
    file = TOWNS / f"{town}.xodr"
    if not file.is_file():
        pytest.skip(f"{file} is not at hand")
    assert_traffic_flows(load_map(file))


@pytest.mark.parametrize("name", ["grid_town", "roundabout"])
def test_pedestrians_wait_beside_the_road(name):
    worlds = DrivingWorlds(load_map(shipped_map(name)), worlds=16, actors=5)
    worlds.reset({w: Start(seed=w, pedestrians=4, jaywalkers=0.5) for w in range(16)})
    walkers = worlds.actors[worlds.actors["controller"] == Controller.WALKER]
    walkers = walkers[walkers["active"] == 1]
    assert len(walkers) > 40
    points = worlds.map.points
    for end in ("home", "goal"):
        dx, dy = (points[axis][:, None] - walkers[f"{end}_{axis}"][None] for axis in "xy")
        free = np.hypot(dx, dy) - points["half_width"][:, None]
        assert free.min() > 0.0


@pytest.mark.parametrize("name", sorted(MAPS))
def test_the_rule_based_driver_arrives_on_our_maps(name):
    """The yardstick: routes of 300 m among 16 vehicles and 4 pedestrians."""
    worlds = DrivingWorlds(load_map(shipped_map(name)), worlds=WORLDS, actors=21)
    worlds.reset({w: Start(seed=w, traffic=16, pedestrians=4, route_metres=300.0) for w in range(WORLDS)})
    driver, score = RouteDriver(worlds), np.zeros(WORLDS)
    arrived = np.zeros(WORLDS, bool)
    for _ in range(1500):
        worlds.step(driver.act())
        now = route_completion(worlds.worlds) == 100.0
        score = np.where(now & ~arrived, driving_score(worlds.worlds), score)
        arrived |= now
        if arrived.all():
            break
    assert arrived.all()
    assert score.mean() > 90.0
