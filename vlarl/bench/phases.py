"""Where the CPU time of a control step goes: physics, controller, success check, rendering, the rest.

The compiled controller runs inside one call with MuJoCo's C functions, so a clock inside would measure itself. Instead
the same control steps are played twice: with the controller, recording what it told the actuators, and again from the
same state with only those numbers. Both visit the same states bit for bit; the difference is the controller.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from envs.libero import suites
from vlarl.bench.stock import WAITING, make_stock
from vlarl.env_protocol import Float32Array

suites.prepare_process()

import mujoco  # noqa: E402  (reads MUJOCO_GL when imported)


def physics_share(suite: str, task: int, controller: Any, actions: Float32Array, repeats: int = 5) -> float:
    """Share of the simulation time that MuJoCo takes, the controller has the rest.

    Args:
        suite: LIBERO suite.
        task: its task.
        controller: ``exact`` or ``compiled``.
        actions: ``[steps, 7]``.
        repeats: the smallest time of this many is taken for both.
    """
    from envs.libero.controller import SUBSTEPS
    from envs.libero.simulator import get_task_simulator

    slot = get_task_simulator(suite, task).make_slot(controller)
    slot.reset(0)
    start = slot.snapshot()
    controls = np.empty((len(actions), SUBSTEPS, slot.model.nu))
    for step, action in enumerate(actions):
        for substep in range(SUBSTEPS):
            slot._controller.run(slot._state, action, substep, substep + 1)
            controls[step, substep] = slot.data.ctrl
    end = slot.data.qpos.copy()

    def whole() -> None:
        for action in actions:
            slot.step(action)

    def physics() -> None:
        play_controls(slot.model, slot.data, controls)

    seconds = {}
    for play in (whole, physics):
        times = []
        for _ in range(repeats):
            slot.restore(start)
            started = time.process_time()
            play()
            times.append(time.process_time() - started)
            if not np.array_equal(slot.data.qpos, end):
                raise RuntimeError("replaying the controls led to another state: the split would mean nothing")
        seconds[play] = min(times)
    return seconds[physics] / seconds[whole]


def play_controls(model: mujoco.MjModel, data: mujoco.MjData, controls: np.ndarray) -> None:
    """Physics alone under ``controls [steps, substeps, nu]``, compiled like the controller."""
    from envs.libero.osc import run_controls

    run_controls(model._address, data._address, data.ctrl, controls.reshape(-1, model.nu))


STOCK_PHASES = ("physics", "controller", "success", "render")


def stock_phases(suite: str, task: int, resolution: int, actions: Float32Array) -> dict[str, float]:
    """Shares of the stock environment's CPU time by phase, in this process.

    The forward passes that robosuite repeats count as physics; ``other`` is observables and Python.
    """
    env = make_stock(suite, task, resolution)()
    env.seed(0)
    env.reset()
    inner, spent = env.env, dict.fromkeys(STOCK_PHASES, 0.0)
    sim = inner.sim
    for _ in range(10):
        env.step(WAITING)
    with (
        _timed(sim, "step", spent, "physics"),
        _timed(sim, "forward", spent, "physics"),
        _timed(sim, "render", spent, "render"),
        _timed(inner.robots[0], "control", spent, "controller"),
        _timed(inner, "_check_success", spent, "success"),
    ):
        started = time.process_time()
        for action in actions:
            env.step(action)
        total = time.process_time() - started
    env.close()
    spent["other"] = total - sum(spent.values())
    return {name: seconds / total for name, seconds in spent.items()}


@contextmanager
def _timed(owner: Any, name: str, spent: dict[str, float], phase: str) -> Iterator[None]:
    """Count the time of ``owner.name``, less what other timed calls inside it count."""
    call: Callable[..., Any] = getattr(owner, name)

    def timed(*arguments: Any, **keywords: Any) -> Any:
        inside, started = sum(spent.values()), time.process_time()
        try:
            return call(*arguments, **keywords)
        finally:
            spent[phase] += time.process_time() - started - (sum(spent.values()) - inside)

    setattr(owner, name, timed)
    try:
        yield
    finally:
        delattr(owner, name)
