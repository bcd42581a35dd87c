"""Driving episodes are bitwise the same in worker processes, one by one, and together, under CaRL's policy."""

import numpy as np
import pytest

from envs.drive import DriveConfig
from vlarl.batch_slots import BatchSlots
from vlarl.collector import Collector
from vlarl.local_slots import LocalSlots
from vlarl.make_slots import make_slots
from vlarl.policies.carl_driving import CarlDriving
from vlarl.policy import Decoding
from vlarl.specs import training_groups
from vlarl.worker_pool import WorkerPool

ENV = DriveConfig(routes=3, route_metres=30.0, horizon=12, actors=12, resolution=0, layers=64)
TASKS = ENV.task_specs("drive_grid_town")
SPECS = training_groups(TASKS, split="heldout", groups=4, group_size=2, seed=1, iteration=2)


def play(slots, **how):
    with slots:
        return Collector(CarlDriving.for_env(ENV, seed=1), slots).collect(SPECS, Decoding(), **how)


@pytest.fixture(scope="module")
def expected():
    return play(LocalSlots(ENV))


CASES = {
    "together": lambda: BatchSlots(ENV, num_slots=8),
    "three together, in two threads": lambda: BatchSlots(ENV, num_slots=3, threads=2),
    "in a worker process": lambda: make_slots(ENV, [("drive_grid_town", 0)], workers=1, slots=3),
}


@pytest.mark.parametrize("name", CASES)
def test_how_slots_are_stepped_changes_nothing(name, expected):
    found = play(CASES[name]())
    for a, b in zip(expected, found, strict=True):
        assert (a.spec, a.outcome, a.num_steps) == (b.spec, b.outcome, b.num_steps)
        for x, y in zip(a.outputs, b.outputs, strict=True):
            assert np.array_equal(x.tokens, y.tokens) and np.array_equal(x.log_probs, y.log_probs)
        for x, y in zip(a.observations, b.observations, strict=True):
            assert np.array_equal(x.state, y.state) and np.array_equal(x.images["layers"], y.images["layers"])
        for x, y in zip(a.events, b.events, strict=True):
            assert x.keys() == y.keys()
            assert all(np.array_equal(x[key], y[key]) for key in x)


def test_trajectories_can_forget_what_they_saw(expected):
    found = play(BatchSlots(ENV, num_slots=8), keep_inputs=False)
    for a, b in zip(expected, found, strict=True):
        assert [x.tokens.tolist() for x in a.outputs] == [x.tokens.tolist() for x in b.outputs]
        assert len(b.observations) == 1 and not any(x.inputs for x in b.outputs)
        assert a.events[-1]["drive/route_completion"] == b.events[-1]["drive/route_completion"]


def test_the_kind_of_slots_follows_the_environment_and_the_number_of_workers():
    from envs.toy import ToyConfig

    for env, workers, kind in ((ENV, 0, BatchSlots), (ToyConfig(), 0, LocalSlots), (ToyConfig(), 1, WorkerPool)):
        with make_slots(env, [], workers=workers, slots=1) as slots:
            assert type(slots) is kind
