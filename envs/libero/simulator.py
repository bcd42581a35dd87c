"""One compiled LIBERO task per process, and the slots that share it.

robosuite builds the task once: it supplies the compiled model, names, robot constants and the benchmark's own
success predicates. Stepping does not go through it. Each ``Slot`` is one ``MjData`` with its controller state.
"""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.libero import suites
from vlarl.env_protocol import EnvError

suites.prepare_process()

import mujoco  # noqa: E402  (reads MUJOCO_GL when imported)

from envs.libero.build import arm_constants, build_stock, release_memory, reset_cache  # noqa: E402
from envs.libero.controller import (  # noqa: E402
    SUBSTEPS,
    CompiledController,
    ControllerState,
    ExactController,
)
from envs.libero.perturbation import STOCK, Perturbation  # noqa: E402

ControllerName = Literal["exact", "compiled"]
CONTROLLERS: dict[str, type[ExactController | CompiledController]] = {
    "exact": ExactController,
    "compiled": CompiledController,
}

OBSERVED_SUBSTEP = 24
"""robosuite samples observations every 50 ms of simulated time, counted from ``env.reset()``. The two forced samples
of ``reset`` and ``set_init_state`` shift that clock by two physics steps, so in LIBERO's evaluation loop an
observation is taken after the 24th of the 25 physics steps, not after the last."""

SETTLE_ACTION = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0])
"""Arm still, gripper opening: what OpenVLA's evaluation sends while the scene settles."""

STATE_KIND = mujoco.mjtState.mjSTATE_INTEGRATION
_DIVERGENCE_WARNINGS = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)
Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that decides how a slot goes on; restorable into any slot of the same task, bit for bit."""

    physics: Float64Array
    """MuJoCo's integration state (time, positions, velocities, warm start, ...)."""
    controller: ControllerState
    site_alpha: NDArray[np.float32] | None
    """Which lights (stove burners) are lit; ``None`` in scenes without any."""


