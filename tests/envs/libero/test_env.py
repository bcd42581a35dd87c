"""The environment protocol: chunks, horizons, outcomes, refused actions, shared starts."""

import dataclasses
import os
import pickle

import numpy as np
import pytest

from envs.libero import LiberoConfig
from vlarl.env_protocol import ActionError, EnvError, Outcome, UnknownTaskError

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_object_0")]

FAST = LiberoConfig(profile="fast", controller="compiled", resolution=64, horizon=20)
STILL = np.array([[0, 0, 0, 0, 0, 0, -1]] * 8, dtype=np.float32)


@pytest.fixture(scope="module")
def env():
    return FAST.make()


def test_configuration_travels_and_names_its_protocol():
    assert pickle.loads(pickle.dumps(FAST)) == FAST
    protocol = FAST.protocol()
    assert protocol["render_profile"] == "fast" and protocol["controller"] == "compiled"
    assert {"horizon", "settle_steps", "build_seed", "resolution", "cameras", "mujoco"} <= protocol.keys()


def test_observation_has_the_promised_form(env, make_spec):
    observation = env.reset(make_spec(instruction="pick up the tomato sauce"))
    assert list(observation.images) == ["agentview", "wrist"]
    for image in observation.images.values():
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    # Upright: the grey wall is above, the brown floor below.
    view = observation.images["agentview"].astype(float)
    redness = (view[..., 0] - view[..., 2]).mean(axis=1)
    assert redness[:4].max() < 10 < redness[-4:].min()
    assert observation.state.shape == (8,) and observation.state.dtype == np.float32
    assert observation.instruction == "pick up the tomato sauce" and observation.time == 0.0


def test_equal_specs_start_bitwise_equal_in_any_slot(env, make_spec):
    other = FAST.make()
    first = env.reset(make_spec(init_state=3))
    env.step_chunk(STILL + 0.5)
    again, elsewhere = env.reset(make_spec(init_state=3, seed=9)), other.reset(make_spec(init_state=3, seed=1))
    for observation in (again, elsewhere):
        np.testing.assert_array_equal(observation.state, first.state)
        for name in first.images:
            np.testing.assert_array_equal(observation.images[name], first.images[name])
    np.testing.assert_array_equal(env.slot.data.qpos, other.slot.data.qpos)
    different = env.reset(make_spec(init_state=4))
    assert (different.images["agentview"] != first.images["agentview"]).any()


def test_first_frame_does_not_depend_on_who_settled_the_scene(make_spec):
    """A slot that never rendered may have settled the start; the frame must be the same one."""
    from envs.libero.simulator import get_task_simulator

    task = get_task_simulator("libero_object", 0)
    expected = FAST.make().reset(make_spec(init_state=20))
    task.observations.clear()
    task.settled_states.clear()
    task.make_slot("compiled").reset(20)
    seen = FAST.make().reset(make_spec(init_state=20))
    np.testing.assert_array_equal(seen.images["wrist"], expected.images["wrist"])
    np.testing.assert_array_equal(seen.state, expected.state)


def test_episode_is_truncated_at_the_horizon_inside_a_chunk(env, make_spec):
    env.reset(make_spec())
    results = [env.step_chunk(STILL) for _ in range(3)]
    assert [r.outcome for r in results] == [Outcome.RUNNING, Outcome.RUNNING, Outcome.TRUNCATED]
    assert results[2].executed.tolist() == [True] * 4 + [False] * 4  # 20 = 8 + 8 + 4
    assert results[2].observation.time == pytest.approx(1.0)
    assert all(r.reward.sum() == 0 for r in results)
    with pytest.raises(EnvError, match="reset"):
        env.step_chunk(STILL)


def test_success_ends_the_episode_at_its_control_step(env, make_spec):
    env.reset(make_spec())
    slot = env.slot
    joint = slot.model.joint("alphabet_soup_1_joint0").qposadr[0]
    slot.data.qpos[joint : joint + 3] = slot.body_position("basket_1") + [0, 0, 0.12]
    results = []
    while not results or results[-1].outcome is Outcome.RUNNING:
        results.append(env.step_chunk(STILL[:6]))
    last = results[-1]
    assert last.outcome is Outcome.SUCCESS
    fired = int(np.flatnonzero(last.reward)[0])
    assert last.executed.tolist() == [step <= fired for step in range(6)]
    assert last.reward.sum() == 1.0 and sum(r.reward.sum() for r in results[:-1]) == 0.0
    assert 0 < len(results) < 4 and slot.success()


