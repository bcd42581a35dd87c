"""Make scripted demonstrations of LIBERO tasks, as a LeRobotDataset v3 folder.

Example::

    vlarl demos libero_object --episodes 20 --out demos/libero_object
    vlarl demos libero_goal --tasks 0,3 --init-states 0-9 --noise 0.1 --out demos/drawers
    vlarl demos libero_10 --table-only --json expert.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vlarl.errors import UserError, unknown_name

if TYPE_CHECKING:
    from vlarl.demos import DemoJob, TaskReport
    from vlarl.env_protocol import TaskInfo


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl demos``."""

    suite: Annotated[str, tyro.conf.Positional]
    """libero_spatial, libero_object, libero_goal, libero_10, libero_90 or a LIBERO-PRO suite."""
    out: Path | None = None
    """Folder of the dataset; it must not exist yet, or see --overwrite."""
    episodes: int = 20
    """Demonstrations per task."""
    tasks: tuple[str, ...] = ("all",)
    """Which tasks: all, or numbers and ranges such as 0,3-5."""
    init_states: tuple[str, ...] = ("train",)
    """Recorded initial states to start from, in this order: train (the first 60 %, so that the rest stays held out
    for evaluation), all, or numbers and ranges such as 0-9."""
    noise: float = 0.1
    """Standard deviation of the executed action noise; the recorded action is the expert's clean correction."""
    workers: int = 2
    """Worker processes."""
    profile: Literal["fast", "reference"] = "fast"
    """Render profile: fast (simplified meshes) or reference (the stock pixels)."""
    controller: Literal["compiled", "exact"] = "compiled"
    """Controller stepping: compiled (fast) or exact (bit-equal to the stock environment)."""
    resolution: int = 128
    """Width and height of the images."""
    seed: int = 0
    """Seed of the action noise."""
    max_attempts: int = 60
    """Skills tried per initial state before it counts as unsolved."""
    table_only: bool = False
    """Only find out what the expert can do: every initial state is tried (at most EPISODES), nothing is rendered."""
    overwrite: bool = False
    """Replace the dataset that is in OUT."""
    resume: bool = False
    """Keep what is in OUT and make only the demonstrations that are missing."""
    json: Path | None = None
    """Write the table to this file."""


def run(options: Options) -> int:
    """Make the demonstrations and print the expert's table; status 1 if there is not a single one."""
    from rich.console import Console

    console = Console(highlight=False)
    if options.out is None and not options.table_only:
        raise UserError("where to? Give --out FOLDER, or --table-only to see what the expert can do.")
    jobs = make_jobs(options)
    if options.resume and options.out is not None:
        jobs = without_existing(jobs, options.out)
        if not jobs:
            console.print(f"{options.out} already holds {options.episodes} demonstrations of every task asked for")
            return 0
    reports = _make(options, jobs, console)
    _print_table(options, reports, console)
    if options.json is not None:
        _write_json(options, reports)
    return 0 if any(report.solved for report in reports) else 1


def make_jobs(options: Options) -> list[DemoJob]:
    """One job per task asked for.

    Raises:
        UserError: unknown suite or task, an initial state that is not there, a count or noise out of range.
    """
    from vlarl.demos import DemoJob

    if options.episodes < 1 or options.workers < 1:
        raise UserError(f"--episodes {options.episodes} and --workers {options.workers} must be at least 1")
    if not 0.0 <= options.noise < 1.0:
        raise UserError(f"--noise {options.noise} is outside [0, 1): actions have the range [-1, 1]")
    infos = _task_infos(options.suite)
    by_task = {info.task: info for info in infos}
    wanted = list(by_task) if options.tasks == ("all",) else parse_numbers(options.tasks, "--tasks")
    jobs = []
    for task in wanted:
        if task not in by_task:
            raise UserError(f"{options.suite} has no task {task}; there are {min(by_task)} to {max(by_task)}")
        info = by_task[task]
        states = _states(options, info)
        jobs.append(
            DemoJob(
                suite=options.suite,
                task=task,
                instruction=info.instruction,
                horizon=info.horizon,
                init_states=tuple(states),
                episodes=options.episodes,
                noise=options.noise,
                seed=options.seed,
                profile=options.profile,
                controller=options.controller,
                resolution=options.resolution,
                render=not options.table_only,
                max_attempts=options.max_attempts,
            )
        )
    return jobs


def without_existing(jobs: list[DemoJob], folder: Path) -> list[DemoJob]:
    """The jobs, less the demonstrations that ``folder`` already holds; jobs with nothing left to do are dropped."""
    from collections import Counter
    from dataclasses import replace

    from vlarl.data.lerobot import LeRobotDataset

    if not folder.exists():
        return jobs
    dataset = LeRobotDataset(folder, allow_empty=True)
    rows = [dataset.row(episode) for episode in range(len(dataset))]
    kept = []
    for job in jobs:
        done = Counter(row["init_state"] for row in rows if (row["suite"], row["task"]) == (job.suite, job.task))
        states = []
        for state in job.init_states:
            if done[state] > 0:
                done[state] -= 1
            else:
                states.append(state)
        missing = job.episodes - (len(job.init_states) - len(states))
        if missing > 0 and states:
            kept.append(replace(job, init_states=tuple(states), episodes=missing))
    return kept


