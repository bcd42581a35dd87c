"""Controllers, snapshots and questions of a slot, on one task."""

import os

import mujoco
import numpy as np
import pytest

from envs.libero import suites
from envs.libero.simulator import SETTLE_ACTION, axis_angle, get_task_simulator
from tests.envs.libero.stock import noisy_actions
from vlarl.env_protocol import EnvError

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_object_0")]


@pytest.fixture(scope="module")
def task():
    return get_task_simulator("libero_object", 0)


def robosuite_controls(task, qpos, qvel, action):
    """Arm torques that robosuite's own controller and robot compute in a given state."""
    sim, robot = task.stock.sim, task.stock.robots[0]
    sim.data.qpos[:], sim.data.qvel[:] = qpos, qvel
    robot.controller.new_update = True
    robot.control(action, policy_step=True)
    return sim.data.ctrl[task.arm.actuators].copy()


def random_states(task, count, seed=0):
    rng = np.random.default_rng(seed)
    recorded = suites.init_states("libero_object", 0)[0]
    low, high = task.model.jnt_range[task.arm.joints].T
    for _ in range(count):
        qpos = recorded[1 : 1 + task.model.nq].copy()
        qvel = np.zeros(task.model.nv)
        middle, half = (low + high) / 2, (high - low) / 2
        qpos[task.arm.qpos] = middle + 0.8 * half * rng.uniform(-1, 1, 7)
        qvel[task.arm.dofs] = rng.normal(0, 0.3, 7)
        action = rng.uniform(-1.3, 1.3, 7)
        if rng.random() < 0.3:
            action[3:6] = 0.0
        yield qpos, qvel, action


@pytest.mark.parametrize(("controller", "tolerance"), [("exact", 0.0), ("compiled", 1e-9)])
def test_torques_equal_robosuites_on_random_states(task, controller, tolerance):
    slot = task.make_slot(controller)
    unclipped = 0
    for qpos, qvel, action in random_states(task, 60):
        state = slot.task.initial_controller_state()
        state.fresh = False
        state.goal_rotation = np.array(task.stock.robots[0].controller.goal_ori)
        expected = robosuite_controls(task, qpos, qvel, action)
        mujoco.mj_resetData(task.model, slot.data)
        slot.data.qpos[:], slot.data.qvel[:] = qpos, qvel
        slot._controller.run(state, action, 0, 1)
        np.testing.assert_allclose(slot.data.ctrl[task.arm.actuators], expected, rtol=tolerance, atol=tolerance)
        unclipped += int((np.abs(expected) < task.arm.torque_high).sum())
    assert unclipped > 60, "comparing clipped torques says little"


def test_compiled_controller_stays_with_the_exact_one_in_free_motion(task):
    exact, compiled = task.make_slot("exact"), task.make_slot("compiled")
    for slot in (exact, compiled):
        slot.reset(4)
        for action in noisy_actions(20, seed=3) * np.array([1, 1, 0, 1, 1, 1, 1]):
            slot.step(action)
    np.testing.assert_allclose(compiled.data.qpos, exact.data.qpos, atol=1e-10)
    assert np.abs(exact.data.qpos - task.reset_cache.joint_position.mean()).max() > 0.1


@pytest.mark.parametrize("controller", ["exact", "compiled"])
def test_snapshot_restored_into_another_slot_goes_on_bit_for_bit(task, controller):
    first, second = task.make_slot(controller), task.make_slot(controller)
    actions = noisy_actions(30, seed=9)
    first.reset(5)
    second.reset(6)  # leaves a different controller state behind
    for action in actions[:13]:
        first.step(action)
        second.step(-action)
    second.restore(first.snapshot())
    for action in actions[13:]:
        first.step(action)
        second.step(action)
        np.testing.assert_array_equal(second.data.qpos, first.data.qpos)
        np.testing.assert_array_equal(second.data.qvel, first.data.qvel)
        np.testing.assert_array_equal(second.proprioception(), first.proprioception())


def test_restoring_changes_what_a_slot_answers_at_once(task):
    slot = task.make_slot("compiled")
    slot.reset(0)
    before, snapshot = slot.body_position("alphabet_soup_1"), slot.snapshot()
    pose, rotation = slot.eef_pose()
    for action in noisy_actions(10, seed=2):
        slot.step(action)
    assert np.abs(slot.eef_pose()[0] - pose).max() > 0.01
    slot.restore(snapshot)
    np.testing.assert_allclose(slot.eef_pose()[0], pose, atol=1e-4)  # poses lag the state by one physics step
    np.testing.assert_allclose(slot.eef_pose()[1], rotation, atol=1e-3)
    np.testing.assert_allclose(slot.body_position("alphabet_soup_1"), before, atol=1e-4)


