"""Videos of episodes: which are chosen, at which rate they play, and that an evaluation writes them."""

import dataclasses

import numpy as np
import pytest

from envs.drive import DriveConfig
from envs.mujoco import MujocoConfig
from vlarl.cli import main
from vlarl.env_protocol import EpisodeSpec, Observation, Outcome
from vlarl.media import read_video, video_info
from vlarl.types import Trajectory
from vlarl.videos import USUAL_FPS, choose_episodes, control_rate, filming, write_episode


def episode(task=0, state=0, outcome=Outcome.SUCCESS, times=(), steps=(), frames=()):
    spec = EpisodeSpec(suite="toy", task=task, instruction="", init_state=state, seed=0)
    seen = [Observation(images={}, state=np.zeros(1, np.float32), instruction="", time=time) for time in times]
    executed = [np.ones(count, np.bool_) for count in steps]
    return Trajectory(
        spec=spec,
        observations=seen,
        outputs=[],
        executed=executed,
        env_rewards=[],
        outcome=outcome,
        frames=list(frames),
    )


def test_every_outcome_comes_first_then_every_task():
    played = [
        episode(0, 0), episode(0, 1), episode(1, 0), episode(1, 1, Outcome.FAILURE), episode(2, 0, Outcome.TRUNCATED),
        episode(2, 1, Outcome.TRUNCATED),
    ]  # fmt: skip
    chosen = [(spec.task, spec.init_state) for spec in choose_episodes(played[::-1], 6)]
    assert chosen == [(0, 0), (1, 1), (2, 0), (1, 0), (0, 1), (2, 1)]
    assert [(spec.task, spec.init_state) for spec in choose_episodes(played, 2)] == [(0, 0), (1, 1)]


def test_one_frame_per_control_step_plays_at_true_speed():
    assert control_rate(episode(times=(0.0, 0.4, 0.8), steps=(8, 8, 3))) == 20.0
    assert control_rate(episode(times=(0.0, 0.1), steps=(1, 1))) == 10.0
    assert control_rate(episode(times=(0.0,), steps=(5,))) == USUAL_FPS


def test_small_pictures_are_enlarged_and_an_error_gives_no_file(tmp_path):
    frames = [{"left": np.zeros((16, 16, 3), np.uint8), "right": np.full((16, 16, 3), 200, np.uint8)}] * 3
    path = write_episode(tmp_path / "a.mp4", episode(times=(0.0,), frames=frames))
    assert read_video(path).shape == (3, 32, 64, 3)
    assert write_episode(tmp_path / "b.mp4", episode(times=(0.0,))) is None
    assert not (tmp_path / "b.mp4").exists()


def test_environments_film_as_they_can():
    assert filming(DriveConfig()) == dataclasses.replace(DriveConfig(), every_frame=True, film=True)
    assert filming(MujocoConfig()).every_frame


def test_an_evaluation_writes_videos_of_its_episodes(tmp_path, capsys):
    words = "eval vlarl.policies.route_following:RouteFollowing --suite drive/winding_road --tasks 0 --episodes 2"
    flags = "--env.route-metres 20 --env.difficulty 0 --env.actors 2 --workers 1 --slots 2 --video-count 1"
    assert main([*words.split(), *flags.split(), "--videos", str(tmp_path)]) == 0
    (video,) = tmp_path.glob("*.mp4")
    assert video.name.startswith("drive_winding_road_0_600_success")
    info = video_info(video)
    assert info.fps == pytest.approx(10.0)
    assert (info.width, info.height) == (400, 442)
    assert info.frames > 20
    assert str(video) in capsys.readouterr().out
