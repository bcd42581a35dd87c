"""The driver model against values by hand; vehicles on roads, at lights, stop signs, junctions and before people."""

import math

import numpy as np
import pytest

from envs.driving.world.car_following import desired_gap, idm_acceleration, pressure
from envs.driving.world.halting import must_stop_for_light
from envs.driving.world.parameters import TrafficModel, WorldParameters
from envs.driving.world.records import ACTOR, Controller, Kind, Light
from envs.driving.world.start import Spawn, Start
from envs.driving.world.traffic import wheel_towards
from envs.driving.world.vehicle import move
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, bridge, crossing, ring, straight_road

PARAMETERS = WorldParameters().record()
MODEL = TrafficModel()


def drive(worlds, seconds, action=(0.0, 0.0)):
    for _ in range(round(seconds * 10)):
        worlds.step(np.tile(action, (len(worlds.worlds), 1)))
        yield worlds.actors


def traffic(actors):
    return (actors["controller"] == Controller.TRAFFIC) & (actors["active"] == 1)


def put(worlds, index, lane, arc, speed):
    """Move a traffic vehicle of world 0 to a place on a straight lane along x."""
    actor = worlds.actors[0, index]
    start = worlds.map.lanes[lane]["start"]
    point = worlds.map.points[start]
    actor["x"], actor["y"] = point["x"] + arc * math.cos(point["heading"]), point["y"]
    actor["heading"], actor["lane"], actor["arc"] = point["heading"], lane, arc
    actor["z"] = point["z"]
    actor["velocity_x"], actor["velocity_y"] = speed * math.cos(point["heading"]), 0.0
    actor["speed"], actor["active"], actor["kind"], actor["speed_factor"] = speed, 1, Kind.CAR, 1.0
    actor["half_length"], actor["half_width"], actor["granted"], actor["served_stop"] = 2.3, 0.95, -1, -1


def test_desired_gap_by_hand():
    """2 + 20 * 1.2 + 20 * 5 / (2 sqrt(1.8 * 2.5)) at 20 m/s closing with 5 m/s."""
    assert desired_gap(20.0, 15.0, PARAMETERS) == pytest.approx(2.0 + 24.0 + 100.0 / (2.0 * math.sqrt(4.5)))
    assert desired_gap(10.0, 30.0, PARAMETERS) == 2.0, "never below the gap at standstill"


def test_acceleration_by_hand():
    assert idm_acceleration(0.0, 15.0, 0.0, PARAMETERS) == pytest.approx(1.8)
    assert idm_acceleration(15.0, 15.0, 0.0, PARAMETERS) == pytest.approx(0.0)
    strongest = pressure(10.0, 28.0, 10.0, PARAMETERS)  # s* = 14, gap 28
    assert strongest == pytest.approx(0.25)
    assert idm_acceleration(10.0, 20.0, strongest, PARAMETERS) == pytest.approx(1.8 * (1 - 0.5**4 - 0.25))
    assert idm_acceleration(10.0, 20.0, pressure(10.0, 0.0, 0.0, PARAMETERS), PARAMETERS) == -8.0
    assert idm_acceleration(30.0, 10.0, 0.0, PARAMETERS) == pytest.approx(-2.5), "a limit that drops at once"


def test_yellow_means_halt_where_3_ms2_suffice():
    assert must_stop_for_light(Light.RED, 5.0, 10.0)
    assert not must_stop_for_light(Light.GREEN, 5.0, 10.0)
    assert must_stop_for_light(Light.YELLOW, 16.7, 10.0), "100 / (2 * 3) = 16.67 m"
    assert not must_stop_for_light(Light.YELLOW, 16.6, 10.0)
    assert not must_stop_for_light(Light.RED, -2.0, 10.0), "the line lies behind"


@pytest.mark.parametrize("point", [(6.0, 0.0), (6.0, 2.0), (4.0, -3.0), (20.0, 0.5)])
@pytest.mark.parametrize("axles", [(1.4, 1.4), (-0.0908, 1.4178), (0.5, 2.0)])
def test_pursuit_leads_through_its_point(point, axles):
    """Driven with the wheel angle held, the centre passes through the point that was aimed at."""
    wheel = wheel_towards(*point, *axles)
    actor = np.zeros(1, ACTOR)[0]
    actor["speed"] = 1.0
    nearest = np.inf
    for _ in range(2500):
        move(actor, 0.0, wheel, *axles, 0.01)
        nearest = min(nearest, math.hypot(actor["x"] - point[0], actor["y"] - point[1]))
    assert nearest < 0.02


