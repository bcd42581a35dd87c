"""Profile ``reference`` with the exact controller is the stock environment: states and pixels, bit for bit."""

import numpy as np
import pytest

from envs.libero import LiberoConfig, suites
from envs.libero.render import close_renderers
from envs.libero.simulator import forget_tasks, get_task_simulator
from tests.envs.libero.stock import noisy_actions, play_stock
from vlarl.env_protocol import Outcome

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_equality")]

STEPS = 40

# libero_spatial 4 starts with an open drawer (its samplers draw twice in the stock reset); libero_goal 7 has a stove.
TASKS = [
    ("libero_spatial", 4, 2),
    ("libero_object", 1, 7),
    ("libero_goal", 7, 11),
    ("libero_10", 2, 30),
    ("libero_90", 10, 49),
]


@pytest.fixture(autouse=True)
def one_scene_at_a_time():
    yield
    close_renderers()
    forget_tasks()


@pytest.mark.parametrize(("suite", "task", "init_state"), TASKS)
def test_states_and_pixels_equal_the_stock_environment(suite, task, init_state, make_spec):
    actions = noisy_actions(STEPS, seed=task)
    stock = play_stock(suite, task, init_state, actions)
    env = LiberoConfig(profile="reference", controller="exact").make()
    observation = env.reset(make_spec(suite, task, init_state))
    assert_same_view(observation, stock, 0)
    assert_same_state(env, stock, 0)
    travelled = np.abs(stock.qpos[-1] - stock.qpos[0]).max()
    assert travelled > 0.05, "the episode must move something for equality to mean anything"
    for first in range(0, STEPS, 8):
        result = env.step_chunk(actions[first : first + 8])
        assert result.executed.all()
        assert_same_state(env, stock, first + 8)
        assert_same_view(result.observation, stock, first + 8)
    assert not stock.success.any()


def test_a_lit_stove_and_the_success_step_equal_the_stock_environments(make_spec, monkeypatch):
    """The burner glows per slot although slots share one model; success fires at the same control step."""
    suite, task = "libero_goal", 7
    recorded = suites.init_states(suite, task).copy()
    knob = turn_knob(suite, task, recorded[0])
    monkeypatch.setattr(suites, "init_states", lambda *_: recorded)
    actions = noisy_actions(1, seed=1)
    stock = play_stock(suite, task, 0, actions)
    env = LiberoConfig().make()
    observation = env.reset(make_spec(suite, task, 0))
    assert env.slot.data.qpos[knob] > 0.5
    assert_same_view(observation, stock, 0)
    burner = env.slot.task.site_id("flat_stove_1_burner")
    assert env.slot.site_alpha[burner] > 0
    cold = env.slot.task.make_slot("exact")
    cold.reset(1)
    assert cold.site_alpha[burner] <= 0 and env.slot.site_alpha[burner] > 0
    result = env.step_chunk(actions)
    assert result.outcome is Outcome.SUCCESS and stock.success[0]
    assert_same_state(env, stock, 1)
    assert_same_view(result.observation, stock, 1)


def turn_knob(suite, task, state) -> int:
    """Turn the stove's knob to the middle of its 'on' range in a recorded state; returns its qpos address."""
    model = get_task_simulator(suite, task).model
    address = int(model.joint("flat_stove_1_button").qposadr[0])
    state[1 + address] = 1.0
    return address


def assert_same_state(env, stock, number):
    np.testing.assert_array_equal(env.slot.data.qpos, stock.qpos[number])
    np.testing.assert_array_equal(env.slot.data.qvel, stock.qvel[number])


def assert_same_view(observation, stock, number):
    np.testing.assert_array_equal(observation.state, stock.state[number])
    assert set(observation.images) == set(stock.images[number])
    for name, image in stock.images[number].items():
        np.testing.assert_array_equal(observation.images[name], image)
        assert image.std() > 10, "an empty image would be equal too"
