"""The batch: bitwise determinism, snapshots, and failures that stay in their world."""

import numpy as np
import pytest

from envs.driving.errors import MapError, SpawnError
from envs.driving.world.records import Controller, Kind, Status
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import crossing, straight_road
from vlarl.env_protocol import ActionError

STEPS = 150


def start(seed):
    return Start(seed=seed, traffic=8, pedestrians=3, jaywalkers=0.5, red_runners=0.3, speed=4.0)


def actions(seed, steps=STEPS):
    random = np.random.default_rng(seed)
    return np.cumsum(random.normal(0, 0.05, (steps, 2)), axis=0) + [0.0, 0.2]


def run(seeds, threads=1, steps=STEPS):
    worlds = DrivingWorlds(crossing(), worlds=len(seeds), actors=13, threads=threads, history=3)
    worlds.reset({w: start(seed) for w, seed in enumerate(seeds)})
    plan = np.stack([actions(seed, steps) for seed in seeds], axis=1)
    for row in plan:
        worlds.step(row)
    worlds.close()
    return worlds


def state(worlds, w):
    return [
        array[w].tobytes() for array in (worlds.worlds, worlds.actors, worlds.lights, worlds.lights_left, worlds.past)
    ]


def test_a_world_is_the_same_in_any_batch_bit_for_bit():
    """Alone, in another place, among others, with two threads."""
    alone = run([5])
    many = run([3, 4, 5, 6, 5])
    threaded = run([9, 5, 1], threads=2)
    assert alone.worlds["step"][0] == STEPS
    assert state(alone, 0) == state(many, 2) == state(many, 4) == state(threaded, 1)
    assert state(many, 0) != state(many, 2)


def test_reset_forgets_what_was_before():
    worlds = run([5, 6], steps=30)
    worlds.reset({0: start(7)})
    fresh = DrivingWorlds(crossing(), worlds=1, actors=13, history=3)
    fresh.reset({0: start(7)})
    for row in actions(7, 40):
        worlds.step(np.tile(row, (2, 1)))
        fresh.step(row[None])
    assert worlds.worlds[0].tobytes() == fresh.worlds[0].tobytes()
    assert worlds.actors[0].tobytes() == fresh.actors[0].tobytes()


def test_snapshot_restores_the_future():
    worlds = run([5, 6])
    saved = worlds.snapshot(0)
    plan = actions(11, 60)
    for row in plan:
        worlds.step(np.tile(row, (2, 1)))
    first = state(worlds, 0)
    worlds.restore(1, saved)
    for row in plan:
        worlds.step(np.tile(row, (2, 1)))
    assert state(worlds, 1) == first
    assert state(worlds, 0) != first


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_control_that_is_not_finite_fails_its_own_world(value):
    worlds = DrivingWorlds(straight_road(), worlds=3, actors=2)
    worlds.reset({w: Start(seed=w, traffic=1, route=(0,)) for w in range(3)})
    bad = np.full((3, 2), 0.5)
    bad[1, 1] = value
    worlds.step(bad)
    assert worlds.worlds["status"].tolist() == [Status.RUNNING, Status.FAILED, Status.RUNNING]
    assert "world 1" in worlds.errors[1]
    assert f"pedal {value}" in worlds.errors[1]
    assert worlds.errors[0] == worlds.errors[2] == ""
    before = worlds.actors[1].tobytes()
    worlds.step(np.full((3, 2), 0.5))
    assert worlds.worlds["step"].tolist() == [2, 0, 2]
    assert worlds.actors[1].tobytes() == before
    worlds.reset({1: Start(seed=1, route=(0,))})
    worlds.step(np.full((3, 2), 0.5))
    assert worlds.errors[1] == ""
    assert worlds.worlds["step"].tolist() == [3, 1, 3]


