"""Measure every task of whole suites, briefly: how much faster than LIBERO's own vector environment, suite by suite.

Example::

    vlarl bench suites --json suites.json
    vlarl bench suites --suites libero_goal --contenders reference fast --json goal.json

Every task is played by all contenders, interleaved, for a few seconds; a suite's figure is the median over its tasks.
The result is written after every task, and a second run with the same flags goes on where the first was stopped.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlarl.bench import rollout
from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench suites``."""

    suites: tuple[str, ...] = ("libero_spatial", "libero_object", "libero_goal", "libero_10")
    """Whose tasks to play."""
    tasks: tuple[int, ...] = ()
    """Task indices within each suite; none means all."""
    contenders: tuple[str, ...] = ("subproc", "reference", "fast")
    """Which to measure: subproc, async, reference, fast."""
    workers: int = 2
    """Simulator processes of every contender."""
    episodes: int = 4
    """Episodes per repeat, a multiple of workers."""
    steps: int = 32
    """Control steps per episode."""
    repeats: int = 1
    """How often each contender is measured on each task, interleaved."""
    json: Path | None = None
    """Write rows and ratios to this file, after every task; go on where it ends."""


def run(options: Options) -> int:
    """Measure, print, write."""
    from vlarl.commands.eval import choose_tasks, env_for_suite

    jobs = [
        (suite, info.task)
        for suite in options.suites
        for info in choose_tasks(env_for_suite(suite), suite, options.tasks)
    ]
    for suite, task in jobs:
        rollout.check(task_options(options, suite, task))
    measured = earlier_rows(options)
    for number, (suite, task) in enumerate(jobs, 1):
        if not all(f"{suite} {task} {name}" in measured for name in options.contenders):
            table = Table()
            rollout.measure(task_options(options, suite, task), table)
            measured |= {f"{suite} {task} {row['name']}": row for row in table.rows()}
            write(options, jobs, measured)
            found = ", ".join(f"{name} {factor:.1f}x" for name, factor in ratios(table, rollout.RATIOS).items())
            print(f"{number}/{len(jobs)} {suite} task {task}: {found or 'measured'}", file=sys.stderr, flush=True)
    table, factors = summary(options, jobs, measured)
    print_rows(f"medians over tasks, {options.workers} workers", table.rows(), factors)
    write(options, jobs, measured)
    return 0


def task_options(options: Options, suite: str, task: int) -> rollout.Options:
    """The same flags for one task."""
    return rollout.Options(
        suite=suite,
        task=task,
        contenders=options.contenders,
        workers=options.workers,
        episodes=options.episodes,
        steps=options.steps,
        repeats=options.repeats,
        phases=False,
    )


def summary(options: Options, jobs: list[tuple[str, int]], measured: dict[str, Any]) -> tuple[Table, dict[str, float]]:
    """Per suite: speeds over tasks (one sample per task) and the median of the tasks' own ratios."""
    table, factors = Table(), {}
    for suite in options.suites:
        speedups = Table()
        for task in [task for name, task in jobs if name == suite]:
            own = Table()
            for name in options.contenders:
                row = measured[f"{suite} {task} {name}"]
                table.add(f"{suite} {name}", row["unit"], row["median"])
                own.add(name, row["unit"], row["median"])
            for ratio, value in ratios(own, rollout.RATIOS).items():
                speedups.add(ratio, "", value)
        factors |= {f"{suite} {row['name']}": float(row["median"]) for row in speedups.rows()}
    return table, factors


def protocol(options: Options) -> dict[str, Any]:
    """What the figures must name."""
    first = task_options(options, options.suites[0], 0)
    named = {
        name: {key: value for key, value in rollout.env_config(first, name).protocol().items() if key != "horizon"}
        for name in rollout.ENGINES
    }
    return named | {"chunk": 8, "episodes": options.episodes, "steps": options.steps, "repeats": options.repeats}


def earlier_rows(options: Options) -> dict[str, Any]:
    """Rows that an earlier run with the same protocol has written, by name.

    Raises:
        UserError: the file holds something else.
    """
    from vlarl.files import read_json

    if options.json is None or not options.json.exists():
        return {}
    result = read_json(options.json)
    if result.get("protocol") != protocol(options):
        raise UserError(f"{options.json} holds another measurement; name another file with --json, or move it away")
    return {row["name"]: {**row, "name": row["name"].split(" ", 2)[2]} for row in result["rows"]}


def write(options: Options, jobs: list[tuple[str, int]], measured: dict[str, Any]) -> None:
    """Write what there is."""
    from vlarl.results import result_header, write_result

    if options.json is None:
        return
    words = ["vlarl", "bench", "suites", "--suites", *options.suites, "--contenders", *options.contenders]
    words += ["--workers", str(options.workers), "--steps", str(options.steps), "--repeats", str(options.repeats)]
    done = [job for job in jobs if all(f"{job[0]} {job[1]} {name}" in measured for name in options.contenders)]
    suites = tuple(dict.fromkeys(suite for suite, _ in done))
    _, factors = summary(dataclasses.replace(options, suites=suites), done, measured)
    rows = [{**row, "name": name} for name, row in measured.items()]
    write_result(options.json, result_header(words, protocol(options)) | {"rows": rows, "ratios": factors})
