"""The two arm controllers: robosuite's OSC_POSE as shipped (``exact``) and the same law compiled (``compiled``).

Both compute operational-space torques (Khatib 1987, "A unified approach for motion and force control of robot
manipulators") as ``robosuite/controllers/osc.py`` 1.4.0 does for LIBERO: position and orientation decoupled,
nullspace torques towards the reset posture, goals set once per control step of 25 physics steps of 2 ms.

* ``exact`` calls robosuite's own matrix functions in robosuite's order, so every bit equals the stock step. It
  leaves out the repeated forward passes: of the four per physics step, three recompute what is already there.
* ``compiled`` runs all substeps inside one numba function that calls MuJoCo's C functions directly. Jacobian and
  mass matrix come from ``MjData``'s joint axes and sparse inertia, and small Cholesky factorisations replace
  pseudo-inverses: torques agree to better than 1e-9 relative, states until contact amplifies the rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.libero import suites
from envs.libero.osc import run_substeps

SUBSTEPS = 25
"""Physics steps per control step: 20 Hz control, 500 Hz physics."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArmConstants:
    """What the controller needs to know about the robot; equal for all slots of a task."""

    site: int
    """Id of the grip site whose pose is controlled."""
    joints: NDArray[np.int64]
    """Joint ids of the seven arm joints."""
    qpos: NDArray[np.int64]
    dofs: NDArray[np.int64]
    actuators: NDArray[np.int64]
    gripper_actuators: NDArray[np.int64]
    gripper_qpos: NDArray[np.int64]
    torque_low: Float64Array
    torque_high: Float64Array
    gripper_bias: Float64Array
    gripper_weight: Float64Array
    gripper_speed: float
    """Change of the gripper target per physics step."""
    rest_joints: Float64Array
    """Posture the nullspace torques pull to: the robot's reset posture [rad]."""
    stiffness: Float64Array
    """``[6]``: 150 for position and orientation."""
    damping: Float64Array
    """``[6]``: critically damped."""
    output_scale: Float64Array
    """``[6]``: metres and radians per unit of action."""
    inertia_address: NDArray[np.int64]
    """``[7, 7]``: where each entry of the arm's mass matrix sits in ``MjData.M``."""
    position_limits: Any
    orientation_limits: Any


@dataclass(frozen=True, kw_only=True)
class ResetCache:
    """The controller's view of the robot right after ``env.reset()``.

    robosuite refreshes the controller while resetting and then ignores the next refresh, so the first physics
    step after ``set_init_state`` still computes with the reset pose. Left out, the arm settles 1.4 cm off.
    """

    eef_position: Float64Array
    eef_rotation: Float64Array
    linear_velocity: Float64Array
    angular_velocity: Float64Array
    joint_position: Float64Array
    joint_velocity: Float64Array
    jacobian_position: Float64Array
    jacobian_rotation: Float64Array
    mass_matrix: Float64Array
    goal_rotation: Float64Array


@dataclass(slots=True, kw_only=True)
class ControllerState:
    """What the controller remembers between control steps; part of a snapshot."""

    gripper: Float64Array
    """``[2]`` gripper target in [-1, 1]: an integrator that moves 0.01 per physics step."""
    goal_rotation: Float64Array
    """``[3, 3]``: persists while an action's rotation part is exactly zero."""
    goal_position: Float64Array
    fresh: bool
    """The next physics step uses the ``ResetCache``."""

    def copy(self) -> ControllerState:
        """Independent copy."""
        return ControllerState(
            gripper=self.gripper.copy(),
            goal_rotation=self.goal_rotation.copy(),
            goal_position=self.goal_position.copy(),
            fresh=self.fresh,
        )


