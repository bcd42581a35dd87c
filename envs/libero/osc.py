"""Operational-space control compiled with numba: all physics steps of a control step in one call.

MuJoCo's C functions are called by name, so the compiled code is cached on disk. Small Cholesky factorisations
replace robosuite's inverses and pseudo-inverses; every matrix here is symmetric and positive definite.
"""

from __future__ import annotations

import math
from pathlib import Path

import llvmlite.binding as llvm
import mujoco
import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _load_mujoco_symbols() -> None:
    """Make MuJoCo's C functions visible to numba's linker, so that compiled code can be cached on disk."""
    library = next(Path(mujoco.__file__).parent.glob("libmujoco*"))
    llvm.load_library_permanently(str(library))


_load_mujoco_symbols()
_step1 = types.ExternalFunction("mj_step1", types.void(types.intp, types.intp))
_step2 = types.ExternalFunction("mj_step2", types.void(types.intp, types.intp))


@numba.njit(cache=True, error_model="numpy")
def _cholesky_in_place(a: Floats, n: int) -> None:
    """Lower Cholesky factor of the leading ``n x n`` block, written over it."""
    for i in range(n):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            if i == j:
                a[i, i] = math.sqrt(total)
            else:
                a[i, j] = total / a[j, j]


@numba.njit(cache=True, error_model="numpy")
def _cholesky_solve(factor: Floats, n: int, b: Floats) -> None:
    """Solve ``L L' x = b`` in place."""
    for i in range(n):
        total = b[i]
        for k in range(i):
            total -= factor[i, k] * b[k]
        b[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = b[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * b[k]
        b[i] = total / factor[i, i]


@numba.njit(cache=True, error_model="numpy")
def osc_torque(
    jacobian: Floats, mass: Floats, position: Floats, rotation: Floats, goal_position: Floats, goal_rotation: Floats,
    joints: Floats, velocities: Floats, rest_joints: Floats, stiffness: Floats, damping: Floats, bias: Floats,
    torque: Floats,
) -> None:  # fmt: skip
    """Operational-space torques of a seven-joint arm.

    With ``A = J M^-1 J'`` the law of ``osc.py`` is ``J_p' A_pp^-1 F + J_r' A_rr^-1 T + bias + N' M a`` where
    ``a = 10 (q0 - q) - 2 sqrt(10) dq`` and ``N' M a = M a - J' A^-1 J a`` (the nullspace projector is never formed).

    ``jacobian`` is ``[6, 7]`` with the linear rows first, ``mass`` ``[7, 7]``; ``torque [7]`` is written, unclipped.
    """
    n = 7
    factor = mass.copy()
    _cholesky_in_place(factor, n)
    inverse_jacobian = np.empty((6, n))
    for row in range(6):
        for i in range(n):
            inverse_jacobian[row, i] = jacobian[row, i]
        _cholesky_solve(factor, n, inverse_jacobian[row])
    task = np.empty((6, 6))
    for row in range(6):
        for col in range(row + 1):
            total = 0.0
            for i in range(n):
                total += jacobian[row, i] * inverse_jacobian[col, i]
            task[row, col] = total
            task[col, row] = total

    speed = np.zeros(6)
    for row in range(6):
        for i in range(n):
            speed[row] += jacobian[row, i] * velocities[i]
    wrench = np.empty(6)
    for row in range(3):
        wrench[row] = stiffness[row] * (goal_position[row] - position[row]) - damping[row] * speed[row]
        x, y = (row + 1) % 3, (row + 2) % 3
        error = 0.0
        for col in range(3):
            error += rotation[x, col] * goal_rotation[y, col] - rotation[y, col] * goal_rotation[x, col]
        wrench[3 + row] = stiffness[3 + row] * 0.5 * error - damping[3 + row] * speed[3 + row]
    linear = task[:3, :3].copy()
    angular = task[3:, 3:].copy()
    _cholesky_in_place(linear, 3)
    _cholesky_in_place(angular, 3)
    _cholesky_solve(linear, 3, wrench[:3])
    _cholesky_solve(angular, 3, wrench[3:])

    posture = np.empty(n)
    gain = 2.0 * math.sqrt(10.0)
    for i in range(n):
        posture[i] = 10.0 * (rest_joints[i] - joints[i]) - gain * velocities[i]
    projected = np.zeros(6)
    for row in range(6):
        for i in range(n):
            projected[row] += jacobian[row, i] * posture[i]
    _cholesky_in_place(task, 6)
    _cholesky_solve(task, 6, projected)
    for i in range(n):
        total = bias[i]
        for row in range(6):
            total += jacobian[row, i] * (wrench[row] - projected[row])
        for j in range(n):
            total += mass[i, j] * posture[j]
        torque[i] = total


@numba.njit(cache=True, error_model="numpy")
def arm_dynamics(
    xaxis: Floats, xanchor: Floats, inertia: Floats, joints: Ints, inertia_address: Ints, site_position: Floats,
    jacobian: Floats, mass: Floats,
) -> None:  # fmt: skip
    """Jacobian ``[6, 7]`` of the site and mass matrix ``[7, 7]`` of the arm's hinge chain, from ``MjData``."""
    for i in range(joints.shape[0]):
        joint = joints[i]
        ax, ay, az = xaxis[joint, 0], xaxis[joint, 1], xaxis[joint, 2]
        dx = site_position[0] - xanchor[joint, 0]
        dy = site_position[1] - xanchor[joint, 1]
        dz = site_position[2] - xanchor[joint, 2]
        jacobian[0, i] = ay * dz - az * dy
        jacobian[1, i] = az * dx - ax * dz
        jacobian[2, i] = ax * dy - ay * dx
        jacobian[3, i] = ax
        jacobian[4, i] = ay
        jacobian[5, i] = az
        for j in range(joints.shape[0]):
            mass[i, j] = inertia[inertia_address[i, j]]


@numba.njit(cache=True, error_model="numpy")
def _set_goal(
    delta: Floats, turn: Floats, turns: bool, position: Floats, rotation: Floats,
    goal_position: Floats, goal_rotation: Floats,
) -> None:  # fmt: skip
    """Goals of a control step, in place; the orientation goal stays unless the action ``turns``."""
    for i in range(3):
        goal_position[i] = position[i] + delta[i]
    if turns:
        for i in range(3):
            for j in range(3):
                goal_rotation[i, j] = (
                    turn[i, 0] * rotation[0, j] + turn[i, 1] * rotation[1, j] + turn[i, 2] * rotation[2, j]
                )


@numba.njit(cache=True, error_model="numpy")
def run_substeps(
    model: int, data: int, first: int, last: int, delta: Floats, turn: Floats, turns: bool, grip: float, site: int,
    site_xpos: Floats, site_xmat: Floats, xaxis: Floats, xanchor: Floats, inertia: Floats,
    qpos: Floats, qvel: Floats, ctrl: Floats, qfrc_bias: Floats,
    joints: Ints, qpos_index: Ints, dofs: Ints, actuators: Ints, gripper_actuators: Ints, inertia_address: Ints,
    torque_low: Floats, torque_high: Floats, gripper_bias: Floats, gripper_weight: Floats,
    rest_joints: Floats, stiffness: Floats, damping: Floats,
    gripper: Floats, goal_position: Floats, goal_rotation: Floats,
) -> None:  # fmt: skip
    """Physics steps ``first`` to ``last - 1`` of a control step.

    ``model`` and ``data`` are addresses of MuJoCo's structures; the arrays after ``site`` are views of that data,
    then constants of the arm, then the controller's state, which is updated in place.
    """
    jacobian = np.empty((6, 7))
    mass = np.empty((7, 7))
    angles, speeds, bias, torque = np.empty(7), np.empty(7), np.empty(7), np.empty(7)
    position = site_xpos[site]
    rotation = site_xmat[site].reshape(3, 3)
    for substep in range(first, last):
        _step1(model, data)
        if substep == 0:
            _set_goal(delta, turn, turns, position, rotation, goal_position, goal_rotation)
        arm_dynamics(xaxis, xanchor, inertia, joints, inertia_address, position, jacobian, mass)
        for i in range(7):
            angles[i], speeds[i], bias[i] = qpos[qpos_index[i]], qvel[dofs[i]], qfrc_bias[dofs[i]]
        osc_torque(jacobian, mass, position, rotation, goal_position, goal_rotation, angles, speeds,
                   rest_joints, stiffness, damping, bias, torque)  # fmt: skip
        for i in range(7):
            ctrl[actuators[i]] = min(max(torque[i], torque_low[i]), torque_high[i])
        for i in range(2):
            gripper[i] = min(max(gripper[i] + (2 * i - 1) * grip, -1.0), 1.0)
            ctrl[gripper_actuators[i]] = gripper_bias[i] + gripper_weight[i] * gripper[i]
        _step2(model, data)


@numba.njit(cache=True, error_model="numpy")
def run_controls(model: int, data: int, ctrl: Floats, controls: Floats) -> None:
    """Physics steps under recorded ``controls [n, nu]``: what a control step costs without its controller."""
    for index in range(controls.shape[0]):
        _step1(model, data)
        for i in range(controls.shape[1]):
            ctrl[i] = controls[index, i]
        _step2(model, data)
