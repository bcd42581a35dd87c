"""What others use to play LIBERO: its ``SubprocVectorEnv``, and gymnasium's ``AsyncVectorEnv`` with shared memory.

Both step the stock environment: every camera is rendered at every control step, and all environments wait for the
slowest.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from vlarl.bench.contenders import CpuClock, Measurement
from vlarl.env_protocol import Float32Array
from vlarl.extras import missing_extra

CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")
WAITING = np.array([0, 0, 0, 0, 0, 0, -1.0], dtype=np.float32)
"""Arm still, gripper opening, while the scene settles."""


def proportional_bytes(pid: int) -> int:
    """Memory of a process with shared pages divided among their users."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))


def make_stock(suite: str, task: int, resolution: int) -> Callable[[], Any]:
    """A function that builds the stock environment with two cameras."""
    from envs.libero import suites

    suites.prepare_process()
    with suites.silence():
        from libero.libero.envs import OffScreenRenderEnv

    path = str(suites.bddl_path(suite, task))

    def make() -> Any:
        with suites.silence():
            size = {"camera_heights": resolution, "camera_widths": resolution}
            return OffScreenRenderEnv(bddl_file_name=path, horizon=10**9, **size)

    return make


class StockVectorEnv(ABC):
    """Episodes in waves of one per worker; a frame per control step."""

    name: str

    def __init__(self, suite: str, task: int, workers: int) -> None:
        from envs.libero import suites

        self._states = suites.init_states(suite, task)
        self._workers = workers
        self._pids: list[int] = []

    @abstractmethod
    def _start(self, first: int) -> None:
        """Put the environments into recorded states ``first`` and following."""

    @abstractmethod
    def _step(self, actions: Float32Array) -> None:
        """One control step of ``actions [workers, 7]``."""

    def play(self, actions: Float32Array) -> Measurement:
        """Play all episodes; starting and settling are not counted."""
        measured = Measurement(seconds=0.0, steps=0, frames=0, cpu_seconds=0.0)
        waiting = np.tile(WAITING, (self._workers, 1))
        for first in range(0, len(actions), self._workers):
            self._start(first)
            for _ in range(10):
                self._step(waiting)
            clock, started = CpuClock(self._pids), time.perf_counter()
            for step in range(actions.shape[1]):
                self._step(actions[first : first + self._workers, step])
            measured.seconds += time.perf_counter() - started
            measured.cpu_seconds += clock.seconds()
            measured.steps += self._workers * actions.shape[1]
        measured.frames = measured.steps
        return measured

    def memory_bytes(self) -> int:
        """Proportional set size of the worker processes."""
        return sum(proportional_bytes(pid) for pid in self._pids)

    @abstractmethod
    def close(self) -> None:
        """End the worker processes."""


class Subproc(StockVectorEnv):
    """LIBERO's ``SubprocVectorEnv`` over ``OffScreenRenderEnv`` as shipped: pipes every image."""

    name = "subproc"

    def __init__(self, suite: str, task: int, workers: int, resolution: int) -> None:
        super().__init__(suite, task, workers)
        make = make_stock(suite, task, resolution)
        from libero.libero.envs import SubprocVectorEnv

        self._envs = SubprocVectorEnv([make for _ in range(workers)])
        self._envs.seed(0)
        self._envs.reset()
        self._pids = [worker.process.pid for worker in self._envs.workers]

    def _start(self, first: int) -> None:
        self._envs.set_init_state(self._states[first : first + self._workers])

    def _step(self, actions: Float32Array) -> None:
        self._envs.step(actions)

    def close(self) -> None:
        """End the worker processes."""
        self._envs.close()


class Async(StockVectorEnv):
    """gymnasium's ``AsyncVectorEnv`` with its shared memory over the same stock environment."""

    name = "async"

    def __init__(self, suite: str, task: int, workers: int, resolution: int) -> None:
        super().__init__(suite, task, workers)
        try:
            import gymnasium
        except ImportError as error:
            raise missing_extra("gymnasium", needed_by="--contenders async") from error
        make = make_stock(suite, task, resolution)
        states, image = self._states, gymnasium.spaces.Box(0, 255, (resolution, resolution, 3), np.uint8)

        class Stock(gymnasium.Env):
            observation_space = gymnasium.spaces.Dict(dict.fromkeys(CAMERAS, image))
            action_space = gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float32)

            def __init__(self) -> None:
                self._env = make()
                self._env.seed(0)
                self._env.reset()

            def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
                return self._seen(self._env.set_init_state(states[seed or 0])), {}

            def step(self, action: Float32Array) -> tuple[Any, float, bool, bool, dict[str, Any]]:
                observation, reward, _, _ = self._env.step(action)
                return self._seen(observation), float(reward), False, False, {}

            @staticmethod
            def _seen(observation: Any) -> dict[str, Any]:
                return {name: observation[name] for name in CAMERAS}

        self._envs = gymnasium.vector.AsyncVectorEnv([Stock for _ in range(workers)], shared_memory=True)
        self._pids = [process.pid for process in self._envs.processes]

    def _start(self, first: int) -> None:
        self._envs.reset(seed=[first + index for index in range(self._workers)])

    def _step(self, actions: Float32Array) -> None:
        self._envs.step(actions)

    def close(self) -> None:
        """End the worker processes."""
        self._envs.close()