class ExactController:
    """robosuite's arithmetic, bit for bit, with one position and one velocity pass per physics step."""

    name = "exact"

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, arm: ArmConstants, cache: ResetCache) -> None:
        with suites.silence():
            from robosuite.utils import control_utils

        self._utils = control_utils
        self._model, self._data, self._arm, self._cache = model, data, arm, cache
        self._jacp = np.zeros((3, model.nv))
        self._jacr = np.zeros((3, model.nv))
        self._mass = np.zeros((model.nv, model.nv))
        self._rows = np.ix_(arm.dofs, arm.dofs)

    def run(self, state: ControllerState, action: Float64Array, first: int, last: int) -> None:
        """Run physics steps ``first`` to ``last - 1`` (of ``SUBSTEPS``) of the control step of ``action [7]``."""
        arm, data, model = self._arm, self._data, self._model
        delta = np.clip(action[:6], -1.0, 1.0)
        # The order of operations is robosuite's scale_action: (a - 0) * scale + 0.
        delta = (delta - 0.0) * arm.output_scale + 0.0
        grip = np.array([-1.0, 1.0]) * arm.gripper_speed * np.sign(action[6])
        for substep in range(first, last):
            mujoco.mj_step1(model, data)
            torque = self._torque(state, delta, substep)
            state.gripper = np.clip(state.gripper + grip, -1.0, 1.0)
            data.ctrl[arm.actuators] = np.clip(torque, arm.torque_low, arm.torque_high)
            data.ctrl[arm.gripper_actuators] = arm.gripper_bias + arm.gripper_weight * state.gripper
            mujoco.mj_step2(model, data)

    def _torque(self, state: ControllerState, delta: Float64Array, substep: int) -> Float64Array:
        arm, data = self._arm, self._data
        if state.fresh:
            c = self._cache
            position, rotation, linear, angular = c.eef_position, c.eef_rotation, c.linear_velocity, c.angular_velocity
            jac_pos, jac_rot, mass = c.jacobian_position, c.jacobian_rotation, c.mass_matrix
            joints, velocities = c.joint_position, c.joint_velocity
            state.fresh = False
        else:
            position = np.array(data.site_xpos[arm.site])
            rotation = np.array(data.site_xmat[arm.site].reshape(3, 3))
            mujoco.mj_jacSite(self._model, data, self._jacp, self._jacr, arm.site)
            mujoco.mj_fullM(self._model, data, self._mass)
            linear, angular = np.dot(self._jacp, data.qvel), np.dot(self._jacr, data.qvel)
            # np.array keeps the memory layout that indexing left, as in robosuite: BLAS rounds by layout.
            jac_pos, jac_rot = np.array(self._jacp[:, arm.dofs]), np.array(self._jacr[:, arm.dofs])
            mass = self._mass[arm.dofs, :][:, arm.dofs]
            joints, velocities = data.qpos[arm.qpos], data.qvel[arm.dofs]
        if substep == 0:
            if any(not math.isclose(component, 0.0) for component in delta[3:]):
                state.goal_rotation = self._utils.set_goal_orientation(
                    delta[3:], rotation, orientation_limit=arm.orientation_limits
                )
            state.goal_position = self._utils.set_goal_position(delta[:3], position, position_limit=arm.position_limits)
        return self._law(state, position, rotation, linear, angular, jac_pos, jac_rot, mass, joints, velocities)

    def _law(
        self,
        state: ControllerState,
        position: Float64Array,
        rotation: Float64Array,
        linear: Float64Array,
        angular: Float64Array,
        jac_pos: Float64Array,
        jac_rot: Float64Array,
        mass: Float64Array,
        joints: Float64Array,
        velocities: Float64Array,
    ) -> Float64Array:
        """The torque law with the exact sequence of array operations of ``osc.py``."""
        arm, utils = self._arm, self._utils
        jacobian = np.array(np.vstack([jac_pos, jac_rot]))
        error = utils.orientation_error(np.array(state.goal_rotation), rotation)
        force = np.multiply(state.goal_position - position, arm.stiffness[:3]) + np.multiply(-linear, arm.damping[:3])
        moment = np.multiply(error, arm.stiffness[3:]) + np.multiply(-angular, arm.damping[3:])
        _, inertia_pos, inertia_rot, nullspace = utils.opspace_matrices(mass, jacobian, jac_pos, jac_rot)
        wrench = np.concatenate([np.dot(inertia_pos, force), np.dot(inertia_rot, moment)])
        torque = np.dot(jacobian.T, wrench) + self._data.qfrc_bias[arm.dofs]
        torque += utils.nullspace_torques(mass, nullspace, arm.rest_joints, joints, velocities)
        return torque


class CompiledController:
    """All physics steps of a control step in one compiled call."""

    name = "compiled"

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, arm: ArmConstants, cache: ResetCache) -> None:
        with suites.silence():
            from robosuite.utils import transform_utils

        self._transforms, self._no_turn = transform_utils, np.eye(3)
        self._arm = arm
        # The first physics step after a reset goes through the reset cache, which the exact controller handles.
        self._first_step = ExactController(model, data, arm, cache)
        self._addresses = (model._address, data._address)
        self._views = (
            data.site_xpos, data.site_xmat, data.xaxis, data.xanchor, data.M,
            data.qpos, data.qvel, data.ctrl, data.qfrc_bias,
            arm.joints, arm.qpos, arm.dofs, arm.actuators, arm.gripper_actuators, arm.inertia_address,
            arm.torque_low, arm.torque_high, arm.gripper_bias, arm.gripper_weight,
            arm.rest_joints, arm.stiffness, arm.damping,
        )  # fmt: skip

    def run(self, state: ControllerState, action: Float64Array, first: int, last: int) -> None:
        """Run physics steps ``first`` to ``last - 1`` (of ``SUBSTEPS``) of the control step of ``action [7]``."""
        if state.fresh:
            self._first_step.run(state, action, first, first + 1)
            # The compiled code updates these in place, so they must not be shared with the reset cache.
            state.goal_rotation = np.array(state.goal_rotation)
            first += 1
        arm = self._arm
        delta = np.clip(action[:6], -1.0, 1.0) * arm.output_scale
        grip = arm.gripper_speed * float(np.sign(action[6]))
        turns, turn = bool(delta[3] or delta[4] or delta[5]), self._no_turn
        if turns and first == 0:
            # robosuite rounds this rotation to single precision; calling its own function keeps that.
            turn = self._transforms.quat2mat(self._transforms.axisangle2quat(delta[3:]))
        run_substeps(
            *self._addresses, first, last, delta, turn, turns, grip, arm.site, *self._views,
            state.gripper, state.goal_position, state.goal_rotation,
        )  # fmt: skip