def test_siblings_start_equal_and_do_not_disturb_each_other(task):
    slots = [task.make_slot("compiled") for _ in range(3)]
    slots[0].reset(8)
    slots[0].step(np.ones(7))
    for slot in slots:
        slot.reset(8)
    np.testing.assert_array_equal(slots[0].data.qpos, slots[1].data.qpos)
    slots[1].step(np.ones(7))
    np.testing.assert_array_equal(slots[0].data.qpos, slots[2].data.qpos)
    assert (slots[0].data.qpos != slots[1].data.qpos).any()


def test_first_step_after_a_reset_computes_with_the_reset_pose(task):
    """robosuite's stale controller: ignoring it would settle the arm somewhere else (1.4 cm on one joint)."""
    slot = task.make_slot("exact")
    slot.reset(0, settle_steps=0)
    start, fingers = slot.eef_pose()[0], slot.proprioception()[6:]
    slot.step(SETTLE_ACTION)
    np.testing.assert_array_equal(slot.snapshot().controller.goal_position, task.reset_cache.eef_position)
    assert np.linalg.norm(task.reset_cache.eef_position - start) > 0.003, "then the quirk would not show"
    position = slot.eef_pose()[0]
    slot.step(SETTLE_ACTION)
    assert np.linalg.norm(slot.snapshot().controller.goal_position - position) < 1e-3  # from now on: where it is
    assert slot.proprioception()[6] > fingers[0]


def test_gripper_target_is_an_integrator_that_saturates(task):
    slot = task.make_slot("compiled")
    slot.reset(0)
    open_target = slot.snapshot().controller.gripper
    np.testing.assert_allclose(open_target, [1.0, -1.0])  # ten steps of opening saturate after four
    slot.step([0, 0, 0, 0, 0, 0, 1.0])
    np.testing.assert_allclose(slot.snapshot().controller.gripper, [0.75, -0.75])  # 25 physics steps of 0.01
    slot.step([0, 0, 0, 0, 0, 0, 0.0])
    np.testing.assert_allclose(slot.snapshot().controller.gripper, [0.75, -0.75])


def test_orientation_goal_persists_while_no_rotation_is_asked_for(task):
    slot = task.make_slot("compiled")
    slot.reset(0)
    slot.step([0, 0, 0, 0.5, 0, 0, -1])
    turned = slot.snapshot().controller.goal_rotation
    slot.step([0.3, 0, 0, 0, 0, 0, -1])
    np.testing.assert_array_equal(slot.snapshot().controller.goal_rotation, turned)


def test_success_is_the_benchmarks_predicate(task):
    slot = task.make_slot("compiled")
    slot.reset(0)
    assert slot.goal_state == [["in", "alphabet_soup_1", "basket_1_contain_region"]]
    assert not slot.success()
    joint = task.model.joint("alphabet_soup_1_joint0").qposadr[0]
    slot.data.qpos[joint : joint + 3] = slot.body_position("basket_1") + [0, 0, 0.1]
    slot.data.qvel[:] = 0
    for _ in range(15):
        slot.step(SETTLE_ACTION)
    assert slot.success() and slot.predicate(slot.goal_state[0])


def test_unknown_bodies_and_controllers_are_named(task):
    slot = task.make_slot("compiled")
    with pytest.raises(KeyError, match=r"no body 'soup'.*alphabet_soup_1"):
        slot.body_position("soup")
    with pytest.raises(KeyError, match=r"no site 'here'.*basket_1"):
        slot.site_position("here")
    with pytest.raises(ValueError, match="exact, compiled"):
        task.make_slot("fuzzy")


def test_instability_raises_instead_of_going_on(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slot = task.make_slot("compiled")
    slot.reset(0)
    healthy = slot.snapshot()
    slot.data.qvel[task.arm.dofs[0]] = 1e12
    with pytest.raises(EnvError, match="unstable|not finite"):
        slot.step(SETTLE_ACTION)
    assert os.listdir(tmp_path) == [], "MuJoCo's own handler would write a log file here"
    slot.restore(healthy)
    slot.step(SETTLE_ACTION)


def test_building_leaves_numpys_global_generator_alone(task):
    from envs.libero.build import build_stock

    np.random.seed(123)
    before = np.random.get_state()[1].copy()
    seeds = [build_stock("libero_goal", 0, seed).sim.model._model.body_pos.copy() for seed in (0, 0, 1)]
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(seeds[0], seeds[1])
    assert np.abs(seeds[0] - seeds[2]).max() > 1e-3, "the build seed decides where the cabinet stands"


@pytest.mark.parametrize(
    ("quaternion", "expected"),
    [
        ([1, 0, 0, 0], [0, 0, 0]),
        ([np.cos(0.2), np.sin(0.2), 0, 0], [0.4, 0, 0]),
        ([0, 0, 1, 0], [0, np.pi, 0]),
        ([-np.cos(0.2), 0, 0, -np.sin(0.2)], [0, 0, -(2 * np.pi - 0.4)]),
    ],
)
def test_axis_angle_keeps_the_quaternions_sign(quaternion, expected):
    np.testing.assert_allclose(axis_angle(np.array(quaternion, dtype=float)), expected, atol=1e-12)
