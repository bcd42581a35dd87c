"""What ``vlarl bench`` compares: what contenders have in common, and our worker pool; ``stock`` holds the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

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
    """CPU time of the simulator processes and of the process that asks them."""
    phases: dict[str, float] = field(default_factory=dict)
    """CPU seconds by phase, where the engine tells them apart."""


def process_cpu_seconds(pid: int) -> float:
    """CPU time of a living process, from its clock (nanoseconds; ``/proc`` counts hundredths of a second)."""
    return time.clock_gettime((~pid << 3) | 2)


class CpuClock:
    """CPU time that these processes and the calling one use from now on."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = list(pids)
        self._start = self._now()

    def _now(self) -> float:
        return time.process_time() + sum(process_cpu_seconds(pid) for pid in self._pids)

    def seconds(self) -> float:
        """So far."""
        return self._now() - self._start


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
        clock, started = CpuClock(self._pool.worker_pids()), time.perf_counter()
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
        measured.cpu_seconds = clock.seconds()
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
