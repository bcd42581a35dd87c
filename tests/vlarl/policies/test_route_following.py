"""The rule-based driver: what it sees, what it asks for, that it drives, and that evaluation reports it."""

import json

import numpy as np
import pytest

from envs.drive import DriveConfig
from envs.driving.world.route_driver import RouteDriver
from vlarl.cli import main
from vlarl.env_protocol import EpisodeSpec, Observation, Outcome
from vlarl.policies.route_following import RouteFollowing, Scene
from vlarl.policy import Decoding

NOISE = np.full((1, 2), 0.5, np.float32)
STRAIGHT = np.array([[2.0, 0.0], [4.0, 0.0], [8.0, 0.0], [16.0, 0.0], [32.0, 0.0]], np.float32)
POLICY = RouteFollowing()


def scene(**changes):
    usual = {"line": 150.0, "red": False, "yellow": False, "sign": False, "gap": 150.0, "gap_speed": 0.0}
    usual |= {"junction": 150.0, "junction_free": True, "wanted": 10.0, "speed": 0.0, "route": STRAIGHT}
    usual |= {"offset": 0.0, "shift": 0.0}
    return Scene(**(usual | changes))


def act(state):
    seen = Observation(images={}, state=state, instruction="", time=0.0)
    return POLICY.act([seen], [NOISE], Decoding())[0].actions


@pytest.mark.parametrize(
    ("changes", "acceleration"),
    [
        # free road: 1.8 (1 - (v/v0)^4) less the obstacle-free rest of the pressure at 150 m
        ({}, 1.8 * (1 - (2.0 / 150.0) ** 2)),
        ({"speed": 10.0}, -1.8 * ((2 + 12 + 100 / (2 * np.sqrt(4.5))) / 150.0) ** 2),
        # a red line 10 m ahead: gap 10 - 0.5 + 2
        ({"line": 10.0, "red": True}, 1.8 * (1 - (2.0 / 11.5) ** 2)),
        ({"line": 0.5, "sign": True}, 0.0),
        ({"line": 10.0}, 1.8 * (1 - (2.0 / 150.0) ** 2)),  # green
        ({"junction": 0.5, "junction_free": False}, 0.0),
        ({"gap": 2.0}, 0.0),
        ({"line": 1.0, "red": True, "speed": 10.0}, -8.0),  # no harder than the hardest
    ],
)
def test_acceleration_by_hand(changes, acceleration):
    assert POLICY.target_acceleration(scene(**changes)) == pytest.approx(acceleration)


def test_yellow_stops_only_who_can():
    near, far = scene(line=5.0, yellow=True, speed=10.0), scene(line=30.0, yellow=True, speed=10.0)
    plain = POLICY.target_acceleration(scene(speed=10.0))
    assert POLICY.target_acceleration(near) == plain
    assert POLICY.target_acceleration(far) < plain - 0.5


def test_it_steers_to_the_side_of_the_route():
    assert POLICY.steer(scene()) == 0.0
    left = STRAIGHT + np.array([0.0, 1.0], np.float32)
    assert POLICY.steer(scene(route=left)) == pytest.approx(-POLICY.steer(scene(route=left * [1, -1])))
    assert POLICY.steer(scene(route=left)) > 0.1


def test_it_steers_past_an_obstacle_gently_and_back():
    """3.5 m to the left; once it is there it drives straight on."""
    left = STRAIGHT + np.array([0.0, 3.5], np.float32)
    assert 0.0 < POLICY.steer(scene(shift=3.5)) < POLICY.steer(scene(route=left))
    beside = STRAIGHT - np.array([0.0, 3.5], np.float32)
    assert POLICY.steer(scene(shift=3.5, offset=3.5, route=beside)) == 0.0
    assert POLICY.steer(scene(offset=3.5, route=beside)) < 0.0


def test_it_does_what_the_driver_inside_the_world_does():
    """On an empty road both follow the same rules, up to the state's float32 and the route's coarser points."""
    slot = DriveConfig(difficulty=0.0, route_metres=100.0, resolution=0, actors=2).make()
    state = slot.reset(EpisodeSpec(suite="drive_winding_road", task=1, instruction="", init_state=0, seed=0)).state
    driver, apart = RouteDriver(slot.worlds), []
    for _ in range(60):
        inside = driver.act()[0]
        actions = act(state)
        apart.append(np.abs(actions[0] - inside))
        state = slot.step_chunk(actions).observation.state
    assert np.max(apart, axis=0)[1] < 0.05
    assert np.median(apart, axis=0)[0] < 0.03


@pytest.mark.parametrize("suite", ["drive_grid_town", "drive_ring_road"])
def test_it_arrives(suite):
    slot = DriveConfig(difficulty=0.1, route_metres=80.0, resolution=0, actors=24).make()
    result = slot.reset(EpisodeSpec(suite=suite, task=2, instruction="", init_state=4, seed=0))
    state, outcome = result.state, Outcome.RUNNING
    while not outcome.has_ended:
        step = slot.step_chunk(act(state))
        state, outcome = step.observation.state, step.outcome
    assert outcome is Outcome.SUCCESS, step.events


def test_other_states_are_refused():
    with pytest.raises(ValueError, match="drives the suites of envs/drive.py only"):
        act(np.zeros(4, np.float32))


def test_it_is_saved_and_loaded(tmp_path):
    POLICY.save_pretrained(tmp_path)
    assert RouteFollowing.from_pretrained(tmp_path).config == POLICY.config


def test_evaluation_reports_what_was_driven(tmp_path, capsys):
    file = tmp_path / "result.json"
    words = "eval vlarl.policies.route_following:RouteFollowing --suite drive_winding_road --tasks 0,1 --episodes 2"
    flags = "--env.route-metres 30 --env.difficulty 0 --env.actors 2 --workers 1 --slots 2"
    assert main([*words.split(), *flags.split(), "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["success_rate"] == 1.0
    assert result["driving"]["driving_score"] == result["driving"]["route_completion"] == 100.0
    assert result["driving"]["kilometres"] == pytest.approx(4 * 0.03, abs=0.01)
    assert set(result["driving"]["infractions_per_km"].values()) == {0.0}
    assert result["driving"]["driving_score_ci95"] == [100.0, 100.0]
    assert result["driving"]["comfort"] > 0.9
    printed = capsys.readouterr().out
    assert "100.0 (100-100)" in printed
    assert "infractions per km: none" in printed
