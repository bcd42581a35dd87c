"""Driving as an environment: starts, outcomes, what is told, what is refused."""

import dataclasses

import numpy as np
import pytest

from envs.drive import SUITES, DriveConfig, shared_map, shared_route
from envs.driving.maps.map_arrays import pack
from envs.driving.maps.map_generator import shipped_map
from envs.driving.world.records import Kind
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.start import Spawn
from vlarl.env_protocol import ActionError, EnvError, EpisodeSpec, Outcome, UnknownTaskError
from vlarl.errors import ConfigError

SMALL = DriveConfig(route_metres=60.0, horizon=400, actors=12, resolution=32)


def spec(task=0, state=0, suite="drive_grid_town"):
    return EpisodeSpec(suite=suite, task=task, instruction="Follow the route.", init_state=state, seed=1)


def play(slot, chunk=1):
    """The rule-based driver's episode: all results."""
    driver, results = RouteDriver(slot.worlds), []
    while not results or not results[-1].outcome.has_ended:
        results.append(slot.step_chunk(np.repeat(driver.act().astype(np.float32), chunk, axis=0)))
    return results


def test_equal_specs_are_equal_episodes_and_states_differ():
    first, second = SMALL.make(), SMALL.make()
    seen = [slot.reset(spec(state=5)).state for slot in (first, second)]
    np.testing.assert_array_equal(*seen)
    assert seen[0].shape == (SMALL.state_size(),)
    assert seen[0].dtype == np.float32
    for _ in range(20):
        results = [slot.step_chunk(np.array([[0.05, 0.4]], np.float32)) for slot in (first, second)]
        np.testing.assert_array_equal(results[0].observation.state, results[1].observation.state)
    np.testing.assert_array_equal(first.reset(spec(state=5)).state, seen[0])
    second.reset(spec(state=6))
    places = [slot.worlds.actors["x"][0, :3] for slot in (first, second)]
    assert places[0][0] == places[1][0]  # the same route
    assert (places[0][1:] != places[1][1:]).all()  # other traffic


@pytest.mark.parametrize("suite", sorted(SUITES))
def test_routes_are_long_enough_and_differ(suite):
    path = SMALL.map_path(suite)
    routes = [shared_route(path, number, 60.0) for number in range(4)]
    assert len({(route.lanes, route.first_arc) for route in routes}) == 4
    lengths = pack(shared_map(path)).lanes["length"]
    for route in routes:
        assert route.metres == pytest.approx(60.0)
        covered = lengths[list(route.lanes[:-1])].sum() - route.first_arc + route.last_arc
        assert covered == pytest.approx(60.0)
        assert 0.0 < route.last_arc <= lengths[route.lanes[-1]]


def test_a_completed_route_is_success_and_its_rewards_sum_to_the_score():
    """On an empty road CaRL's reward without its soft factors adds up to 100."""
    bare = dataclasses.replace(SMALL.carl, overspeed=1e9, comfort_factor=0.0, lane_softener=0.0, forecast_factor=1.0)
    slot = dataclasses.replace(SMALL, difficulty=0.0, carl=bare).make()
    slot.reset(spec(suite="drive_winding_road"))
    results = play(slot)
    last = results[-1].events
    assert results[-1].outcome is Outcome.SUCCESS
    assert last["drive/route_completion"] == last["drive/driving_score"] == 100.0
    assert sum(result.events["drive/carl"].sum() for result in results) == pytest.approx(100.0, abs=1e-3)
    progress = sum(result.events["drive/factors"][:, 0].sum() for result in results)
    assert progress == pytest.approx(100.0, abs=1e-3)
    assert last["drive/kilometres"] == pytest.approx(0.06, abs=0.005)
    hours = sum(int(result.executed.sum()) for result in results) * 0.1 / 3600.0
    assert last["drive/speed"] == pytest.approx(last["drive/kilometres"] / hours, rel=1e-5)
    assert not any(value for name, value in last.items() if name.startswith("drive/count/"))
    assert all(result.reward.sum() == 0.0 for result in results)


def test_hitting_something_is_failure_and_costs_the_hint():
    slot = dataclasses.replace(SMALL, difficulty=0.0).make()
    slot.reset(spec(suite="drive_winding_road"))
    ego = slot.worlds.actors[0, 0]
    ahead = {"x": ego["x"] + 9 * np.cos(ego["heading"]), "y": ego["y"] + 9 * np.sin(ego["heading"])}
    slot.worlds.spawn(0, 1, Spawn(kind=Kind.OBSTACLE, heading=float(ego["heading"]), **ahead))
    result = slot.step_chunk(np.full((60, 2), (0.0, 1.0), np.float32))
    assert result.outcome is Outcome.FAILURE
    ran = int(result.executed.sum())
    assert ran < 60 and result.executed[:ran].all()
    assert result.events["drive/count/collision_static"] == 1.0
    assert result.events["drive/carl"][ran - 1] < -0.5
    assert not result.events["drive/carl"][ran:].any()
    hints = result.events["drive/factors"][:, 4]
    assert hints[ran - 1] == 1.0 and hints.sum() == 1.0
    # 0.65 per collision with something static
    assert result.events["drive/driving_score"] == pytest.approx(0.65 * result.events["drive/route_completion"])
    with pytest.raises(EnvError, match="reset"):
        slot.step_chunk(np.zeros((1, 2), np.float32))


