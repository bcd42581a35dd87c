"""Builds a LIBERO task with robosuite and reads from it what stepping needs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.libero import suites
from vlarl.env_protocol import EnvError

suites.prepare_process()

import mujoco  # noqa: E402  (reads MUJOCO_GL when imported)

from envs.libero.controller import ArmConstants, ResetCache  # noqa: E402


def build_stock(suite: str, task: int, build_seed: int) -> Any:
    """LIBERO's environment without a renderer, reset once.

    Fixture poses (cabinet, stove, rack) are drawn from numpy's global generator at each reset and are not part of
    the recorded initial states, so the generator is seeded here and its state put back afterwards.
    """
    bddl = suites.bddl_path(suite, task)
    # The compiler's asset cache would keep every decoded texture and mesh of the process, up to 500 MB.
    mujoco.mj_setCacheCapacity(mujoco.mj_getCache(), 0)
    mujoco.set_mju_user_warning(_ignore_warning)
    with suites.silence():
        from libero.libero.envs.env_wrapper import ControlEnv

        global_state = np.random.get_state()
        try:
            np.random.seed(build_seed)
            control = ControlEnv(
                bddl_file_name=str(bddl),
                has_offscreen_renderer=False,
                use_camera_obs=False,
                horizon=10**9,
                ignore_done=True,
                hard_reset=False,
            )
            # LIBERO appends its drawer and stove samplers anew at each reload, so after the stock environment's
            # reset each draws twice. This build reloads nothing; repeating them keeps the same random numbers.
            control.env.object_property_initializers *= 2
            control.seed(build_seed)
            control.reset()
        finally:
            np.random.set_state(global_state)
    return control.env


def _ignore_warning(message: str) -> None:
    """Instead of MuJoCo's own handler, which appends to a file in the working directory.

    Instabilities are read from ``MjData.warning`` after every control step.
    """


def arm_constants(stock: Any, model: mujoco.MjModel) -> ArmConstants:
    """What the controllers need to know of robosuite's robot and its operational-space controller."""
    robot = stock.robots[0]
    controller, gripper = robot.controller, robot.gripper
    if controller.name != "OSC_POSE" or controller.impedance_mode != "fixed" or controller.interpolator_pos:
        raise EnvError(f"expected robosuite's fixed-impedance OSC_POSE controller, found {controller.name}")
    dofs = np.array(robot._ref_joint_vel_indexes, dtype=np.int64)
    grip_actuators = np.array([model.actuator(name).id for name in gripper.actuators], dtype=np.int64)
    control_range = model.actuator_ctrlrange[grip_actuators]
    low, high = robot.torque_limits
    return ArmConstants(
        site=int(robot.eef_site_id),
        joints=model.dof_jntid[dofs].astype(np.int64),
        qpos=np.array(robot._ref_joint_pos_indexes, dtype=np.int64),
        dofs=dofs,
        actuators=np.array(robot._ref_joint_actuator_indexes, dtype=np.int64),
        gripper_actuators=grip_actuators,
        gripper_qpos=np.array(robot._ref_gripper_joint_pos_indexes, dtype=np.int64),
        torque_low=np.array(low, dtype=np.float64),
        torque_high=np.array(high, dtype=np.float64),
        gripper_bias=0.5 * (control_range[:, 1] + control_range[:, 0]),
        gripper_weight=0.5 * (control_range[:, 1] - control_range[:, 0]),
        gripper_speed=float(gripper.speed),
        rest_joints=np.array(controller.initial_joint, dtype=np.float64),
        stiffness=np.array(controller.kp, dtype=np.float64),
        damping=np.array(controller.kd, dtype=np.float64),
        output_scale=np.abs(controller.output_max - controller.output_min)
        / np.abs(controller.input_max - controller.input_min),
        inertia_address=_inertia_addresses(model, dofs),
        position_limits=controller.position_limits,
        orientation_limits=controller.orientation_limits,
    )


def _inertia_addresses(model: mujoco.MjModel, dofs: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[n, n]`` addresses of the arm's mass-matrix entries in the sparse lower triangle ``MjData.M``."""
    addresses = np.empty((len(dofs), len(dofs)), dtype=np.int64)
    for i, row in enumerate(dofs):
        start, count = int(model.M_rowadr[row]), int(model.M_rownnz[row])
        columns = model.M_colind[start : start + count].tolist()
        for j, col in enumerate(dofs[: i + 1]):
            addresses[i, j] = addresses[j, i] = start + columns.index(int(col))
    return addresses


def reset_cache(stock: Any) -> ResetCache:
    """What robosuite's controller remembers from the reset until its first update."""
    controller = stock.robots[0].controller
    if controller.new_update:
        raise EnvError("robosuite's controller did not refresh itself during reset as version 1.4.0 does")
    return ResetCache(
        eef_position=np.array(controller.ee_pos),
        eef_rotation=np.array(controller.ee_ori_mat),
        linear_velocity=np.array(controller.ee_pos_vel),
        angular_velocity=np.array(controller.ee_ori_vel),
        joint_position=np.array(controller.joint_pos),
        joint_velocity=np.array(controller.joint_vel),
        jacobian_position=np.array(controller.J_pos),
        jacobian_rotation=np.array(controller.J_ori),
        mass_matrix=np.array(controller.mass_matrix),
        goal_rotation=np.array(controller.goal_ori),
    )


def release_memory() -> None:
    """Give back what the build left behind: 0.4 GB per task otherwise.

    MuJoCo keeps the last parsed model (decoded textures included) for ``mj_saveLastXML`` until the next one
    replaces it, and glibc keeps freed memory.
    """
    mujoco.MjModel.from_xml_string("<mujoco/>")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
