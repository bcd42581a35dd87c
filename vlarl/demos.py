"""Scripted demonstrations, made by worker processes: one task at a time per process, a fresh process per task.

The expert acts on its own slot of the simulator. What it did is then replayed through the environment that policies
are trained and evaluated in, one control step per chunk, and only an episode whose replay ends in ``SUCCESS`` is
kept: a demonstration is proven to work by the time it is written.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vlarl.data.demonstration import Demonstration
from vlarl.env_protocol import EpisodeSpec, Outcome

if TYPE_CHECKING:
    from envs.libero.expert.expert import Expert, Performance

GIVE_UP_AFTER = 6
"""A task none of whose first initial states could be solved is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoJob:
    """What one worker process does: demonstrate one task."""

    suite: str
    task: int
    instruction: str
    horizon: int
    init_states: tuple[int, ...]
    """Tried in this order until ``episodes`` demonstrations are made."""
    episodes: int
    noise: float
    seed: int
    profile: str
    controller: str
    resolution: int
    render: bool
    """False: only find out what the expert can do."""
    max_attempts: int
    """Skills tried per initial state before it counts as unsolved."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one initial state."""

    task: int
    init_state: int
    steps: int
    """Length of the demonstration [control steps]; 0 where there is none."""
    demonstration: Demonstration | None

    @property
    def solved(self) -> bool:
        """Whether the expert has a clean episode from this state."""
        return self.steps > 0


@dataclass(slots=True)
class TaskReport:
    """One row of the expert's table."""

    task: int
    instruction: str
    solved: list[int] = field(default_factory=list)
    """Initial states with a clean episode."""
    attempted: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""
    """Why the worker stopped early, if it did."""

    @property
    def rate(self) -> float:
        """Solved over attempted initial states."""
        return len(set(self.solved)) / max(1, len(set(self.attempted)))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": self.task,
            "instruction": self.instruction,
            "solved": len(self.solved),
            "attempted": len(self.attempted),
            "unsolved_init_states": sorted(set(self.attempted) - set(self.solved)),
            "mean_steps": float(np.mean(self.lengths)) if self.lengths else None,
            "seconds": round(self.seconds, 1),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class TaskDone:
    """A worker finished its task."""

    task: int
    seconds: float
    error: str


class InTaskOrder:
    """Hands demonstrations on task by task, whatever order workers finish in: a data set is the same every time.

    Args:
        tasks: the order.
        write: takes a demonstration.
    """

    def __init__(self, tasks: Sequence[int], write: Callable[[Demonstration], None]) -> None:
        self._waiting = list(tasks)
        self._held: dict[int, list[Demonstration]] = {task: [] for task in tasks}
        self._finished: set[int] = set()
        self._write = write

    def add(self, demonstration: Demonstration) -> None:
        """One more of its task; written at once where it is its task's turn."""
        self._held[demonstration.task].append(demonstration)
        self._hand_on()

    def finish(self, task: int) -> None:
        """No more will come of this task."""
        self._finished.add(task)
        self._hand_on()

    def _hand_on(self) -> None:
        while self._waiting:
            task = self._waiting[0]
            for demonstration in self._held[task]:
                self._write(demonstration)
            self._held[task] = []
            if task not in self._finished:
                return
            self._waiting.pop(0)


def make_demonstrations(jobs: Sequence[DemoJob], workers: int) -> Iterator[Attempt | TaskDone]:
    """Run ``jobs`` in ``workers`` processes and yield what they report, as it comes.

    A worker that dies is reported as ``TaskDone`` with an error; the other tasks go on.
    """
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue(maxsize=8)
    waiting = list(jobs)
    running: dict[int, Any] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                process = context.Process(target=_work, args=(job, reports), daemon=True)
                process.start()
                running[job.task] = process
            try:
                report = reports.get(timeout=0.5)
            except queue.Empty:
                for task, process in list(running.items()):
                    if not process.is_alive() and reports.empty():
                        del running[task]
                        yield TaskDone(task, 0.0, f"the worker process died (exit code {process.exitcode})")
                continue
            if isinstance(report, TaskDone):
                running.pop(report.task).join()
            yield report
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _work(job: DemoJob, reports: Any) -> None:
    started, error = time.monotonic(), ""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for attempt in demonstrate_task(job):
            reports.put(attempt)
    except Exception:
        error = traceback.format_exc(limit=-3).strip()
    reports.put(TaskDone(job.task, time.monotonic() - started, error))


def _end_with_parent() -> None:
    """A killed command cannot end its workers, and a worker that waits for room in the queue would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def demonstrate_task(job: DemoJob) -> Iterator[Attempt]:
    """Demonstrate one task in this process, one ``Attempt`` per initial state tried."""
    from envs.libero.env import LiberoConfig
    from envs.libero.expert.expert import Expert
    from envs.libero.simulator import get_task_simulator

    config = LiberoConfig(
        profile=job.profile,  # type: ignore[arg-type]  # the command has checked the name
        controller=job.controller,  # type: ignore[arg-type]
        resolution=job.resolution,
        horizon=job.horizon,
    )
    slot = get_task_simulator(job.suite, job.task).make_slot(config.controller)
    expert = Expert(slot, max_steps=job.horizon, max_attempts=job.max_attempts)
    env = config.make() if job.render else None
    solved = 0
    for number, init_state in enumerate(job.init_states):
        if solved >= job.episodes or (solved == 0 and number >= GIVE_UP_AFTER):
            return
        attempt = _attempt(job, expert, env, init_state, number)
        solved += attempt.solved
        yield attempt


def _attempt(job: DemoJob, expert: Expert, env: Any, init_state: int, number: int) -> Attempt:
    seed = [job.seed, job.task, init_state, number]
    performance = expert.demonstrate(init_state, noise=job.noise, seed=seed)
    if performance is None:
        return Attempt(job.task, init_state, 0, None)
    steps = len(performance.actions)
    if env is None:
        return Attempt(job.task, init_state, steps, None)
    demonstration = record(job, performance, env)
    if demonstration is None:
        return Attempt(job.task, init_state, 0, None)
    return Attempt(job.task, init_state, steps, demonstration)


def record(job: DemoJob, performance: Performance, env: Any) -> Demonstration | None:
    """Replay a performance in the environment and keep every observation; None if the replay does not succeed.

    Row ``t`` pairs what a policy would see before step ``t`` with the expert's clean action at that state, while the
    action that was executed, noise included, leads to the next row.
    """
    spec = EpisodeSpec(
        suite=job.suite,
        task=job.task,
        instruction=job.instruction,
        init_state=performance.init_state,
        seed=job.seed,
        split="demonstration",
    )
    observation = env.reset(spec)
    observations, outcome = [], Outcome.RUNNING
    for action in performance.executed:
        if outcome.has_ended:
            return None
        observations.append(observation)
        result = env.step_chunk(action[None])
        observation, outcome = result.observation, result.outcome
    if outcome is not Outcome.SUCCESS:
        return None
    return Demonstration(
        images={name: np.stack([o.images[name] for o in observations]) for name in observations[0].images},
        state=np.stack([o.state for o in observations]),
        actions=performance.actions,
        instruction=job.instruction,
        suite=job.suite,
        task=job.task,
        init_state=performance.init_state,
        succeeded=True,
    )
