"""The same specs give bitwise the same trajectories whatever the number of slots and workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.toy import ToyConfig
from vlarl.collector import Collector
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.specs import training_groups
from vlarl.worker_pool import WorkerPool


def play(workers: int, slots: int):
    config = ToyConfig()
    specs = training_groups(config.task_specs("toy"), split="official", groups=5, group_size=4, seed=1, iteration=2)
    with WorkerPool(config, tasks=[], workers=workers, num_slots=slots) as pool:
        return Collector(StateMlp(), pool).collect(specs, Decoding(temperature=1.2))


@pytest.fixture(scope="module")
def expected():
    return play(1, 1)


@settings(max_examples=6, deadline=None)
@given(workers=st.integers(1, 3), extra=st.integers(0, 9))
def test_slots_and_workers_change_nothing(expected, workers, extra):
    found = play(workers, workers + extra)
    assert len(found) == len(expected)
    for a, b in zip(expected, found, strict=True):
        assert a.spec == b.spec and a.outcome == b.outcome and a.num_steps == b.num_steps
        for x, y in zip(a.outputs, b.outputs, strict=True):
            assert np.array_equal(x.tokens, y.tokens) and np.array_equal(x.log_probs, y.log_probs)
        for x, y in zip(a.observations, b.observations, strict=True):
            assert np.array_equal(x.state, y.state) and np.array_equal(x.images["top"], y.images["top"])