class Slot:
    """One running copy of a task."""

    def __init__(self, task: TaskSimulator, controller: ControllerName) -> None:
        self.task = task
        self.model: mujoco.MjModel = task.model
        self.data = mujoco.MjData(task.model)
        self.controller_name = controller
        self._controller = CONTROLLERS[controller](task.model, self.data, task.arm, task.reset_cache)
        self._state = task.initial_controller_state()
        self.site_alpha = task.initial_site_alpha()

    @property
    def goal_state(self) -> list[list[str]]:
        """The task's goal: a conjunction of predicates such as ``["in", "alphabet_soup_1", "basket_1_..."]``."""
        return self.task.goal_state

    @property
    def language(self) -> str:
        """The task's instruction."""
        return self.task.info.instruction

    # -- playing ---------------------------------------------------------------------------------------------

    def reset(self, init_state: int, settle_steps: int = 10, observe: Callable[[], None] | None = None) -> None:
        """Start from recorded initial state ``init_state`` and let the scene settle.

        The settled state is computed once per process and restored afterwards. ``observe`` is called at the
        observation time of the last settling step; on a restore it is not called (keep what was observed).
        """
        key = (self.controller_name, init_state, settle_steps)
        if key not in self.task.settled_states:
            self.settle(init_state, settle_steps, observe)
        self.restore(self.task.settled_states[key])

    def settle(self, init_state: int, settle_steps: int, observe: Callable[[], None] | None = None) -> None:
        """Play the settling steps from a recorded initial state and remember where they end."""
        self._start(init_state)
        if settle_steps == 0 and observe is not None:
            observe()  # the sample that set_init_state forces
        for step in range(settle_steps):
            self.step(SETTLE_ACTION, observe if step == settle_steps - 1 else None)
        self.task.settled_states[self.controller_name, init_state, settle_steps] = self.snapshot()

    def _start(self, init_state: int) -> None:
        """``env.reset()`` and ``env.set_init_state()`` of the stock environment, without building anything."""
        suites.check_init_state(self.task.info.suite, self.task.info.task, init_state)
        recorded = suites.init_states(self.task.info.suite, self.task.info.task)[init_state]
        nq, nv = self.model.nq, self.model.nv
        if len(recorded) != 1 + nq + nv:
            raise EnvError(
                f"{self.task.info.suite} task {self.task.info.task}: a recorded state has {len(recorded)} numbers, "
                f"the compiled model needs {1 + nq + nv}"
            )
        mujoco.mj_resetData(self.model, self.data)
        self.data.time = recorded[0]
        self.data.qpos[:] = recorded[1 : 1 + nq]
        self.data.qvel[:] = recorded[1 + nq :]
        self.task.perturbation.displace(self.data.qpos, self.task.arm.qpos, init_state)
        mujoco.mj_forward(self.model, self.data)
        self._state = self.task.initial_controller_state()
        self._update_lights()

    def step(self, action: Any, observe: Callable[[], None] | None = None) -> None:
        """One control step (50 ms) of ``action [7]``.

        Args:
            action: arm deltas in [-1, 1] (clipped) and the gripper, of which the sign counts.
            observe: called once, at the moment the stock environment would sample its observations.

        Raises:
            EnvError: the simulation diverged.
        """
        action = np.asarray(action, dtype=np.float64)
        if observe is None:
            self._controller.run(self._state, action, 0, SUBSTEPS)
        else:
            self._controller.run(self._state, action, 0, OBSERVED_SUBSTEP)
            observe()
            self._controller.run(self._state, action, OBSERVED_SUBSTEP, SUBSTEPS)
        self._check_health()
        if self.task.has_lights:
            self._update_lights()

    def _check_health(self) -> None:
        for warning in _DIVERGENCE_WARNINGS:
            if self.data.warning[warning].number:
                name = warning.name.removeprefix("mjWARN_")
                raise EnvError(
                    f"MuJoCo reported an unstable simulation ({name}) in {self.task.describe()} at time "
                    f"{self.data.time:.3f} s"
                )
        if not (np.isfinite(self.data.qpos).all() and np.isfinite(self.data.qvel).all()):
            raise EnvError(f"the simulation state of {self.task.describe()} is not finite")

    def _update_lights(self) -> None:
        """What robosuite does after a step: a stove that is on shows its burner. Kept per slot, the model is shared."""
        if self.site_alpha is not None:
            self.site_alpha = self.task.light_state(self.data)

    # -- state ------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The complete state of this slot."""
        physics = np.empty(mujoco.mj_stateSize(self.model, STATE_KIND))
        mujoco.mj_getState(self.model, self.data, physics, STATE_KIND)
        alpha = None if self.site_alpha is None else self.site_alpha.copy()
        return Snapshot(physics=physics, controller=self._state.copy(), site_alpha=alpha)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from ``snapshot``, which any slot of the same task may have taken."""
        for entry in self.data.warning:
            entry.number = 0
        mujoco.mj_setState(self.model, self.data, snapshot.physics, STATE_KIND)
        mujoco.mj_fwdPosition(self.model, self.data)
        self._state = snapshot.controller.copy()
        self.site_alpha = None if snapshot.site_alpha is None else snapshot.site_alpha.copy()

    # -- questions ----------------------------------------------------------------------------------------------

    def success(self) -> bool:
        """The benchmark's own success predicate."""
        return self.task.evaluate(self.data, self.task.goal_state)

    def predicate(self, state: list[str]) -> bool:
        """One predicate in LIBERO's form, for example ``["open", "wooden_cabinet_1_top_region"]``."""
        return self.task.evaluate(self.data, [state])

    def body_position(self, name: str) -> Float64Array:
        """World position [m] of an object or fixture (LIBERO's name) or of a MuJoCo body."""
        return self.data.xpos[self.task.body_id(name)].copy()

    def body_rotation(self, name: str) -> Float64Array:
        """World rotation ``[3, 3]`` of an object, fixture or body."""
        return self.data.xmat[self.task.body_id(name)].reshape(3, 3).copy()

    def site_position(self, name: str) -> Float64Array:
        """World position [m] of a site, for example a goal region."""
        return self.data.site_xpos[self.task.site_id(name)].copy()

    def eef_pose(self) -> tuple[Float64Array, Float64Array]:
        """Grip site: position [m] and rotation ``[3, 3]`` in the world."""
        site = self.task.arm.site
        return self.data.site_xpos[site].copy(), self.data.site_xmat[site].reshape(3, 3).copy()

    def proprioception(self) -> NDArray[np.float32]:
        """``float32 [8]``: grip site position [m], hand orientation as axis-angle [rad], two finger positions [m].

        As OpenVLA-OFT's LIBERO evaluation assembles it from ``robot0_eef_pos``, ``robot0_eef_quat`` (of the hand
        body) and ``robot0_gripper_qpos``.
        """
        arm = self.task.arm
        state = np.empty(8, dtype=np.float32)
        state[:3] = self.data.site_xpos[arm.site]
        state[3:6] = axis_angle(self.data.xquat[self.task.hand_body])
        state[6:] = self.data.qpos[arm.gripper_qpos]
        return state


