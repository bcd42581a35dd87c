"""What ``vlarl bench rollout`` compares: LIBERO's own vector environment and vlarl's worker pool."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vlarl.env_protocol import EnvConfig, EpisodeSpec, Float32Array, Observation

CHUNK = 8
"""Control steps per decision, as OpenVLA-OFT and SimpleVLA-RL run LIBERO."""


@dataclass(slots=True)
class Measurement:
    """One repeat of one contender."""

    seconds: float
    """Wall-clock time of the stepping; resets are not counted."""
    steps: int
    """Control steps over all episodes."""
    frames: int
    """Decision frames (each of all cameras) that a policy could have seen."""
    cpu_seconds: float
    """CPU time of the simulator processes."""
    phases: dict[str, float] = field(default_factory=dict)
    """CPU seconds by phase, where the engine tells them apart."""


class Contender(Protocol):
    """Something that plays fixed action sequences."""

    name: str

    def play(self, actions: Float32Array) -> Measurement:
        """Play ``actions [episodes, steps, action_dim]``, episode ``i`` from initial state ``i``."""
        ...

    def memory_bytes(self) -> int:
        """Memory of the simulator processes, shared pages counted once."""
        ...

    def close(self) -> None:
        """End the processes."""
        ...


class StockVectorEnv:
    """LIBERO's ``SubprocVectorEnv`` over ``OffScreenRenderEnv`` as shipped: renders every step, pipes every image."""

    name = "subproc"

    def __init__(self, suite: str, task: int, workers: int, resolution: int) -> None:
        from envs.libero import suites

        suites.prepare_process()
        with suites.silence():
            from libero.libero.envs import OffScreenRenderEnv, SubprocVectorEnv

            path = str(suites.bddl_path(suite, task))

            def make() -> Any:
                size = {"camera_heights": resolution, "camera_widths": resolution}
                return OffScreenRenderEnv(bddl_file_name=path, horizon=10**9, **size)

            self._envs = SubprocVectorEnv([make for _ in range(workers)])
            self._envs.seed(0)
            self._envs.reset()
        self._states = suites.init_states(suite, task)
        self._workers = workers
        self._pids = [worker.process.pid for worker in self._envs.workers]

    def play(self, actions: Float32Array) -> Measurement:
        """Episodes in waves of one per worker; a frame per control step."""
        measured = Measurement(seconds=0.0, steps=0, frames=0, cpu_seconds=0.0)
        waiting = np.array([[0, 0, 0, 0, 0, 0, -1.0]] * self._workers)
        for first in range(0, len(actions), self._workers):
            self._envs.set_init_state(self._states[first : first + self._workers])
            for _ in range(10):
                self._envs.step(waiting)
            busy, started = self._cpu_seconds(), time.perf_counter()
            for step in range(actions.shape[1]):
                self._envs.step(actions[first : first + self._workers, step])
            measured.seconds += time.perf_counter() - started
            measured.cpu_seconds += self._cpu_seconds() - busy
            measured.steps += self._workers * actions.shape[1]
        measured.frames = measured.steps
        return measured

    def _cpu_seconds(self) -> float:
        ticks = 0
        for pid in self._pids:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # user and system time
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Proportional set size of the worker processes."""
        return sum(proportional_bytes(pid) for pid in self._pids)

    def close(self) -> None:
        """End the worker processes."""
        self._envs.close()


def proportional_bytes(pid: int) -> int:
    """Memory of a process with shared pages divided among their users."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))


class Engine:
    """vlarl's worker pool, playing recorded actions instead of a policy's."""

    def __init__(self, name: str, config: EnvConfig, suite: str, task: int, workers: int, episodes: int) -> None:
        from vlarl.worker_pool import WorkerPool

        self.name = name
        self._task = (suite, task)
        self._pool = WorkerPool(config, tasks=[self._task], workers=workers, num_slots=episodes)

    def play(self, actions: Float32Array) -> Measurement:
        """All episodes at once, one slot each; a frame per chunk."""
        suite, task = self._task
        for slot in range(len(actions)):
            spec = EpisodeSpec(suite=suite, task=task, instruction="", init_state=slot, seed=0)
            self._pool.reset(slot, spec)
        ready = 0
        while ready < len(actions):
            ready += len(self._pool.wait())
        measured = Measurement(seconds=0.0, steps=0, frames=0, cpu_seconds=0.0)
        position = [0] * len(actions)
        busy, started = self._pool.cpu_seconds, time.perf_counter()
        for slot in range(len(actions)):
            self._pool.step_chunk(slot, actions[slot, :CHUNK])
        while measured.steps < actions.shape[0] * actions.shape[1]:
            for event in self._pool.wait():
                self._count(event.result, measured)
                position[event.slot] += CHUNK
                rest = actions[event.slot, position[event.slot] : position[event.slot] + CHUNK]
                if len(rest):
                    self._pool.step_chunk(event.slot, rest)
        measured.seconds = time.perf_counter() - started
        measured.cpu_seconds = self._pool.cpu_seconds - busy
        return measured

    @staticmethod
    def _count(result: Any, measured: Measurement) -> None:
        if isinstance(result, Observation) or not result.executed.all() or not len(result.executed):
            raise RuntimeError(f"a benchmark episode ended early: {getattr(result, 'events', result)}")
        measured.steps += len(result.executed)
        measured.frames += 1
        for name, seconds in result.events.items():
            if name.startswith("seconds/"):
                phase = name.removeprefix("seconds/")
                measured.phases[phase] = measured.phases.get(phase, 0.0) + seconds

    def memory_bytes(self) -> int:
        """Nursery and workers."""
        return self._pool.memory_bytes()

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
