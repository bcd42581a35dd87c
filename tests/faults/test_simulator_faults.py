"""Faults caused on purpose: the episode ends as an error, everything else is as it would have been."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.support.faulty_env import FaultyConfig
from vlarl.collector import Collector, SimulatorErrorRateError
from vlarl.env_protocol import Outcome
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories
from vlarl.worker_pool import WorkerPool


def specs_of(count: int):
    tasks = FaultyConfig().task_specs("toy")
    return training_groups(tasks, split="official", groups=count // 2, group_size=2, seed=3, iteration=0)


def play(specs, *, workers=2, slots=4, watchdog=30.0, max_error_fraction=1.0):
    with WorkerPool(FaultyConfig(), tasks=[], workers=workers, num_slots=slots, watchdog_seconds=watchdog) as pool:
        trajectories = Collector(StateMlp(), pool, max_error_fraction=max_error_fraction).collect(specs, Decoding())
        return trajectories, pool.deaths


def same(first, second) -> bool:
    return (
        first.outcome == second.outcome
        and all(np.array_equal(a.tokens, b.tokens) for a, b in zip(first.outputs, second.outputs, strict=True))
        and all(np.array_equal(a.state, b.state) for a, b in zip(first.observations, second.observations, strict=True))
    )


@pytest.mark.parametrize(
    ("fault", "cause", "deaths"),
    [
        ("raise@reset", "reset failed on purpose", 0),
        ("raise@2", "step failed on purpose", 0),
        ("kill@2", "died", 1),
        ("hang@2", "hung", 1),
        ("nan@2", "not finite", 0),
    ],
)
def test_one_fault_is_one_error_and_the_rest_is_untouched(fault, cause, deaths):
    specs = specs_of(12)
    clean, _ = play(specs)
    broken = list(specs)
    broken[5] = replace(specs[5], instruction=fault)
    trajectories, died = play(broken, watchdog=1.5)
    assert trajectories[5].outcome is Outcome.ERROR
    assert cause in trajectories[5].error
    assert died == deaths
    # A dead process takes the episodes of its other slots along; those are errors too, never silent failures.
    for index, trajectory in enumerate(trajectories):
        if trajectory.outcome is Outcome.ERROR:
            assert index == 5 or deaths
        else:
            assert same(trajectory, clean[index])
    assert sum(t.outcome is Outcome.ERROR for t in trajectories) <= (2 if deaths else 1)


def test_errors_are_never_stacked_into_a_batch():
    specs = specs_of(2)
    trajectories, _ = play([replace(specs[0], instruction="raise@1"), specs[1]])
    with pytest.raises(ValueError, match="may not be trained on"):
        stack_trajectories(trajectories)


def test_too_many_errors_stop_the_run_with_their_causes():
    specs = [replace(spec, instruction="raise@1") for spec in specs_of(20)]
    with pytest.raises(SimulatorErrorRateError, match="step failed on purpose"):
        play(specs, max_error_fraction=0.25)


def test_many_random_faults_in_one_collection():
    rng = np.random.default_rng(0)
    faults = ["raise@1", "raise@2", "kill@1", "raise@reset", ""]
    specs = [replace(spec, instruction=faults[rng.integers(len(faults))]) for spec in specs_of(120)]
    trajectories, deaths = play(specs)
    assert len(trajectories) == 120
    assert deaths >= 10
    assert all(t.outcome is Outcome.ERROR for t in trajectories if "@" in t.spec.instruction)
    assert any(t.outcome is not Outcome.ERROR for t in trajectories)


def test_no_process_survives_a_killed_parent():
    code = (
        "import sys, time\n"
        "from envs.toy import ToyConfig\n"
        "from vlarl.worker_pool import WorkerPool\n"
        "pool = WorkerPool(ToyConfig(), tasks=[], workers=2, num_slots=2)\n"
        "print(pool._nursery.pid, *pool.worker_pids(), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    def alive(pid: int) -> bool:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
        except FileNotFoundError:
            return False

    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            break
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