def axis_angle(quaternion: Float64Array) -> Float64Array:
    """Axis-angle [rad] of a ``wxyz`` quaternion, with an angle in [0, 2 pi].

    The sign of the quaternion is kept, as in robosuite's ``quat2axisangle``: a negative ``w`` gives an angle above pi.
    """
    w = min(max(float(quaternion[0]), -1.0), 1.0)
    norm = np.sqrt(1.0 - w * w)
    if norm == 0.0:
        return np.zeros(3)
    return quaternion[1:] * (2.0 * np.arccos(w) / norm)


class TaskSimulator:
    """One compiled task: the model, robot constants, predicates; shared by all slots of the process."""

    def __init__(self, suite: str, task: int, build_seed: int = 0, perturbation: Perturbation = STOCK) -> None:
        self.info = suites.task_info(suite, task)
        self.perturbation = perturbation
        self._stock = build_stock(suite, task, build_seed)
        self._sim = self._stock.sim
        self.model: mujoco.MjModel = self._sim.model._model
        perturbation.apply(self.model)
        # Nobody reads robosuite's force and torque sensors here, and they do not act on the state: 5 % of a step.
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
        self.goal_state: list[list[str]] = [list(s) for s in self._stock.parsed_problem["goal_state"]]
        self.has_lights = bool(self._stock.tracking_object_states_change)
        self.arm = arm_constants(self._stock, self.model)
        self.reset_cache = reset_cache(self._stock)
        self.hand_body = self.model.body(self._stock.robots[0].robot_model.eef_name).id
        self.settled_states: dict[tuple[str, int, int], Snapshot] = {}
        self.observations: dict[Any, Any] = {}
        """First decision frames by (initial state, how they were rendered): equal starts need no second render."""
        self.render_assets: dict[str, Any] = {}
        self.renderers: dict[Any, Any] = {}
        """Filled by ``envs.libero.render``; here so that they go with the task."""
        self._site_alpha = self.model.site_rgba[:, 3].copy()
        self._free_slots: dict[ControllerName, list[Slot]] = {}
        self.slots_in_use = 0
        self.built_by = os.getpid()
        release_memory()

    def make_slot(self, controller: ControllerName = "exact") -> Slot:
        """A new slot; cheap (one ``MjData``, about 6 MB)."""
        if controller not in CONTROLLERS:
            raise ValueError(f"unknown controller {controller!r}; choose from {', '.join(CONTROLLERS)}")
        return Slot(self, controller)

    def take_slot(self, controller: ControllerName) -> Slot:
        """A slot that nobody uses, made where there is none; give it back with ``return_slot``."""
        free = self._free_slots.get(controller)
        slot = free.pop() if free else self.make_slot(controller)
        self.slots_in_use += 1
        return slot

    def return_slot(self, slot: Slot, reusable: bool) -> None:
        """The slot is no longer played; one whose simulation failed is thrown away."""
        self.slots_in_use -= 1
        if reusable:
            self._free_slots.setdefault(slot.controller_name, []).append(slot)

    @property
    def memory_bytes(self) -> int:
        """The compiled model; most of it are textures."""
        return int(mujoco.mj_sizeModel(self.model))

    def describe(self) -> str:
        """Suite, task and instruction, for messages."""
        return f"{self.info.suite} task {self.info.task} ({self.info.instruction})"

    def initial_controller_state(self) -> ControllerState:
        """As after ``env.reset()``."""
        return ControllerState(
            gripper=np.zeros(2),
            goal_rotation=self.reset_cache.goal_rotation.copy(),
            goal_position=self.reset_cache.eef_position.copy(),
            fresh=True,
        )

    def initial_site_alpha(self) -> NDArray[np.float32] | None:
        """Site visibility of the freshly built model; ``None`` where nothing in the scene switches."""
        return self._site_alpha.copy() if self.has_lights else None

    def evaluate(self, data: mujoco.MjData, states: list[list[str]]) -> bool:
        """LIBERO's own predicates on ``data``: robosuite's wrapper is pointed at it while they run."""
        wrapper = self._sim.data
        own, wrapper._data = wrapper._data, data
        try:
            # No short cut: LIBERO evaluates every predicate of the conjunction too.
            return all([bool(self._stock._eval_predicate(state)) for state in states])
        finally:
            wrapper._data = own

    def light_state(self, data: mujoco.MjData) -> NDArray[np.float32]:
        """Site visibility that robosuite's post-processing would set for ``data``."""
        wrapper = self._sim.data
        own, wrapper._data = wrapper._data, data
        try:
            self._stock._post_process()
            return self.model.site_rgba[:, 3].copy()
        finally:
            wrapper._data = own

    @functools.cached_property
    def _body_ids(self) -> dict[str, int]:
        ids = {self.model.body(i).name: i for i in range(self.model.nbody)}
        return ids | {name: int(i) for name, i in self._stock.obj_body_id.items()}

    def body_id(self, name: str) -> int:
        """Id of a body by LIBERO's object name or MuJoCo's body name."""
        if name not in self._body_ids:
            raise KeyError(f"{self.describe()} has no body {name!r}; bodies: {', '.join(sorted(self._body_ids))}")
        return self._body_ids[name]

    @functools.cached_property
    def _site_ids(self) -> dict[str, int]:
        return {self.model.site(i).name: i for i in range(self.model.nsite)}

    def site_id(self, name: str) -> int:
        """Id of a site by name."""
        if name not in self._site_ids:
            raise KeyError(f"{self.describe()} has no site {name!r}; sites: {', '.join(sorted(self._site_ids))}")
        return self._site_ids[name]

    @property
    def stock(self) -> Any:
        """The robosuite environment object (objects, fixtures, regions); do not step it."""
        return self._stock


