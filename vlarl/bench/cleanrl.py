"""CleanRL's one-file PPO as a contender of ``vlarl bench mujoco``, run as it is, from a file that the user names.

The script is for Gymnasium before 1.0. Three things changed since, and are put right around it, not in it: its
``TransformObservation`` takes no space, an environment that ended is reset within the same step, and what the last
step's ``info`` says of an episode is read here (the script's own lines for it would fail). Its TensorBoard log is not
written, which spares it some time.
"""

from __future__ import annotations

import contextlib
import runpy
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, TransformObservation

OBSERVATION_LIMIT = 10.0
"""The script clips normalised observations here."""


def play_cleanrl(script: Path, env_id: str, seed: int, steps: int, episodes: int) -> dict[str, Any]:
    """Run the script, then play its agent greedily.

    Args:
        script: CleanRL's ``ppo_continuous_action.py``.
        env_id: Gymnasium's name.
        seed: of everything.
        steps: control steps; the script does whole rollouts of 2048.
        episodes: of the evaluation.
    """
    curve: list[list[float]] = []
    script = script.resolve()
    words = [str(script), "--env-id", env_id, "--seed", str(seed), "--total-timesteps", str(steps)]
    words += ["--no-cuda", "--no-anneal-lr"]  # a constant learning rate, as for the other contenders
    with _as_before_gymnasium_1(curve), tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        started, cpu = time.perf_counter(), time.process_time()
        with mock.patch.object(sys, "argv", words):
            made = runpy.run_path(str(script), run_name="__main__")
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    normaliser = made["envs"].envs[0]
    while not isinstance(normaliser, NormalizeObservation):
        normaliser = normaliser.env
    return {
        "steps": int(made["global_step"]),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "curve": curve,
        "returns": [_greedy_return(made["agent"], normaliser, env_id, seed + i) for i in range(1000, 1000 + episodes)],
    }


class _NoLog:
    """In place of TensorBoard's writer."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def add_text(self, *_: object) -> None:
        """Nothing."""

    def add_scalar(self, *_: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


@contextlib.contextmanager
def _as_before_gymnasium_1(curve: list[list[float]]) -> Iterator[None]:
    class Vector(SyncVectorEnv):
        """Resets within the step that ended an episode, and notes its return."""

        def __init__(self, env_fns: Any) -> None:
            super().__init__(env_fns, autoreset_mode=AutoresetMode.SAME_STEP)
            self.played = 0

        def step(self, actions: Any) -> Any:
            *rest, info = super().step(actions)
            self.played += self.num_envs
            final = info.pop("final_info", {})
            for value, there in zip(final.get("episode", {}).get("r", ()), final.get("_episode", ()), strict=False):
                if there:
                    curve.append([self.played, float(value)])
            return *rest, info

    def transform(env: Any, function: Any) -> Any:
        return TransformObservation(env, function, env.observation_space)

    log: Any = types.ModuleType("torch.utils.tensorboard")
    log.SummaryWriter = _NoLog
    with (
        _module(log),
        mock.patch.object(gymnasium.vector, "SyncVectorEnv", Vector),
        mock.patch.object(gymnasium.wrappers, "TransformObservation", transform),
    ):
        yield


@contextlib.contextmanager
def _module(module: types.ModuleType) -> Iterator[None]:
    """Import this in place of the one of that name.

    What else is imported meanwhile stays: ``mock.patch.dict`` would forget it, and parts of torch cannot be imported
    twice.
    """
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before


@torch.no_grad()
def _greedy_return(agent: Any, normaliser: NormalizeObservation, env_id: str, seed: int) -> float:
    """Return of an episode of mean actions, with the states' normalisation of training."""
    env = gymnasium.make(env_id)
    space: Any = env.action_space
    observation, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        moments = normaliser.obs_rms
        state = (observation - moments.mean) / np.sqrt(moments.var + normaliser.epsilon)
        state = np.clip(state, -OBSERVATION_LIMIT, OBSERVATION_LIMIT).astype(np.float32)
        action = agent.actor_mean(torch.from_numpy(state)[None])[0].numpy()
        observation, reward, terminated, truncated, _ = env.step(np.clip(action, space.low, space.high))
        total, ended = total + float(reward), terminated or truncated
    env.close()
    return total
