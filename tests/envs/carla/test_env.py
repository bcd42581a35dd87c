"""The environment with the genuine client: episodes, and servers that are killed in the middle of one."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import sys
from importlib import metadata

import numpy as np
import pytest

pytest.importorskip("msgpack", reason="the CARLA stand-in needs msgpack: pip install -e '.[carla]'")

from envs.carla import CarlaConfig
from envs.carla.servers import STAND_IN, Server, stand_in
from envs.drive import DriveConfig
from envs.driving.world.route_driver import RouteDriver
from vlarl.env_protocol import EpisodeSpec, Observation, Outcome, StepResult, UnknownTaskError
from vlarl.local_slots import LocalSlots

VERSION = "0.9.16"
SETTINGS = {"route_metres": 60.0, "actors": 40, "layers": 64, "resolution": 32, "difficulty": 0.6, "routes": 4}
CONFIG = CarlaConfig(**SETTINGS, call_seconds=8.0)
BODIES = (3, 4, 8)
"""Channels of vehicles, pedestrians and obstacles: their sizes are CARLA's."""
needs_client = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("carla") is None or metadata.version("carla") != VERSION,
        reason=f"needs CARLA's own client: pip install carla=={VERSION}",
    ),
]


def spec(state=6, suite="carla_grid_town"):
    return EpisodeSpec(suite=suite, task=0, instruction="Follow the route.", init_state=state, seed=1)


def play(slots, slot, request):
    """What a slot answers."""
    if isinstance(request, EpisodeSpec):
        slots.reset(slot, request)
    else:
        slots.step_chunk(slot, request)
    (event,) = slots.wait()
    return event.result


class TestWithTheClient:
    pytestmark = needs_client

    def test_an_episode(self):
        """It starts as in the driving world, is driven to its end by rule, and says where it was played."""
        slot, drive = CONFIG.make(), DriveConfig(**SETTINGS).make()
        here, there = slot.reset(spec()), drive.reset(spec(suite="drive_grid_town"))
        assert here.state.shape == there.state.shape == (CONFIG.state_size(),)
        np.testing.assert_allclose(here.state, there.state, atol=0.02)
        seen, expected = (observation.images["layers"] for observation in (here, there))
        assert seen.shape == expected.shape == (64, 64, 10)
        for channel in range(10):
            one, other = seen[:, :, channel] > 0, expected[:, :, channel] > 0
            tolerated = 0.4 if channel in BODIES else 0.05
            assert (one ^ other).sum() <= tolerated * max(other.sum(), 20), channel
        assert expected[:, :, 3].any(), "somebody is to be seen"
        assert here.images["birds_eye"].shape == (32, 32, 3)
        driver, results = RouteDriver(slot.worlds), []
        while not results or not results[-1].outcome.has_ended:
            results.append(slot.step_chunk(np.repeat(driver.act().astype(np.float32), 2, axis=0)))
        last = results[-1]
        assert last.outcome is Outcome.SUCCESS, last.events
        assert last.events["drive/route_completion"] == 100.0
        assert last.events["carla/backend"] == STAND_IN
        assert last.observation is not None and 5.0 < last.observation.time < 119.9
        assert sum(result.events["drive/factors"][:, 0].sum() for result in results) == pytest.approx(100.0, abs=1e-3)
        slot.close()
        drive.close()

    def test_a_killed_server_costs_one_episode(self):
        slots = LocalSlots(CONFIG, num_slots=1)
        assert isinstance(play(slots, 0, spec()), Observation)
        assert isinstance(play(slots, 0, np.zeros((3, 2), np.float32)), StepResult)
        first = slots._slots[0].server.pid
        os.kill(first, signal.SIGKILL)
        lost = play(slots, 0, np.zeros((3, 2), np.float32))
        assert lost.outcome is Outcome.ERROR
        assert "LinkError" in lost.events["error"]
        assert isinstance(play(slots, 0, spec(state=4)), Observation)
        assert slots._slots[0].server.pid != first
        going = play(slots, 0, np.zeros((3, 2), np.float32))
        assert going.outcome is Outcome.RUNNING and going.executed.all()
        slots.close()

    def test_a_server_that_runs_is_left_as_it_was(self):
        """Equal specs start equal there, too."""
        server = Server(stand_in("grid_town", ""), "127.0.0.1", 0, 120.0)
        config = dataclasses.replace(CONFIG, host="127.0.0.1", port=server.port)
        assert config.protocol()["backend"] == STAND_IN
        seen = []
        for _ in range(2):
            slot = config.make()
            seen.append(slot.reset(spec()).images["layers"])
            slot.step_chunk(np.full((5, 2), (0.0, 0.5), np.float32))
            with pytest.raises(UnknownTaskError, match="has no task 9"):
                slot.reset(dataclasses.replace(spec(), task=9))
            slot.close()
        np.testing.assert_array_equal(*seen)
        server.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tick_seconds": 0.03}, "env.tick_seconds is 0.03"),
        ({"tick_seconds": 0.0}, "env.tick_seconds is 0.0"),
        ({"tick_seconds": 0.2}, "env.tick_seconds is 0.2"),
        ({"host": "here", "command": "CarlaUE4.sh"}, "give one of them"),
        ({"layers": 63}, "multiple of 8"),
    ],
)
def test_settings_that_cannot_be(changes, says):
    with pytest.raises(Exception, match=says):
        CarlaConfig(**changes)


@pytest.mark.parametrize(
    ("config", "suite", "says"),
    [
        (CarlaConfig(), "carla_gird_town", "Did you mean 'carla_grid_town'"),
        (CarlaConfig(), "carla_town02", "--env.map-file"),
        (CarlaConfig(), "drive_grid_town", "carla_<map>"),
        (CarlaConfig(map_file="maps/Town02.xodr"), "carla_town03", "Did you mean 'carla_town02'"),
    ],
)
def test_suites_that_there_are_not(config, suite, says):
    with pytest.raises(UnknownTaskError, match=says):
        config.task_specs(suite)


def test_suites_that_there_are():
    assert [task.task for task in CONFIG.task_specs("carla_roundabout")] == [0, 1, 2, 3]
    assert CarlaConfig(map_file="maps/Town02.xodr").task_specs("carla_town02")
    assert CarlaConfig(host="somewhere").task_specs("carla_town10hd_opt"), "the server knows its maps"
    assert sys.executable in stand_in("grid_town", "")