TASK_MEMORY = 2e9
"""Bytes of compiled models that one process builds and keeps besides those that are being played."""

_TASKS: dict[tuple[str, int, int, Perturbation], TaskSimulator] = {}
"""In the order of last use."""


def get_task_simulator(suite: str, task: int, build_seed: int = 0, perturbation: Perturbation = STOCK) -> TaskSimulator:
    """The process's simulator of this task, built on first use (1 to 4 s).

    A process keeps what it has built for its next visit. Beyond ``TASK_MEMORY`` it forgets the tasks not used for
    longest, except those with slots in play. Tasks that were built before the process was forked stay: their memory
    is shared with the other workers, so forgetting them would free nothing.
    """
    key = (suite, task, build_seed, perturbation)
    simulator = _TASKS.pop(key, None)
    if simulator is None:
        simulator = TaskSimulator(*key)
        _forget_beyond(TASK_MEMORY - simulator.memory_bytes)
    _TASKS[key] = simulator
    return simulator


def _forget_beyond(budget: float) -> None:
    """Forget own tasks, the least recently used first, until the rest fits into ``budget`` bytes."""
    own = [(key, task) for key, task in _TASKS.items() if task.built_by == os.getpid()]
    total = sum(task.memory_bytes for _, task in own)
    for key, task in own:
        if total > budget and not task.slots_in_use:
            total -= task.memory_bytes
            for renderer in task.renderers.values():
                renderer.close()
            del _TASKS[key]
    gc.collect()


def forget_tasks() -> None:
    """Drop every simulator this process has built (about 0.25 GB each)."""
    _TASKS.clear()
    gc.collect()
