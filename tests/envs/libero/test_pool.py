"""Real scenes in worker processes: slots, workers and faults change no bit of any other episode."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.libero import LiberoConfig
from vlarl.bench.fault_injection import FaultyConfig
from vlarl.collector import Collector
from vlarl.env_protocol import EpisodeSpec, Outcome
from vlarl.policies.state_mlp import StateMlp, StateMlpConfig
from vlarl.policy import Decoding
from vlarl.vec_env import SlotEvent
from vlarl.worker_pool import WorkerPool

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_object_0")]

POLICY = StateMlp(StateMlpConfig(state_size=8, chunk=8, action_dim=7), seed=3)
STATES = (4, 4, 11, 30, 11, 2)


def specs():
    return [
        EpisodeSpec(suite="libero_object", task=0, instruction="", init_state=STATES[index], seed=index)
        for index in range(len(STATES))
    ]


def open_pool(profile):
    controller = "exact" if profile == "reference" else "compiled"
    env = LiberoConfig(profile=profile, controller=controller, resolution=64, horizon=20)
    return WorkerPool(FaultyConfig(inner=env), tasks=[("libero_object", 0)], workers=2, num_slots=14)


@pytest.fixture(scope="module", params=["fast", "reference"])
def pool(request):
    with open_pool(request.param) as opened:
        yield opened


class SomeSlots:
    """A few slots of a pool; of every second one, all belong to the same worker."""

    def __init__(self, pool, slots):
        self._pool, self._slots, self.num_slots = pool, slots, len(slots)

    def reset(self, slot, spec):
        self._pool.reset(self._slots[slot], spec)

    def step_chunk(self, slot, actions):
        self._pool.step_chunk(self._slots[slot], actions)

    def wait(self):
        return [SlotEvent(self._slots.index(event.slot), event.result) for event in self._pool.wait()]

    def close(self):
        """The pool is somebody else's."""


def play(pool, slots, specs):
    collector = Collector(POLICY, SomeSlots(pool, list(slots)), max_error_fraction=1.0)
    return collector.collect(specs, Decoding(temperature=1.5))


def assert_same(first, second):
    assert first.outcome == second.outcome and len(first.observations) == len(second.observations)
    for a, b in zip(first.outputs, second.outputs, strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
    for a, b in zip(first.observations, second.observations, strict=True):
        np.testing.assert_array_equal(a.state, b.state)
        for name in a.images:
            np.testing.assert_array_equal(a.images[name], b.images[name])


@pytest.fixture(scope="module")
def expected(pool):
    """One slot of one worker."""
    return play(pool, [0], specs())


def test_episodes_move_and_differ(expected):
    moved = [np.abs(t.observations[-1].state - t.observations[0].state).max() for t in expected]
    assert min(moved) > 0.01
    assert all(t.num_steps == 20 and t.outcome is Outcome.TRUNCATED for t in expected)
    np.testing.assert_array_equal(
        expected[0].observations[0].images["wrist"], expected[1].observations[0].images["wrist"]
    )
    assert (expected[0].outputs[0].tokens != expected[1].outputs[0].tokens).any()


@settings(max_examples=4)
@given(count=st.sampled_from([1, 2, 3, 7]), workers=st.sampled_from([1, 2]))
def test_slots_and_workers_change_no_bit(pool, expected, count, workers):
    slots = range(count) if workers == 2 else range(1, 2 * count, 2)
    for trajectory, other in zip(play(pool, slots, specs()), expected, strict=True):
        assert_same(trajectory, other)


def test_simulator_faults_cost_their_episode_and_nothing_else(pool, expected):
    """State not finite, unstable simulation, no graphics context, a killed process: on the real thing."""
    faults = {1: "physics-nan@2", 2: "unstable@1", 3: "graphics@2", 5: "kill@3"}
    broken = specs()
    for index, fault in faults.items():
        broken[index] = replace(broken[index], instruction=fault)
    deaths = pool.deaths
    trajectories = play(pool, range(4), broken)
    assert pool.deaths == deaths + 2
    causes = {1: "unstable|not finite", 2: "unstable|not finite", 3: "no off-screen OpenGL context", 5: "process died"}
    for index, trajectory in enumerate(trajectories):
        if index in causes:
            assert trajectory.outcome is Outcome.ERROR
            assert any(cause in trajectory.error for cause in causes[index].split("|")), trajectory.error
        else:
            assert_same(trajectory, expected[index])
