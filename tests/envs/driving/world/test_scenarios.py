"""Scenarios: what a start asks for is there, and misbehaviour happens."""

import numpy as np
import pytest

from envs.driving.world.records import Controller, Kind, Light
from envs.driving.world.route_driver import pedal_for
from envs.driving.world.scenarios import scenario
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import crossing, straight_road
from tests.envs.driving.world.test_traffic import put


def test_difficulty_fills_the_slots():
    easy, middle, hard = (scenario(3, difficulty, 21) for difficulty in (0.0, 0.3, 1.0))
    assert easy == Start(seed=3)
    assert middle.traffic + middle.pedestrians == 6
    assert middle.obstacles == middle.occluded == middle.cut_ins == middle.jaywalkers == middle.red_runners == 0
    assert hard.traffic + hard.pedestrians + hard.obstacles + 2 * hard.occluded == 20
    assert min(hard.cut_ins, hard.jaywalkers, hard.red_runners, hard.obstacles, hard.occluded) > 0
    with pytest.raises(ValueError, match=r"difficulty is 1\.5"):
        scenario(3, 1.5, 21)


def test_red_light_runners_run_red_lights():
    worlds = DrivingWorlds(crossing(), worlds=2, actors=7)
    worlds.reset({w: Start(seed=w, traffic=6, red_runners=1.0) for w in range(2)})
    worlds.actors["active"][:, 0] = 0
    lane, ran = worlds.actors["lane"].copy(), 0
    for _ in range(400):
        worlds.step(np.zeros((2, 2)))
        actors = worlds.actors
        entered = (actors["controller"] == Controller.TRAFFIC) & (lane >= 0) & (lane < 4) & (actors["lane"] >= 8)
        ran += sum(int(worlds.lights[w, lane[w, i]] == Light.RED) for w, i in zip(*np.nonzero(entered), strict=True))
        lane = np.where(actors["active"] == 1, actors["lane"], -1)
    assert ran > 0


def test_jaywalkers_step_in_front_of_vehicles_and_careful_people_do_not():
    """A car at 13 m/s, 25 m from the way across of somebody whose wait is over."""
    away = {}
    for jaywalkers in (0.0, 1.0):
        worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
        worlds.reset({0: Start(seed=1, route=(2,), traffic=1, pedestrians=1, jaywalkers=jaywalkers)})
        walker = worlds.actors[0, 2]
        walker["x"] = walker["home_x"] = walker["goal_x"] = 200.0
        walker["y"], walker["home_y"], walker["goal_y"], walker["wait"] = -3.0, -3.0, 10.0, 0.0
        put(worlds, 1, 0, 175.0, 13.0)
        worlds.step(np.zeros((1, 2)))
        away[jaywalkers] = worlds.actors["y"][0, 2] + 3.0
    assert away[0.0] == 0.0
    assert away[1.0] > 0.05


def test_a_pedestrian_before_a_standing_vehicle_turns_back():
    """Blocked for three seconds on the way across, it goes home; it never walks into the vehicle."""
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(2,), pedestrians=1, spawns=(Spawn(x=200.0, y=0.0, kind=Kind.CAR),))})
    walker = worlds.actors[0, 2]
    walker["x"] = walker["home_x"] = walker["goal_x"] = 200.0
    walker["y"], walker["home_y"], walker["goal_y"], walker["wait"] = -5.0, -5.0, 10.0, 0.0
    places = []
    for _ in range(80):
        worlds.step(np.zeros((1, 2)))
        assert worlds.actors["touching"][0, 2] == -1
        places.append(worlds.actors["y"][0, 2])
    furthest = int(np.argmax(places))
    assert -2.6 < places[furthest] < -1.5
    assert sum(place == places[furthest] for place in places) >= 30
    assert places[-1] == pytest.approx(-5.0, abs=0.3)


@pytest.mark.parametrize(("cut_ins", "happens"), [(1.0, True), (0.0, False)])
def test_cutting_in(cut_ins, happens):
    """A vehicle on the left lane, 12 m ahead of the ego and as fast, takes its lane and ends on its centre."""
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=1, route=(0,), first_arc=50.0, speed=10.0, traffic=1, cut_ins=cut_ins)})
    put(worlds, 1, 1, 62.0, 10.0)
    worlds.actors["speed_factor"][0, 1] = 10.0 / 13.9
    sideways = [worlds.actors["y"][0, 1]]
    for _ in range(120):
        worlds.step(np.array([[0.0, pedal_for(0.0, 10.0, worlds.parameters)]]))
        sideways.append(worlds.actors["y"][0, 1])
    assert worlds.actors["lane"][0, 1] == (0 if happens else 1)
    assert sideways[-1] == pytest.approx(0.0 if happens else 3.5, abs=0.1)
    assert np.abs(np.diff(sideways)).max() < 0.25, "no faster than 2.5 m/s sideways"
    assert worlds.worlds["counts"].sum() == 0


def test_traffic_passes_what_stands_on_its_lane_where_there_is_another():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(2,), traffic=1, spawns=(Spawn(x=200.0, y=3.5, kind=Kind.OBSTACLE),))})
    put(worlds, 2, 1, 120.0, 10.0)
    for _ in range(250):
        worlds.step(np.zeros((1, 2)))
        assert worlds.actors["touching"][0, 2] == -1
        if worlds.actors["arc"][0, 2] > 230.0:
            break
    assert worlds.actors["lane"][0, 2] == 0
    assert worlds.actors["arc"][0, 2] > 230.0
