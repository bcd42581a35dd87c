"""CaRL's reward: every factor by hand, what lasts, and what ends an episode."""

import numpy as np
import pytest

from envs.driving.scores.carl_reward import CarlReward, CarlRewardSettings
from envs.driving.world.records import Kind
from envs.driving.world.route_driver import RouteDriver, pedal_for
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, crossing, straight_road

BARE = CarlRewardSettings(overspeed=1e9, forecast_factor=1.0, comfort_factor=0.0, lane_softener=0.0)


def world(settings=None, graph=None, **start):
    worlds = DrivingWorlds(graph or straight_road(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, **{"route": (0,), "first_arc": 10.0, "last_arc": 210.0, "speed": 10.0} | start)})
    assert worlds.errors == [""]
    return worlds, CarlReward(worlds, settings)


def cruise(worlds):
    speed = float(worlds.actors["speed"][0, 0])
    worlds.step(np.array([[0.0, pedal_for(0.0, speed, worlds.parameters)]]))


def test_progress_in_percent():
    """About 1 m of 200 m per step: half a percent."""
    worlds, reward = world()
    cruise(worlds)
    values, terminated, truncated = reward.score()
    assert values[0] == pytest.approx(100.0 * worlds.actors["x"][0, 0] / 200.0 - 5.0)
    assert values[0] == pytest.approx(0.5, abs=0.01)
    assert not terminated[0]
    assert not truncated[0]


@pytest.mark.parametrize("lanes", [(0, 8, 7), (0, 10, 5)])
def test_a_finished_route_sums_to_100(lanes):
    worlds, reward = world(BARE, crossing(), route=lanes, last_arc=60.0, speed=0.0)
    driver, total = RouteDriver(worlds), 0.0
    for _ in range(1500):
        worlds.step(driver.act())
        values, terminated, truncated = reward.score()
        total += values[0]
        assert not terminated[0]
        if truncated[0]:
            break
    assert truncated[0]
    assert total == pytest.approx(100.0)


@pytest.mark.parametrize(("excess", "factor"), [(-1.0, 1.0), (1.115, 0.5), (3.0, 0.0)])
def test_speeding(excess, factor):
    worlds, reward = world(speed=13.9 + excess)
    cruise(worlds)
    metres = worlds.worlds["route_arc"][0]
    assert reward.score()[0][0] == pytest.approx(metres / 2.0 * factor, abs=0.01)


@pytest.mark.parametrize(("offset", "factor"), [(0.0, 1.0), (0.875, 0.5), (-0.4375, 0.75)])
def test_off_the_centre_of_the_lane(offset, factor):
    worlds, reward = world()
    worlds.actors["y"][0, 0] = offset
    cruise(worlds)
    assert reward.score()[0][0] == pytest.approx(0.5 * factor, abs=0.01)


def test_outside_the_lanes_nothing_is_earned():
    worlds, reward = world(BARE)
    worlds.actors["y"][0, 0] = -2.5
    cruise(worlds)
    assert worlds.worlds["route_arc"][0] > 0.5
    assert reward.score()[0][0] == 0.0


def test_an_imminent_collision_is_remembered():
    """The obstacle is cleared away after it was seen: 3 steps at half the reward, then the whole again."""
    settings = CarlRewardSettings(penalty_steps=3)
    worlds, reward = world(settings, spawns=(Spawn(x=20.0, y=0.0, kind=Kind.OBSTACLE),))
    found = []
    for _ in range(6):
        cruise(worlds)
        found.append(reward.score()[0][0])
        worlds.actors["active"][0, 1] = 0
    assert found == pytest.approx([0.25, 0.25, 0.25, 0.5, 0.5, 0.5], abs=0.01)


def test_broken_comfort_bounds_cost_half_in_all():
    """Full braking from the tenth step: acceleration along and both jerks, but nothing sideways."""
    settings = CarlRewardSettings(comfort_factor=0.6)
    worlds, reward = world(settings, speed=13.0)
    for _ in range(10):
        cruise(worlds)
        value = reward.score()[0][0]
    assert value == pytest.approx(worlds.actors["speed"][0, 0] * 0.1 / 2.0, abs=0.01)
    for _ in range(8):
        before = worlds.worlds["route_arc"][0]
        worlds.step(np.array([[0.0, -1.0]]))
        value = reward.score()[0][0]
    metres = worlds.worlds["route_arc"][0] - before
    assert (reward.left[0] > 0).tolist() == [True, False, True, True, False, False, False]
    assert value == pytest.approx(metres / 2.0 * (1.0 - 0.6 * 3 / 6))


def test_collision_and_red_light_end_with_a_hint():
    worlds, reward = world(BARE, spawns=(Spawn(x=17.0, y=0.0, kind=Kind.OBSTACLE),))
    for _ in range(10):
        cruise(worlds)
        values, terminated, truncated = reward.score()
        if terminated[0]:
            break
    assert terminated[0]
    assert not truncated[0]
    assert values[0] == pytest.approx(-0.5, abs=0.01)
    lights = [Stop(lane=0, arc=30.0, group=0, junction=3), Stop(lane=2, arc=200.0, group=1, junction=3)]
    worlds, reward = world(BARE, straight_road(stops=lights), first_arc=27.0)
    worlds.worlds["time"][0] = 0.0
    worlds.lights[0] = 0
    cruise(worlds)
    values, terminated, _ = reward.score()
    assert terminated[0]
    assert values[0] < -0.4


def test_leaving_the_road_ends_without_a_hint():
    worlds, reward = world(BARE)
    worlds.actors["y"][0, 0] = -4.0
    cruise(worlds)
    values, terminated, _ = reward.score()
    assert terminated[0]
    assert values[0] == 0.0


def test_worlds_that_do_not_run_earn_nothing_and_reset_forgets():
    worlds, reward = world(spawns=(Spawn(x=20.0, y=0.0, kind=Kind.OBSTACLE),))
    cruise(worlds)
    reward.score()
    assert reward.left.any()
    worlds.reset({0: Start(seed=0, route=(0, 2))})
    reward.reset([0])
    assert not reward.left.any()
    worlds.step(np.zeros((1, 2)))
    values, terminated, truncated = reward.score()
    assert (values[0], terminated[0], truncated[0]) == (0.0, False, False)