def test_wrong_shape_of_the_controls_is_the_callers_mistake():
    worlds = DrivingWorlds(straight_road(), worlds=3, actors=1)
    with pytest.raises(ActionError, match=r"shape \(3,\); expected \[3, 2\]"):
        worlds.step(np.zeros(3))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            Start(seed=0, route=(0,), spawns=(Spawn(x=6.0, y=0.0),)),
            r"obstacle at x 6.0, y 0.0: actor 0 \(car, the ego\)",
        ),
        (Start(seed=0, route=(0,), spawns=(Spawn(x=50.0, y=0.0), Spawn(x=51.0, y=0.0))), r"actor 1 \(obstacle\)"),
        (Start(seed=0, route=(0,), spawns=(Spawn(x=np.nan, y=0.0),)), "not finite"),
        (
            Start(seed=0, route=(0, 2)),
            r"entries 0 and 1 of the route are not connected: from lane 0 .* gets to lanes \[1\]",
        ),
        (Start(seed=0, route=(9,)), "there is no lane 9; the map has the lanes 0 to 2"),
        (Start(seed=0, route=(0,), first_arc=399.5), "shorter than 1 m"),
        (Start(seed=0, route=(0,), traffic=9), "10 actors are wanted .*, 5 slots are there"),
        (Start(seed=0, route=(0,), spawns=(Spawn(x=90.0, y=0.0, controller=Controller.TRAFFIC),)), "counts only"),
    ],
)
def test_an_impossible_start_fails_its_own_world(bad, message):
    worlds = DrivingWorlds(straight_road(), worlds=2, actors=5)
    worlds.reset({0: bad, 1: Start(seed=1, route=(0,), traffic=2)})
    with pytest.raises(ValueError, match=message):
        raise ValueError(worlds.errors[0])
    assert worlds.worlds["status"].tolist() == [Status.FAILED, Status.RUNNING]
    worlds.step(np.zeros((2, 2)))
    assert worlds.worlds["step"].tolist() == [0, 1]


def test_spawning_into_a_running_world():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=3)
    worlds.reset({0: Start(seed=0, route=(0,), traffic=1)})
    worlds.spawn(0, 2, Spawn(x=300.0, y=7.0, heading=np.pi, kind=Kind.TRUCK, controller=Controller.EXTERNAL, speed=5.0))
    worlds.actors["throttle_command"][0, 2] = 1.0
    for _ in range(20):
        worlds.advance()
    truck = worlds.actors[0, 2]
    assert truck["speed"] > 8.0
    assert truck["x"] < 290.0
    for index, message in (
        (2, "taken by a truck"),
        (3, "slot 3 does not exist; worlds have slots 1 to 2"),
        (0, "slot 0"),
    ):
        with pytest.raises(SpawnError, match=message):
            worlds.spawn(0, index, Spawn(x=350.0, y=0.0))


def test_a_failed_spawn_leaves_the_slot_free():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=2)
    worlds.reset({0: Start(seed=0, route=(0,))})
    with pytest.raises(SpawnError, match="the ego"):
        worlds.spawn(0, 1, Spawn(x=5.0, y=0.0))
    worlds.spawn(0, 1, Spawn(x=50.0, y=0.0))
    assert worlds.actors["active"][0].tolist() == [1, 1]


def test_actors_have_ids_and_sizes_a_client_can_use():
    worlds = run([2], steps=1)
    assert worlds.actors["id"][0].tolist() == list(range(1, 14))
    here = worlds.actors[0][worlds.actors["active"][0] == 1]
    assert (here["half_length"] > 0).all()
    assert (here["height"] > 0).all()
    moving = here[here["kind"] < Kind.PEDESTRIAN]
    assert np.hypot(moving["velocity_x"], moving["velocity_y"]) == pytest.approx(moving["speed"], abs=1e-9)


def test_a_map_without_lanes_is_refused():
    graph = straight_road()
    empty = type(graph)(**{**graph.__dict__, "lane_start": np.zeros(1, np.int32), "points": np.zeros((0, 2))})
    with pytest.raises(MapError, match="no drivable lane"):
        DrivingWorlds(empty, worlds=1, actors=1)
    with pytest.raises(ValueError, match="worlds=0"):
        DrivingWorlds(graph, worlds=0, actors=1)
