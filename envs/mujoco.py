"""Gymnasium environments, MuJoCo's v5 suite first: state vectors, dense rewards, no task text.

Any registered id works, ``package:Id`` imports the package that registers it (``gym_electric_motor:Cont-CC-PMSM-v0``).
What the adapter does: flattens observations to ``float32``, counts the time limit itself (some environments have none),
clips actions to their bounds, and passes the initial state's number as the seed at every reset, since an unseeded
reset need not be reproducible. Observations are not checked against their declared box, which some leave.

An episode that terminates is a FAILURE, one that reaches the time limit is TRUNCATED: nothing here succeeds, results
are returns. Example::

    vlarl train mujoco_ppo --env.env-id HalfCheetah-v5
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    TaskInfo,
    UnknownTaskError,
    check_actions,
)

NUM_INIT_STATES = 1000
DEFAULT_HORIZON = 1000


@dataclass(frozen=True, kw_only=True)
class MujocoConfig:
    """Builds slots of one Gymnasium environment."""

    env_id: str = "Hopper-v5"
    """Registered id."""
    horizon: int = 0
    """Control steps per episode; 0: the environment's own limit, 1000 where it has none."""
    every_frame: bool = False
    """Render every control step, for videos."""

    def make(self) -> GymnasiumSlot:
        """Build one slot."""
        return GymnasiumSlot(self)

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Nothing is shared between slots."""

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name."""
        return {"env": "gymnasium", "env_id": self.env_id, "gymnasium": gymnasium.__version__, "horizon": self.steps()}

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """One task, the environment itself."""
        return [
            TaskInfo(
                suite=suite,
                task=0,
                name=self.env_id,
                instruction="",
                num_init_states=NUM_INIT_STATES,
                horizon=self.steps(),
            )
        ]

    def steps(self) -> int:
        """Control steps per episode."""
        return self.horizon or registered(self.env_id).max_episode_steps or DEFAULT_HORIZON

    def spaces(self) -> dict[str, Any]:
        """Sizes for a fresh policy: ``state_size`` and either ``low`` and ``high`` or ``choices``."""
        env = build(self.env_id)
        try:
            state_size = spaces.flatdim(env.observation_space)
            space = env.action_space
            if isinstance(space, spaces.Discrete):
                return {"state_size": state_size, "choices": int(space.n)}
            if not isinstance(space, spaces.Box) or not np.isfinite([space.low, space.high]).all():
                raise UnknownTaskError(
                    f"{self.env_id} has the action space {space}; Discrete or a bounded Box is needed"
                )
            low, high = (tuple(map(float, bound.ravel())) for bound in (space.low, space.high))
            return {"state_size": state_size, "low": low, "high": high}
        finally:
            env.close()


def registered(env_id: str) -> Any:
    """Gymnasium's record of an id.

    Raises:
        UnknownTaskError: no such id; Gymnasium's own message names the nearest one.
    """
    package, _, name = env_id.rpartition(":")
    try:
        if package:
            importlib.import_module(package)  # registers its environments
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        raise UnknownTaskError(f"environment {env_id!r}: {error}") from error


def build(env_id: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """The environment without Gymnasium's time limit and checker."""
    registered(env_id)
    return gymnasium.make(env_id, disable_env_checker=True, max_episode_steps=-1, **options)


class GymnasiumSlot:
    """One slot."""

    def __init__(self, config: MujocoConfig) -> None:
        self.config = config
        self.horizon = config.steps()
        self.env = build(config.env_id, render_mode="rgb_array") if config.every_frame else build(config.env_id)
        self.discrete = isinstance(self.env.action_space, spaces.Discrete)
        self.plain = isinstance(self.env.observation_space, spaces.Box)
        self.action_shape = () if self.discrete else self.env.action_space.shape or (1,)
        self.action_dim = int(np.prod(self.action_shape, dtype=int))
        self.step_seconds = float(getattr(self.env.unwrapped, "dt", 1.0))
        self.steps = 0
        self.outcome = Outcome.FAILURE
        self.state = np.zeros(0, dtype=np.float32)

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start from the state that the seed ``spec.init_state`` gives."""
        observation, _ = self.env.reset(seed=spec.init_state)
        self.steps, self.outcome = 0, Outcome.RUNNING
        return self._observe(observation)

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run the actions until the episode ends."""
        actions = check_actions(actions, self.action_dim)
        if self.outcome.has_ended:
            raise EnvError("step_chunk after the episode ended; call reset first")
        executed = np.zeros(len(actions), dtype=np.bool_)
        reward = np.zeros(len(actions), dtype=np.float32)
        frames, observation = [], None
        for index, action in enumerate(actions):
            observation, reward[index], terminated, truncated, _ = self.env.step(self._action(action))
            executed[index] = True
            self.steps += 1
            if self.config.every_frame:
                frames.append({"camera": np.asarray(self.env.render())})
            if terminated:
                self.outcome = Outcome.FAILURE
            elif truncated or self.steps >= self.horizon:
                self.outcome = Outcome.TRUNCATED
            if self.outcome.has_ended:
                break
        return StepResult(
            observation=self._observe(observation),
            executed=executed,
            reward=reward,
            outcome=self.outcome,
            frames=tuple(frames),
        )

    def close(self) -> None:
        """Free the simulator."""
        self.env.close()

    def _action(self, action: Float32Array) -> Any:
        if self.discrete:
            return int(action[0])
        space: Any = self.env.action_space
        return np.clip(action.reshape(self.action_shape), space.low, space.high).astype(space.dtype)

    def _observe(self, observation: Any) -> Observation:
        flat = observation if self.plain else spaces.flatten(self.env.observation_space, observation)
        state = np.asarray(flat, dtype=np.float32).ravel()
        return Observation(images={}, state=state, instruction="", time=self.steps * self.step_seconds)