def test_every_frame_gives_what_single_steps_would_see(make_spec):
    chunked = dataclasses.replace(FAST, every_frame=True).make()
    single = FAST.make()
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 7)).astype(np.float32)
    chunked.reset(make_spec(init_state=1))
    single.reset(make_spec(init_state=1))
    result = chunked.step_chunk(actions)
    assert len(result.frames) == 5
    for step in range(5):
        seen = single.step_chunk(actions[step : step + 1]).observation
        np.testing.assert_array_equal(result.frames[step]["agentview"], seen.images["agentview"])
        np.testing.assert_array_equal(result.frames[step]["wrist"], seen.images["wrist"])
    np.testing.assert_array_equal(result.observation.images["wrist"], result.frames[-1]["wrist"])
    assert result.events["seconds/render"] > 0 and result.events["seconds/simulate"] > 0


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((8, 6)), r"\(8, 6\).*7"),
        (np.zeros(7), r"\(7,\)"),
        (np.zeros((0, 7)), r"\(0, 7\)"),
        (np.where(np.arange(56).reshape(8, 7) == 10, np.nan, 0), r"actions\[1, 3\] is nan"),
        (np.full((1, 7), np.inf), "inf"),
    ],
)
def test_bad_actions_are_refused_before_anything_moves(env, make_spec, actions, message):
    env.reset(make_spec())
    before = env.slot.snapshot().physics
    with pytest.raises(ActionError, match=message):
        env.step_chunk(actions)
    np.testing.assert_array_equal(env.slot.snapshot().physics, before)
    assert env.step_chunk(STILL).outcome is Outcome.RUNNING, "the episode may go on after a refused action"


def test_divergence_raises_and_ends_the_episode(env, make_spec):
    env.reset(make_spec())
    env.slot.data.qpos[0] = np.nan
    with pytest.raises(EnvError, match="libero_object task 0"):
        env.step_chunk(STILL)
    with pytest.raises(EnvError, match="reset"):
        env.step_chunk(STILL)
    assert env.reset(make_spec()).state.shape == (8,)


def test_unknown_starts_and_cameras_are_refused(env, make_spec):
    with pytest.raises(UnknownTaskError, match="libero_object"):
        env.reset(make_spec(suite="libero_objects"))
    with pytest.raises(UnknownTaskError, match="0..49"):
        env.reset(make_spec(init_state=50))
    with pytest.raises(ValueError, match="agentview, wrist"):
        dataclasses.replace(FAST, cameras=("front",)).make().reset(make_spec())


def test_closing_twice_is_allowed(make_spec):
    env = FAST.make()
    env.reset(make_spec())
    env.close()
    env.close()
    with pytest.raises(EnvError, match="reset"):
        env.step_chunk(STILL)


def test_slots_go_back_to_their_task_unless_their_simulation_failed(make_spec):
    from envs.libero.simulator import get_task_simulator

    task = get_task_simulator("libero_object", 0)
    used = task.slots_in_use
    env = FAST.make()
    env.reset(make_spec())
    first = env.slot
    assert task.slots_in_use == used + 1
    env.close()
    env.reset(make_spec(init_state=2))
    assert env.slot is first, "a free slot is used again"
    first.data.qvel[0] = 1e12
    with pytest.raises(EnvError):
        env.step_chunk(STILL)
    env.reset(make_spec(init_state=2))
    assert env.slot is not first
    env.close()
    assert task.slots_in_use == used


class SmallTask:
    """What the register of built tasks sees of one, of 10 bytes."""

    memory_bytes = 10

    def __init__(self, suite, task, build_seed, perturbation):
        self.key, self.slots_in_use, self.built_by, self.renderers = (suite, task, build_seed), 0, os.getpid(), {}


def test_tasks_unused_for_longest_are_forgotten_beyond_the_budget(monkeypatch):
    from envs.libero import simulator

    monkeypatch.setattr(simulator, "TaskSimulator", SmallTask)
    monkeypatch.setattr(simulator, "TASK_MEMORY", 35)
    monkeypatch.setattr(simulator, "_TASKS", {})
    tasks = [simulator.get_task_simulator("suite", index) for index in range(3)]
    tasks[0].slots_in_use = 1
    assert simulator.get_task_simulator("suite", 1) is tasks[1]  # now 2 was not used for longest that is not in play
    simulator.get_task_simulator("suite", 3)
    assert [key[1] for key in simulator._TASKS] == [0, 1, 3]
    inherited = simulator.get_task_simulator("suite", 4, 7)
    assert [key[1:3] for key in simulator._TASKS] == [(0, 0), (3, 0), (4, 7)]
    for task in (tasks[0], inherited):
        task.built_by = -1  # before the fork: forgetting them would free nothing
    for index in (5, 6):
        simulator.get_task_simulator("suite", index)
    assert [key[1] for key in simulator._TASKS] == [0, 3, 4, 5, 6]


def test_an_episode_may_name_its_own_draw_of_the_fixtures(make_spec, monkeypatch):
    from envs.libero import simulator

    built = []

    def build(suite, task, build_seed, perturbation):
        built.append(build_seed)
        raise EnvError("far enough")

    monkeypatch.setattr(simulator, "get_task_simulator", build)
    config = dataclasses.replace(FAST, build_seed=3)
    for seed in (None, 0, 8):
        with pytest.raises(EnvError, match="far enough"):
            config.make().reset(dataclasses.replace(make_spec(), fixture_seed=seed))
    assert built == [3, 0, 8] and config.protocol()["build_seed"] == 3
