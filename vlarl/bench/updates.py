"""Measure one update of SAC: ours, ours by autograd, and Stable-Baselines3's.

Example::

    vlarl bench updates --json updates.json
    vlarl bench updates --env-id Walker2d-v5 --updates 500

Batches of 256 random transitions with the sizes of a MuJoCo task, networks with two layers of 64 (with and without the
factors that AdaRL cuts) and of 256. Contenders take turns, repeat by repeat; CPU time, so that other work on the
machine matters little.

Needs: pip install 'vlarl[mujoco,bench]'
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError
from vlarl.extras import missing_extra

TRANSITIONS = 10_000
WIDTHS = (64, 256)


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench updates``."""

    env_id: str = "Hopper-v5"
    """Whose sizes the transitions have."""
    updates: int = 200
    """Per repeat and contender."""
    repeats: int = 5
    threads: int = 1
    """Of torch, for all."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    if options.updates < 1 or options.repeats < 1:
        raise UserError("--updates and --repeats take 1 or more")
    import torch

    torch.set_num_threads(options.threads)
    table, contenders = Table(), {}
    for width in WIDTHS:
        contenders[f"ours {width}"] = ours(options.env_id, width)
        contenders[f"by autograd {width}"] = ours(options.env_id, width, by_autograd=True)
        contenders[f"Stable-Baselines3 {width}"] = stable_baselines(options.env_id, width)
    contenders["AdaRL 64"] = ours(options.env_id, 64, factored=True)
    for repeat in range(options.repeats + 1):
        for name, update in contenders.items():
            started = time.process_time()
            update(options.updates if repeat else 1)
            if repeat:  # the first round warms up
                table.add(name, "CPU ms", 1e3 * (time.process_time() - started) / options.updates)
    pairs = [
        (f"{other} {width}", f"ours {width}") for width in WIDTHS for other in ("by autograd", "Stable-Baselines3")
    ]
    factors = ratios(table, pairs)
    print_rows(f"one update of SAC, {options.env_id}, {options.threads} threads", table.rows(), factors)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        words = ["vlarl", "bench", "updates", "--env-id", options.env_id, "--updates", str(options.updates)]
        words += ["--repeats", str(options.repeats), "--threads", str(options.threads)]
        protocol = {"batch": 256, "transitions": TRANSITIONS, "threads": options.threads, "interleaved": True}
        content = {"rows": table.rows(), "ratios": dict(factors)}
        write_result(options.json, result_header(words, protocol) | content)
    return 0


def ours(env_id: str, width: int, *, factored: bool = False, by_autograd: bool = False) -> Callable[[int], None]:
    """Does so many of our updates."""
    import torch

    from envs.mujoco import MujocoConfig
    from vlarl.learner import LearnerConfig
    from vlarl.objectives.adarl import AdaRlConfig
    from vlarl.objectives.sac import SacConfig
    from vlarl.objectives.sac_gradients import AutogradGradients
    from vlarl.policies.mlp import FactoredMlp, SquashedMlp

    env, hidden = MujocoConfig(env_id=env_id), (width, width)
    policy = (FactoredMlp if factored else SquashedMlp).for_env(env, hidden=hidden)
    config = AdaRlConfig(hidden=hidden, every=0) if factored else SacConfig(hidden=hidden)
    learner = config.build_learner(policy, LearnerConfig(learning_rate=3e-4))
    if by_autograd:
        learner.gradients = AutogradGradients(policy, learner.critic, learner.target)
    columns = transitions(policy.config.state_size, learner.action_size)
    learner.buffer.append({name: torch.from_numpy(column) for name, column in columns.items()})
    generator = np.random.default_rng(0)

    def update(number: int) -> None:
        for _ in range(number):
            learner.step(generator)

    return update


def stable_baselines(env_id: str, width: int) -> Callable[[int], None]:
    """Does so many of Stable-Baselines3's updates."""
    try:
        import gymnasium
        from stable_baselines3 import SAC
        from stable_baselines3.common.logger import configure
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "stable_baselines3", needed_by="vlarl bench updates") from error
    env: Any = gymnasium.make(env_id)
    model: Any = SAC(
        "MlpPolicy", env, device="cpu", policy_kwargs={"net_arch": [width, width]}, buffer_size=TRANSITIONS
    )
    model.set_logger(configure(format_strings=[]))
    columns = transitions(env.observation_space.shape[0], env.action_space.shape[0])
    for state, following, action, reward in zip(
        columns["state"], columns["next_state"], columns["action"], columns["reward"], strict=True
    ):
        model.replay_buffer.add(state, following, action, reward, np.zeros(1), [{}])
    return lambda number: model.train(gradient_steps=number, batch_size=256)


def transitions(state_size: int, action_size: int) -> dict[str, np.ndarray]:
    """Random ones, none of which ends an episode."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return generator.standard_normal((TRANSITIONS, *shape), dtype=np.float32)

    return {
        "state": draw(state_size),
        "action": np.tanh(draw(action_size)),
        "reward": draw(),
        "next_state": draw(state_size),
        "discount": np.full(TRANSITIONS, 0.99, dtype=np.float32),
    }
