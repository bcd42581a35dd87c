"""Measure how long a worker takes to switch between tasks, and how much memory the compiled models take.

Example::

    vlarl bench switching --suite libero_object --tasks 0 1 2 3 --json switching.json

One worker, one slot. The tasks are built before the worker is forked; the first visit of a task opens its renderer
(textures are uploaded), a new initial state has to settle, and everything later restores a saved state: the state
that all episodes of a GRPO group start from.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlarl.bench.measure import Table, print_rows
from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.env_protocol import EnvConfig
    from vlarl.worker_pool import WorkerPool

LIMIT = 0.05
"""A switch to a task whose renderer is open should cost less than this [s]."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench switching``."""

    suite: str = "libero_object"
    """Whose tasks to play."""
    tasks: tuple[int, ...] = (0, 1, 2, 3)
    """Task indices; at least two."""
    profile: str = "fast"
    """Render profile."""
    rounds: int = 5
    """How often every task is visited."""
    group: int = 8
    """Episodes that start from the same state, one after the other."""
    json: Path | None = None
    """Write rows to this file."""


def run(options: Options) -> int:
    """Measure, print, write; the exit status is 1 where a switch costs more than 50 ms of CPU time."""
    from vlarl.worker_pool import WorkerPool

    if len(options.tasks) < 2 or options.rounds < 1:
        raise UserError("--tasks needs at least two tasks, --rounds at least 1")
    config = config_of(options)
    table = Table()
    named = [(options.suite, task) for task in options.tasks]
    with WorkerPool(config, tasks=named, workers=1, num_slots=1) as pool:
        visit(table, pool, "first visit, renderer opened", options, [(task, 0) for task in options.tasks])
        for number in range(options.rounds):
            fresh = [(task, number + 1) for task in options.tasks]
            visit(table, pool, "switch, new initial state", options, fresh)
            visit(table, pool, "switch, known initial state", options, fresh)
            visit(table, pool, "next of a group", options, [(options.tasks[0], 0)] * (options.group + 1), skip=1)
        table.add("simulators", "MiB", pool.memory_bytes() / 2**20)
    print_rows(f"switching between {len(options.tasks)} tasks, {options.profile}", table.rows(), {})
    if options.json is not None:
        write(options, config, table)
    return 1 if table.median("switch, new initial state, CPU") > 1e3 * LIMIT else 0


def config_of(options: Options) -> EnvConfig:
    """The environment in the chosen profile."""
    from vlarl.commands.eval import choose_tasks, env_for_suite, with_profile

    config: Any = with_profile(env_for_suite(options.suite), options.profile)
    choose_tasks(config, options.suite, options.tasks)
    return dataclasses.replace(config, controller="exact" if options.profile == "reference" else "compiled")


def visit(
    table: Table, pool: WorkerPool, name: str, options: Options, starts: Iterable[tuple[int, int]], skip: int = 0
) -> None:
    """Start episodes at ``(task, initial state)`` and record how long each start takes, but for the first ``skip``."""
    from vlarl.bench.contenders import process_cpu_seconds
    from vlarl.env_protocol import EpisodeSpec, Observation

    (worker,) = pool.worker_pids()
    for index, (task, init_state) in enumerate(starts):
        spec = EpisodeSpec(suite=options.suite, task=task, instruction="", init_state=init_state, seed=0)
        started, busy = time.perf_counter(), process_cpu_seconds(worker)
        pool.reset(0, spec)
        (event,) = pool.wait()
        if not isinstance(event.result, Observation):
            raise RuntimeError(f"{options.suite} task {task} could not be started: {event.result.events}")
        if index >= skip:
            table.add(name, "ms", 1e3 * (time.perf_counter() - started))
            table.add(f"{name}, CPU", "ms", 1e3 * (process_cpu_seconds(worker) - busy))


def write(options: Options, config: EnvConfig, table: Table) -> None:
    """Write the result file."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "switching", "--suite", options.suite, "--profile", options.profile, "--tasks"]
    words += [*map(str, options.tasks), "--rounds", str(options.rounds)]
    assert options.json is not None
    protocol = config.protocol() | {"group": options.group}
    write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": {}})
