"""Plays an episode in LIBERO's own environment and records what the tests compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.libero import suites

STOCK_CAMERAS = {"agentview": "agentview_image", "wrist": "robot0_eye_in_hand_image"}


@dataclass
class StockEpisode:
    qpos: np.ndarray
    """[1 + steps, nq]: after settling, then after every control step."""
    qvel: np.ndarray
    success: np.ndarray
    """bool [steps]"""
    images: dict[int, dict[str, np.ndarray]]
    """Upright camera images by number of executed control steps."""
    state: dict[int, np.ndarray]
    """Proprioception float32 [8] by number of executed control steps."""


def noisy_actions(steps: int, seed: int) -> np.ndarray:
    """Random arm motion that tends downwards, the gripper closing and opening, some steps without rotation."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1.2, 1.2, (steps, 7))
    actions[:, 2] -= 0.4
    actions[::5, 3:6] = 0.0
    actions[:, 6] = np.where(np.arange(steps) // 12 % 2 == 0, 1.0, -1.0)
    return actions.astype(np.float32)


def proprioception(observation: dict) -> np.ndarray:
    """As OpenVLA-OFT's run_libero_eval assembles it from the stock observation."""
    x, y, z, w = observation["robot0_eef_quat"]
    w = min(max(w, -1.0), 1.0)
    norm = math.sqrt(1.0 - w * w)
    turn = np.zeros(3) if math.isclose(norm, 0.0) else np.array([x, y, z]) * 2.0 * math.acos(w) / norm
    parts = [observation["robot0_eef_pos"], turn, observation["robot0_gripper_qpos"]]
    return np.concatenate(parts).astype(np.float32)


def play_stock(suite: str, task: int, init_state: int, actions: np.ndarray, chunk: int = 8) -> StockEpisode:
    """The published evaluation's sequence: seed, reset, set_init_state, ten steps of waiting, then ``actions``.

    Only decision frames are rendered (the other images are replaced by zeros); nothing else is touched.
    """
    with suites.silence():
        from libero.libero.envs import OffScreenRenderEnv

        env = OffScreenRenderEnv(
            bddl_file_name=str(suites.bddl_path(suite, task)), camera_heights=128, camera_widths=128
        )
        env.seed(0)
        env.reset()
    sim, wanted = env.sim, [False]
    draw, context = sim.render, sim._render_context_offscreen

    def render(width=None, height=None, **keywords):
        if not wanted[0]:
            return np.zeros((height, width, 3), dtype=np.uint8)
        context.gl_ctx.make_current()
        return draw(width=width, height=height, **keywords)

    sim.render = render
    env.set_init_state(suites.init_states(suite, task)[init_state])
    episode = StockEpisode(np.empty((0, 0)), np.empty((0, 0)), np.zeros(len(actions), bool), {}, {})
    qpos, qvel = [], []

    def step(action, number: int) -> None:
        wanted[0] = number % chunk == 0 or number == len(actions)
        observation, _, done, _ = env.step(action)
        if wanted[0] and number >= 0:
            episode.images[number] = {name: observation[key][::-1] for name, key in STOCK_CAMERAS.items()}
            episode.state[number] = proprioception(observation)
        if number >= 0:
            qpos.append(sim.data.qpos.copy())
            qvel.append(sim.data.qvel.copy())
        if number > 0:
            episode.success[number - 1] = done

    for waited in range(10):
        step([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0], waited - 9)
    for index, action in enumerate(actions):
        step(action, index + 1)
    episode.qpos, episode.qvel = np.array(qpos), np.array(qvel)
    env.close()
    return episode
