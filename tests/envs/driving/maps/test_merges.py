"""Merging like a zip: which lanes do, that vehicles take turns, and that nobody touches or waits for ever."""

import numpy as np
import pytest

from envs.driving.maps.map_arrays import pack
from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.maps.merges import merging_partners, pack_mergers
from envs.driving.views.route_ahead import GAP, GAP_SPEED, RouteAhead
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.start import Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import crossing, on_ramp
from tests.envs.driving.world.test_traffic import drive, put, traffic


def test_lanes_side_by_side_merge_and_need_no_grant():
    graph = on_ramp(length=100.0)
    partners = merging_partners(graph)
    assert partners == [[], [], [3], [2], []]
    start, rows = pack_mergers(graph, partners)
    assert start.tolist() == [0, 0, 0, 2, 4, 4]
    assert rows["lane"].tolist() == [3, 1, 2, 0]  # the partner, then the lane that leads to it alone
    assert rows["to_end"][:2] == pytest.approx([graph.length[3], graph.length[3] + 100.0])
    arrays = pack(graph)
    assert len(arrays.conflicts) == 0
    assert not arrays.lanes["needs_grant"].any()


def test_lanes_that_cross_keep_their_grants():
    graph = crossing()
    assert not any(merging_partners(graph))
    arrays = pack(graph)
    assert arrays.conflicts.tolist() == graph.conflicts.tolist()
    assert arrays.lanes["needs_grant"].tolist() == [len(graph.conflicts_of(lane)) > 0 for lane in range(graph.lanes)]


def test_the_ring_road_merges_and_the_roundabout_does_not():
    assert sum(map(bool, merging_partners(load_map(shipped_map("ring_road"))))) == 4
    assert not any(merging_partners(load_map(shipped_map("roundabout"))))


def ramp_traffic(places, speed):
    """Vehicles at (lane, arc); the ego is out of the world."""
    worlds = DrivingWorlds(on_ramp(), worlds=1, actors=1 + len(places))
    worlds.reset({0: Start(seed=0, route=(4,), traffic=len(places))})
    worlds.actors["active"][0, 0] = 0
    for index, (lane, arc) in enumerate(places, start=1):
        put(worlds, index, lane, arc, speed)
    return worlds


def entries(worlds, seconds):
    """Numbers of the vehicles in the order in which they reach the common lane; checks that nobody touches."""
    order, slowest = [], np.inf
    for actors in drive(worlds, seconds):
        assert (actors["touching"][traffic(actors)] == -1).all()
        slowest = min(slowest, actors["speed"][0, 1:].min())
        order += [int(n) for n in np.flatnonzero(actors["lane"][0] == 4) if n > 0 and n not in order]
        if len(order) == actors.shape[1] - 1:
            break
    return order, slowest


def test_two_queues_that_start_take_turns():
    """Four on the main lane (1 to 4), four on the ramp (5 to 8), from standstill: strictly one by one."""
    queue = [197.0 - 7.0 * place for place in range(4)]
    worlds = ramp_traffic([(0, arc) for arc in queue] + [(1, arc - 1.0) for arc in queue], 0.0)
    order, _ = entries(worlds, 60)
    assert order == [1, 5, 2, 6, 3, 7, 4, 8]


@pytest.mark.parametrize("lead", [0.0, 2.0, -2.0])
def test_abreast_at_speed_one_makes_room(lead):
    """Whoever is ahead goes first, a tie goes to the lower number; neither has to stop."""
    worlds = ramp_traffic([(0, 60.0), (1, 60.0 + lead)], 13.0)
    order, slowest = entries(worlds, 40)
    assert order == ([2, 1] if lead > 0 else [1, 2])
    assert slowest > 6.0


def test_a_dense_stream_lets_the_ramp_in():
    """Nine vehicles on the main lane at the distance of a convoy do not shut out the one on the ramp."""
    worlds = ramp_traffic([(0, 10.0 + 16.0 * place) for place in range(9)] + [(1, 70.0)], 10.0)
    order, slowest = entries(worlds, 60)
    assert len(order) == 10
    assert order.index(10) in (4, 5)  # five of the nine were ahead of it, and it may gain one place on a free lane
    assert slowest > 3.0


def test_the_ego_takes_its_turn_and_is_told_of_it():
    """The ego comes along the ramp, 4 m behind a vehicle on the main lane and abreast of none."""
    worlds = DrivingWorlds(on_ramp(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, route=(1, 3, 4), first_arc=150.0, last_arc=100.0, speed=10.0, traffic=1)})
    put(worlds, 1, 0, 160.0, 10.0)
    row = RouteAhead(worlds).observe()[0]
    far = worlds.graph.length[3] - worlds.graph.length[2]  # the ramp's way is a little longer
    assert row[GAP] * 50.0 == pytest.approx(max(10.0 + far - 4.6, 5.0), abs=1e-3)
    assert row[GAP_SPEED] * 20.0 == pytest.approx(10.0, abs=1e-3)
    driver = RouteDriver(worlds)
    for _ in range(400):
        worlds.step(driver.act())
        assert worlds.actors["touching"][0, 0] == -1
        if worlds.worlds["counts"][0, -1] > 0:
            break
    assert worlds.worlds["counts"][0, -1] == 1, "it arrives"


def test_the_ring_road_flows_at_high_density():
    worlds = DrivingWorlds(load_map(shipped_map("ring_road")), worlds=1, actors=91)
    worlds.reset({0: Start(seed=5, traffic=90)})
    worlds.actors["active"][:, 0] = 0
    speeds = []
    for actors in drive(worlds, 60):
        assert (actors["touching"][traffic(actors)] == -1).all()
        speeds.append(actors["speed"][traffic(actors)].mean())
    assert np.mean(speeds[-200:]) > 4.0