def _task_infos(suite: str) -> list[TaskInfo]:
    from envs.libero import suites

    if suite not in suites.suite_names():
        raise UserError(unknown_name("suite", suite, suites.suite_names()))
    return list(suites.task_infos(suite))


def _states(options: Options, info: TaskInfo) -> list[int]:
    """Initial states in the order in which they are tried."""
    from vlarl.splits import init_states

    if options.init_states == ("train",):
        states = init_states("heldout", "train", info.num_init_states)
    elif options.init_states == ("all",):
        states = list(range(info.num_init_states))
    else:
        states = parse_numbers(options.init_states, "--init-states")
    bad = [state for state in states if not 0 <= state < info.num_init_states]
    if bad:
        raise UserError(
            f"{info.suite} task {info.task} has initial states 0 to {info.num_init_states - 1}, not {bad[0]}"
        )
    if options.table_only:
        return states[: options.episodes]
    # More demonstrations than initial states: go round again, with other noise.
    rounds = -(-options.episodes // len(states))
    return states * rounds


def parse_numbers(parts: Sequence[str], flag: str) -> list[int]:
    """``("0", "3-5")`` -> ``[0, 3, 4, 5]``.

    Raises:
        UserError: anything else.
    """
    numbers: list[int] = []
    for part in parts:
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise UserError(f"{flag}: {part!r} is neither a number nor a range; write for example 0,3-5")
        numbers += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(numbers))


def _make(options: Options, jobs: list[DemoJob], console: Any) -> list[TaskReport]:
    from contextlib import nullcontext

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from vlarl.data.lerobot import LeRobotWriter
    from vlarl.demos import InTaskOrder, TaskDone, TaskReport, make_demonstrations

    reports = {job.task: TaskReport(job.task, job.instruction) for job in jobs}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    writer = nullcontext() if options.out is None or options.table_only else _open_writer(LeRobotWriter, options)
    errors = Console(stderr=True, highlight=False)
    with writer, Progress(*columns, console=errors, transient=True) as progress:
        total = progress.add_task(options.suite, total=sum(min(job.episodes, len(job.init_states)) for job in jobs))
        ordered = InTaskOrder([job.task for job in jobs], lambda episode: writer.add_episode(episode))  # type: ignore
        for event in make_demonstrations(jobs, options.workers):
            report = reports[event.task]
            if isinstance(event, TaskDone):
                ordered.finish(event.task)
                report.seconds, report.error = event.seconds, event.error
                _show_done(errors, report)
                continue
            report.attempted.append(event.init_state)
            if event.solved:
                report.solved.append(event.init_state)
                report.lengths.append(event.steps)
            if event.demonstration is not None:
                ordered.add(event.demonstration)
            if event.solved or options.table_only:
                progress.advance(total)
    return [reports[job.task] for job in jobs]


def _open_writer(writer_class: Any, options: Options) -> Any:
    return writer_class(options.out, fps=20, robot_type="panda", overwrite=options.overwrite, resume=options.resume)


def _show_done(console: Any, report: TaskReport) -> None:
    counts = f"{len(report.solved)}/{len(report.attempted)} ({report.seconds:.0f} s)"
    console.print(f"task {report.task}: {counts} {report.instruction}")
    if report.error:
        console.print(report.error, markup=False)


def _print_table(options: Options, reports: list[TaskReport], console: Any) -> None:
    from rich.table import Table

    table = Table(title=f"Scripted expert on {options.suite}", title_justify="left", box=None, padding=(0, 1))
    for name in ("task", "solved", "steps", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("instruction", overflow="fold")
    for report in reports:
        steps = f"{sum(report.lengths) / len(report.lengths):.0f}" if report.lengths else "-"
        solved = f"{len(report.solved)}/{len(report.attempted)}"
        table.add_row(str(report.task), solved, steps, f"{report.seconds:.0f}", report.instruction)
    console.print(table)
    failed = [report for report in reports if not report.solved]
    good = sum(report.rate >= 0.6 for report in reports)
    console.print(f"{good} of {len(reports)} tasks are solved on at least 60 % of the initial states tried")
    for report in failed:
        console.print(f"cannot do: task {report.task}, {report.instruction}", style="yellow")
    if options.out is not None and not options.table_only:
        console.print(f"{sum(len(r.lengths) for r in reports)} demonstrations in {options.out}")


def _write_json(options: Options, reports: list[TaskReport]) -> None:
    from vlarl.results import result_header, write_result

    protocol = {
        "suite": options.suite,
        "init_states": ",".join(options.init_states),
        "episodes": options.episodes,
        "noise": options.noise,
        "seed": options.seed,
        "render_profile": None if options.table_only else options.profile,
        "controller": options.controller,
        "max_attempts": options.max_attempts,
        "success": "the benchmark's predicate, and the object was held by the fingers",
    }
    header = result_header(["vlarl", "demos", options.suite], protocol)
    assert options.json is not None
    write_result(options.json, header | {"tasks": [report.as_dict() for report in reports]})
