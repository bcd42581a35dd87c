"""The expert on a real task: it solves it, for the right reason, and its episodes can be replayed."""

from dataclasses import dataclass

import numpy as np
import pytest

from envs.libero.expert import expert as expert_module
from envs.libero.expert.expert import CorrelatedNoise, Expert, HeldMonitor, PlanStep
from envs.libero.expert.pick_place import PickAndPlace
from envs.libero.simulator import get_task_simulator

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_object_0")]

SOUP, BASKET = "alphabet_soup_1", "basket_1_contain_region"
GOAL = ("in", SOUP, BASKET)
STILL = np.array([0, 0, 0, 0, 0, 0, -1.0])


@pytest.fixture
def slot():
    return get_task_simulator("libero_object", 0).make_slot("compiled")


@dataclass(frozen=True)
class ThrowIn:
    """Puts the object into the basket by magic while the hand stands still: what the benchmark cannot tell."""

    def actions(self, scene, goal):
        joint = scene.model.body(scene.body(goal[1])).jntadr[0]
        address = scene.model.jnt_qposadr[joint]
        scene.data.qpos[address : address + 3] = scene.position(goal[2])
        for _ in range(5):
            yield STILL


@dataclass(frozen=True)
class DoNothing:
    variant: int = 0

    def actions(self, scene, goal):
        yield STILL


def replay(slot, performance):
    """States and successes of a performance's actions from its initial state."""
    slot.reset(performance.init_state)
    states, successes = [], []
    for action in performance.executed:
        slot.step(action)
        states.append(slot.data.qpos.copy())
        successes.append(slot.success())
    return np.array(states), successes


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_demonstration_is_clean_and_its_replay_is_bit_equal(slot, noise):
    performance = Expert(slot).demonstrate(3, noise=noise, seed=[5])
    assert performance is not None and performance.is_clean
    assert performance.actions.shape == performance.executed.shape == (len(performance.actions), 7)
    assert performance.actions.dtype == performance.executed.dtype == np.float32
    assert np.abs(performance.actions).max() <= 1.0
    final = slot.data.qpos.copy()

    states, successes = replay(get_task_simulator("libero_object", 0).make_slot("compiled"), performance)
    assert successes[-1] and not any(successes[:-1])
    np.testing.assert_array_equal(states[-1], final)


def test_noise_moves_the_arm_and_leaves_the_gripper_alone(slot):
    performance = Expert(slot).demonstrate(0, noise=0.1, seed=[1])
    assert performance is not None
    difference = performance.executed - performance.actions
    assert np.all(difference[:, 6] == 0)
    assert 0.03 < difference[:, :3].std() < 0.15
    assert difference[:, 3:6].std() < 0.02


def test_noise_is_correlated_with_the_promised_deviation():
    noise = CorrelatedNoise(0.1, np.random.default_rng(0))
    values = np.array([noise.disturb(np.zeros(7)) for _ in range(20000)])
    assert values[:, :3].std() == pytest.approx(0.1, rel=0.05)
    assert values[:, 3:6].std() == pytest.approx(0.01, rel=0.05)
    following = np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1]
    assert following == pytest.approx(CorrelatedNoise.MEMORY, abs=0.02)


def test_an_object_that_was_thrown_in_is_no_demonstration(slot, monkeypatch):
    expert = Expert(slot)
    thrown = expert.perform(0, [PlanStep(GOAL, ThrowIn())])
    assert thrown.succeeded and not thrown.held and not thrown.is_clean
    monkeypatch.setattr(expert_module, "candidates", lambda scene, goal, goals: iter([ThrowIn()]))
    assert expert.plan(0) is None and expert.attempts == 1


def test_the_monitor_wants_the_object_lifted_between_the_fingers(slot):
    expert = Expert(slot)
    slot.reset(0)
    monitor = HeldMonitor(expert.scene, GOAL)
    start = expert.scene.position(SOUP)[2]
    for action in PickAndPlace().actions(expert.scene, GOAL):
        slot.step(action)
        monitor.update()
        if monitor.held:
            break
        assert not (expert.scene.is_gripped(SOUP) and expert.scene.position(SOUP)[2] > start + 0.021)
    assert monitor.held and expert.scene.is_gripped(SOUP) and expert.scene.position(SOUP)[2] > start + 0.02


def test_what_worked_is_tried_first_on_the_next_initial_state(slot, monkeypatch):
    monkeypatch.setattr(
        expert_module, "candidates", lambda scene, goal, goals: iter([DoNothing(), ThrowIn(), PickAndPlace()])
    )
    expert = Expert(slot)
    assert expert.plan(0) is not None and expert.attempts == 3
    assert expert.plan(1) == (PlanStep(GOAL, PickAndPlace()),) and expert.attempts == 1
    assert expert.cache.known(GOAL) == [PickAndPlace()]


def test_the_search_stops_at_its_budget(slot, monkeypatch):
    monkeypatch.setattr(expert_module, "candidates", lambda scene, goal, goals: map(DoNothing, range(50)))
    expert = Expert(slot, max_attempts=4)
    assert expert.plan(0) is None and expert.attempts == 4
    assert expert.demonstrate(0) is None


def test_a_skill_that_takes_too_long_is_dropped(slot):
    expert = Expert(slot, max_steps=30, max_attempts=2)
    assert expert.plan(0) is None
    performance = expert.perform(0, [PlanStep(GOAL, PickAndPlace())])
    assert len(performance.actions) == 30 and not performance.is_clean