def test_follower_keeps_idms_equilibrium_gap():
    """Behind a slow leader at v the gap settles at s*(v) / sqrt(1 - (v/v0)^4)."""
    worlds = DrivingWorlds(straight_road(2000.0), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(2,), traffic=2)})
    put(worlds, 1, 0, 60.0, 7.0)
    put(worlds, 2, 0, 20.0, 13.0)
    worlds.actors["speed_factor"][0, 1] = 7.0 / 13.9
    for _ in drive(worlds, 80):
        pass
    leader, follower = worlds.actors[0, 1], worlds.actors[0, 2]
    assert leader["speed"] == pytest.approx(7.0, abs=0.02)
    gap = leader["arc"] - follower["arc"] - 4.6
    assert gap == pytest.approx((2.0 + 7.0 * 1.2) / math.sqrt(1.0 - (7.0 / 13.9) ** 4), abs=0.1)


def test_ring_traffic_flows_without_contact():
    """Twelve vehicles on 314 m: they stay on the lane and never touch."""
    worlds = DrivingWorlds(ring(), worlds=2, actors=13)
    worlds.reset({0: Start(seed=1, traffic=12, route_metres=50), 1: Start(seed=2, traffic=12, route_metres=50)})
    for actors in drive(worlds, 60, action=(0.0, 0.0)):
        moving = traffic(actors)
        assert (actors["touching"][moving] <= 0).all()
        assert np.abs(actors["offset"][moving]).max() < 0.12
    assert moving.sum() >= 20


def test_nobody_runs_a_red_light_and_everybody_gets_through():
    worlds = DrivingWorlds(crossing(), worlds=3, actors=11)
    worlds.reset({w: Start(seed=w, traffic=10, route_metres=20) for w in range(3)})
    worlds.actors["active"][:, 0] = 0
    passed = np.zeros(3, int)
    lane = worlds.actors["lane"].copy()
    for actors in drive(worlds, 90):
        assert (actors["touching"][traffic(actors)] == -1).all()
        entered = (lane < 4) & (actors["lane"] >= 8) & traffic(actors)
        for w, index in zip(*np.nonzero(entered), strict=True):
            assert worlds.lights[w, lane[w, index]] != Light.RED
        passed += entered.sum(axis=1)
        lane = np.where(actors["active"] == 1, actors["lane"], -1)
        lane = np.where(lane < 0, 99, lane)
    assert (passed >= 10).all(), passed


@pytest.mark.parametrize("kind", [0, 1])
def test_short_lanes_before_a_junction_hold_nobody_up(kind):
    """A vehicle halts with its front over the short lane and its centre before it, and still gets its turn."""
    worlds = DrivingWorlds(crossing(kind=kind, slivers=True), worlds=2, actors=9)
    worlds.reset({w: Start(seed=w, traffic=8, route_metres=20) for w in range(2)})
    worlds.actors["active"][:, 0] = 0
    entered, lane = np.zeros(2), worlds.actors["lane"].copy()
    for actors in drive(worlds, 90):
        assert (actors["touching"][traffic(actors)] == -1).all()
        entered += ((lane >= 20) & (actors["lane"] >= 8) & (actors["lane"] < 20) & traffic(actors)).sum(axis=1)
        lane = actors["lane"].copy()
    assert (entered >= 10).all(), entered


def test_stop_sign_makes_everybody_halt():
    worlds = DrivingWorlds(crossing(kind=1), worlds=2, actors=7)
    worlds.reset({w: Start(seed=w, traffic=6, route_metres=20) for w in range(2)})
    worlds.actors["active"][:, 0] = 0
    halted, passed = np.zeros((2, 7), bool), 0
    lane = worlds.actors["lane"].copy()
    for actors in drive(worlds, 60):
        moving = traffic(actors)
        assert (actors["touching"][moving] == -1).all()
        entered = moving & (lane >= 0) & (lane < 4) & (actors["lane"] >= 8)
        assert halted[entered].all()
        passed += entered.sum()
        halted[~moving | (actors["lane"] != lane)] = False
        halted |= moving & (actors["lane"] < 4) & (actors["speed"] < 0.3)
        lane = np.where(moving, actors["lane"], -1)
    assert passed >= 8


@pytest.mark.parametrize("kind", [Kind.PEDESTRIAN, Kind.OBSTACLE, Kind.TRUCK])
def test_traffic_halts_before_what_stands_on_its_lane(kind):
    """It does not change to the other lane across a solid line."""
    worlds = DrivingWorlds(straight_road(between=2), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(2,), traffic=1, spawns=(Spawn(x=200.0, y=0.5, kind=kind, heading=0.4),))})
    put(worlds, 2, 0, 100.0, 13.0)
    for actors in drive(worlds, 30):
        assert actors["touching"][0, 2] == -1
    assert actors["speed"][0, 2] < 0.1
    assert 185.0 < actors["arc"][0, 2] < 197.0