def test_the_horizon_truncates_inside_a_chunk():
    slot = dataclasses.replace(SMALL, horizon=5, resolution=0).make()
    assert slot.reset(spec()).images == {}
    result = slot.step_chunk(np.zeros((8, 2), np.float32))
    assert result.outcome is Outcome.TRUNCATED
    assert result.executed.tolist() == [True] * 5 + [False] * 3
    assert result.observation.time == pytest.approx(0.5)


def test_pictures_show_the_ego_on_the_road_with_its_route():
    slot = dataclasses.replace(SMALL, every_frame=True).make()
    slot.reset(spec())
    result = slot.step_chunk(np.zeros((3, 2), np.float32))
    image = result.observation.images["birds_eye"]
    assert image.shape == (32, 32, 3) and image.dtype == np.uint8
    assert len(result.frames) == 3
    colours = {tuple(colour) for colour in image.reshape(-1, 3).tolist()}
    assert {(92, 92, 96), (70, 130, 190), (230, 40, 200)} <= colours  # road, route, ego
    assert tuple(image[32 - 8, 16]) == (230, 40, 200)


@pytest.mark.parametrize("actions", [np.array([[np.nan, 0.0]]), np.zeros((1, 3)), np.zeros((0, 2))])
def test_bad_actions_are_refused_and_change_nothing(actions):
    slot = SMALL.make()
    before = slot.reset(spec()).state
    with pytest.raises(ActionError):
        slot.step_chunk(actions)
    assert slot.outcome is Outcome.RUNNING
    assert slot.worlds.worlds["step"][0] == 0
    assert np.isfinite(before).all()


def test_what_does_not_exist_is_named():
    with pytest.raises(UnknownTaskError, match="Did you mean 'drive_grid_town'"):
        SMALL.task_specs("drive_grid_twon")
    with pytest.raises(UnknownTaskError, match="task 8; it has 0 to 7"):
        SMALL.make().reset(spec(task=8))
    with pytest.raises(UnknownTaskError, match="state 1000"):
        SMALL.make().reset(spec(state=1000))


def test_a_map_by_its_path_is_a_suite_of_its_own():
    config = dataclasses.replace(SMALL, map_file=str(shipped_map("roundabout")))
    assert len(config.task_specs("drive_roundabout")) == 8
    config.make().reset(spec(suite="drive_roundabout"))
    with pytest.raises(UnknownTaskError, match="drive_roundabout"):
        config.task_specs("drive_grid_town")


def test_maps_run_together_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="there are spaces: grid_town ring_road"):
        DriveConfig(maps=("grid_town,ring_road",))
    odd = tmp_path / "one, with a comma.xodr"
    odd.write_text("")
    assert DriveConfig(maps=(str(odd),)).maps == (str(odd),)


def test_the_leaderboard_goes_on_after_a_collision():
    """The same crash, with and without: it costs score, the route is driven to its end, and that is no success."""
    slot = dataclasses.replace(SMALL, difficulty=0.0, leaderboard=True).make()
    slot.reset(spec(suite="drive_winding_road"))
    ego = slot.worlds.actors[0, 0]
    ahead = {"x": ego["x"] + 6 * np.cos(ego["heading"]), "y": ego["y"] + 6 * np.sin(ego["heading"])}
    slot.worlds.spawn(0, 1, Spawn(kind=Kind.PEDESTRIAN, heading=float(ego["heading"]), **ahead))
    result = slot.step_chunk(np.full((20, 2), (0.0, 1.0), np.float32))
    assert result.outcome is Outcome.RUNNING
    assert result.events["drive/count/collision_pedestrian"] == 1.0
    slot.worlds.actors["active"][0, 1] = 0
    last = play(slot)[-1]
    assert last.outcome is Outcome.FAILURE
    assert last.events["drive/route_completion"] == 100.0
    assert last.events["drive/driving_score"] == pytest.approx(50.0)


def test_films_are_for_people_and_observations_for_the_policy():
    slot = dataclasses.replace(SMALL, every_frame=True, film=True).make()
    slot.reset(spec())
    result = slot.step_chunk(np.zeros((3, 2), np.float32))
    assert result.observation.images["birds_eye"].shape == (32, 32, 3)
    assert [list(frame) for frame in result.frames] == [["film"]] * 3
    assert result.frames[0]["film"].shape == (442, 400, 3)


def test_comfort_is_told():
    slot = SMALL.make()
    slot.reset(spec(suite="drive_winding_road"))
    events = slot.step_chunk(np.repeat([[0.0, 0.3]], 15, axis=0).astype(np.float32)).events
    assert events["drive/comfort/all"] == events["drive/comfort/lateral_acceleration"] == 1.0
    events = slot.step_chunk(np.repeat([[0.0, -1.0]], 15, axis=0).astype(np.float32)).events
    assert events["drive/comfort/longitudinal_jerk"] < 1.0