def test_traffic_does_not_mind_what_stands_on_the_next_lane():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
    worlds.reset({0: Start(seed=1, route=(2,), traffic=1, spawns=(Spawn(x=200.0, y=3.5, kind=Kind.CAR),))})
    put(worlds, 2, 0, 100.0, 13.0)
    for _ in drive(worlds, 15):
        pass
    assert worlds.actors["arc"][0, 2] > 250.0


def test_vehicle_that_leaves_the_map_enters_again_away_from_the_ego():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=1, route=(2,), first_arc=200.0, traffic=1)})
    put(worlds, 1, 0, 380.0, 13.0)
    seen = [bool(actors["active"][0, 1]) for actors in drive(worlds, 10)]
    assert not all(seen)
    assert seen[-1]
    back = seen.index(True, seen.index(False))
    assert back - seen.index(False) >= 29, "three seconds"


def test_pedestrians_cross_and_traffic_lets_them():
    """Eight people and ten vehicles for a minute: people get across, nobody is touched."""
    outline = [(198, -3), (202, -3), (202, 10), (198, 10)]
    worlds = DrivingWorlds(straight_road(crosswalks=[outline]), worlds=2, actors=10)
    worlds.reset({w: Start(seed=w, route=(2,), traffic=5, pedestrians=4) for w in range(2)})
    worlds.actors["active"][:, 0] = 0
    assert np.sort(worlds.map.crosswalks[0].reshape(2, 2), axis=0) == pytest.approx(np.array([[200, -3], [200, 10]]))
    sides = []
    for actors in drive(worlds, 60):
        walkers = (actors["kind"] == Kind.PEDESTRIAN) & (actors["active"] == 1)
        assert (actors["touching"][traffic(actors)] == -1).all()
        sides.append(actors["y"][walkers] > 3.5)
    changes = (np.diff(np.array(sides), axis=0) != 0).sum(axis=0)
    assert changes.sum() >= 4


def test_red_light_holds_the_first_and_those_behind_queue():
    light = [Stop(lane=0, arc=200.0, group=0, junction=3), Stop(lane=2, arc=200.0, group=1, junction=3)]
    worlds = DrivingWorlds(straight_road(stops=light), worlds=1, actors=3)
    worlds.reset({0: Start(seed=3, route=(2,), traffic=2)})
    while not (worlds.lights[0, 0] == Light.RED and worlds.lights_left[0, 0] > 16.0):
        worlds.step(np.zeros((1, 2)))
    put(worlds, 1, 0, 150.0, 12.0)
    put(worlds, 2, 0, 130.0, 12.0)
    for _ in drive(worlds, 12):
        pass
    actors = worlds.actors
    assert worlds.lights[0, 0] == Light.RED
    front = actors["arc"][0, 1] + 2.3
    assert 197.0 < front <= 200.0
    assert 1.0 < actors["arc"][0, 1] - actors["arc"][0, 2] - 4.6 < 4.0
    assert (actors["speed"][0, 1:] < 0.5).all()


def test_levels_do_not_touch_or_hinder_each_other():
    """One vehicle stands under a bridge; another crosses it above; a third, on the ground, halts."""
    worlds = DrivingWorlds(bridge(), worlds=1, actors=4)
    here = Spawn(x=0.0, y=0.0, z=0.0, kind=Kind.OBSTACLE)
    worlds.reset({0: Start(seed=1, route=(0,), traffic=2, spawns=(here,))})
    worlds.actors["active"][0, 0] = 0
    put(worlds, 2, 0, 50.0, 10.0)
    above = worlds.actors[0, 3]
    above["x"], above["y"], above["z"], above["heading"], above["lane"], above["arc"] = (
        0.0,
        -40.0,
        6.0,
        math.pi / 2,
        1,
        60,
    )
    above["speed"], above["active"], above["speed_factor"] = 10.0, 1, 1.0
    for actors in drive(worlds, 8):
        assert (actors["touching"] == -1).all()
    assert actors["y"][0, 3] > 20.0
    assert actors["z"][0, 2:].tolist() == [0.0, 6.0]
    assert -12.0 < actors["x"][0, 2] < -4.0


def test_the_ego_is_on_the_level_of_its_route():
    worlds = DrivingWorlds(bridge(), worlds=2, actors=1)
    worlds.reset({w: Start(seed=1, route=(w,), first_arc=99.0, speed=5.0) for w in range(2)})
    for _ in range(3):
        worlds.step(np.zeros((2, 2)))
    assert worlds.actors["z"][:, 0].tolist() == [0.0, 6.0]
    assert worlds.worlds["lane"].tolist() == [0, 1]
