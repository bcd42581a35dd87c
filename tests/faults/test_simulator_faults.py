"""Faults caused on purpose: one episode ends as an error, everything else is as it would have been."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from envs.toy import ToyConfig
from vlarl.bench.fault_injection import FaultyConfig
from vlarl.bench.footprint import footprint, growth, process_state, slope
from vlarl.collector import Collector, SimulatorErrorRateError
from vlarl.env_protocol import Outcome
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories
from vlarl.worker_pool import WorkerPool, WorkerPoolError

CONFIG = FaultyConfig(inner=ToyConfig(resolution=48))
"""Frames of 6,912 bytes: large enough to go through shared memory."""


def specs_of(count: int):
    tasks = CONFIG.task_specs("toy")
    return training_groups(tasks, split="official", groups=count // 2, group_size=2, seed=3, iteration=0)


def open_pool(*, workers=2, slots=4, watchdog=60.0):
    return WorkerPool(CONFIG, tasks=[], workers=workers, num_slots=slots, watchdog_seconds=watchdog)


def play(specs, *, max_error_fraction=1.0, **keywords):
    with open_pool(**keywords) as pool:
        trajectories = Collector(StateMlp(), pool, max_error_fraction=max_error_fraction).collect(specs, Decoding())
        return trajectories, pool.deaths


def assert_same(first, second):
    assert first.outcome == second.outcome and first.spec.seed == second.spec.seed
    for a, b in zip(first.outputs, second.outputs, strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
        np.testing.assert_array_equal(a.log_probs, b.log_probs)
    for a, b in zip(first.observations, second.observations, strict=True):
        np.testing.assert_array_equal(a.state, b.state)
        np.testing.assert_array_equal(a.images["top"], b.images["top"])


def alive(pid):
    state = process_state(pid)
    return state is not None and state[0] not in "ZX"


def kill_and_wait(pid):
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.005)


@pytest.fixture(scope="module")
def clean():
    return play(specs_of(12))[0]


@pytest.mark.parametrize(
    ("fault", "cause", "deaths"),
    [
        ("raise@reset", "EnvError: failed on purpose", 0),
        ("raise@2", "EnvError: failed on purpose", 0),
        ("nan@2", "state is not finite", 0),
        ("inf@1", "state is not finite", 0),
        ("crash@reset", "RuntimeError: an exception nobody expected", 1),
        ("crash@2", "RuntimeError: an exception nobody expected", 1),
        ("kill@2", "the worker process died", 1),
        ("kill@reset", "the worker process died", 1),
        ("segfault@1", "the worker process died", 1),
        ("hang@2", "hung for more than 5 s", 1),
        ("memory@2", "SharedMemoryError: no shared memory for", 1),
    ],
)
def test_one_fault_is_one_error_and_all_other_episodes_are_bitwise_the_same(clean, fault, cause, deaths):
    specs = specs_of(12)
    specs[5] = replace(specs[5], instruction=fault)
    trajectories, died = play(specs, watchdog=5.0 if fault.startswith("hang") else 60.0)
    assert trajectories[5].outcome is Outcome.ERROR
    assert cause in trajectories[5].error
    assert died == deaths
    for index, trajectory in enumerate(trajectories):
        if index != 5:
            assert_same(trajectory, clean[index])


def test_a_worker_killed_from_outside_between_chunks_costs_no_episode(clean):
    """Nothing was being simulated: all of its episodes go on in the successor."""
    specs = specs_of(12)
    with open_pool(workers=1) as pool:

        class Killer(StateMlp):
            calls = 0

            def act(self, observations, noise, decoding):
                self.calls += 1
                if self.calls in (3, 6):
                    while any(worker.asked for worker in pool._workers):  # let it become idle
                        for key, _ in pool._selector.select(timeout=1.0):
                            pool._receive(key.data)
                    kill_and_wait(pool.worker_pids()[0])
                return super().act(observations, noise, decoding)

        trajectories = Collector(Killer(), pool).collect(specs, Decoding())
        assert pool.deaths == 2 and len(pool.recovery_seconds) == 2
    for trajectory, expected in zip(trajectories, clean, strict=True):
        assert_same(trajectory, expected)


def test_200_random_faults_in_one_collection():
    rng = np.random.default_rng(0)
    names = ["raise@1", "raise@reset", "crash@2", "kill@1", "kill@2", "segfault@1", "nan@1", "memory@1"]
    specs = specs_of(400)
    expected, _ = play(specs, slots=6)
    broken = rng.permutation(400)[:200]
    faulty = list(specs)
    for number, index in enumerate(broken):
        name = "hang@1" if number in (50, 150) else names[rng.integers(len(names))]
        faulty[index] = replace(specs[index], instruction=name)
    with open_pool(slots=6, watchdog=5.0) as pool:
        collector = Collector(StateMlp(), pool, max_error_fraction=1.0)
        collector.collect(specs[:8], Decoding())  # maps the slots' memory
        before = footprint(pool)
        trajectories = collector.collect(faulty, Decoding())
        after = footprint(pool)
        assert pool.deaths > 100
        # a successor that is lost before its first answer has no time of its own
        assert 100 < len(pool.recovery_seconds) <= pool.deaths
    assert {i for i, t in enumerate(trajectories) if t.outcome is Outcome.ERROR} == set(broken.tolist())
    for index in set(range(400)) - set(broken.tolist()):
        assert_same(trajectories[index], expected[index])
    more = growth(before, after)
    assert more["descriptors"] <= 0 and more["processes"] == 0 and more["mappings"] <= 0, more
    assert more["named_segments"] == 0


def test_nothing_leaks_over_1000_episodes():
    specs = specs_of(100)
    rows = []
    outside = footprint()
    with open_pool() as pool:
        collector = Collector(StateMlp(), pool)
        for batch in range(10):
            collector.collect(specs, Decoding())
            rows.append(((batch + 1) * 100, footprint(pool)))
    counts = np.array([episodes for episodes, _ in rows[2:]], dtype=float)
    for name in ("descriptors", "processes", "mappings"):
        assert len({getattr(row, name) for _, row in rows[1:]}) == 1, name
    for name in ("main_bytes", "simulator_bytes"):
        values = np.array([getattr(row, name) for _, row in rows[2:]], dtype=float)
        # A leak grows all the time, the allocator takes a megabyte once: so in both halves.
        grown = min(slope(counts[half], values[half]) for half in (slice(0, 4), slice(4, 8)))
        assert grown < 2048, f"{name} grows by {grown:.0f} bytes per episode: {values}"
    more = growth(outside, footprint())
    assert more["descriptors"] <= 0 and more["processes"] <= 0 and more["mappings"] <= 0, more


def test_errors_are_never_stacked_into_a_batch():
    specs = specs_of(2)
    trajectories, _ = play([replace(specs[0], instruction="raise@1"), specs[1]])
    with pytest.raises(ValueError, match="may not be trained on"):
        stack_trajectories(trajectories)


def test_too_many_errors_stop_the_run_with_their_causes():
    specs = [replace(spec, instruction="raise@1" if i % 2 else "nan@1") for i, spec in enumerate(specs_of(20))]
    with pytest.raises(SimulatorErrorRateError, match="16 of 16") as caught:
        play(specs, max_error_fraction=0.25)
    found = re.findall(
        r"- (\d+) x EnvError: (failed on purpose|the simulator's state is not finite)", str(caught.value)
    )
    assert len(found) == 2 and sum(int(count) for count, _ in found) == 16


def test_a_simulator_that_does_not_repeat_is_not_passed_off_as_the_same_episode():
    """A lost worker's episodes are played again; where that leads elsewhere, the episode is an error."""
    specs = specs_of(2)
    with open_pool(workers=1, slots=1) as pool:
        pool.reset(0, specs[0])
        pool.wait()
        pool._episodes[0].state = pool._episodes[0].state + 1e-3
        kill_and_wait(pool.worker_pids()[0])
        pool.step_chunk(0, np.zeros((4, 2), dtype=np.float32))
        (event,) = pool.wait()
    assert event.result.outcome is Outcome.ERROR and "did not repeat" in event.result.events["error"]


def test_a_dead_nursery_is_an_error_with_a_name_not_a_hang():
    with open_pool(workers=1, slots=1) as pool:
        pool.reset(0, specs_of(2)[0])
        pool.wait()
        pool._nursery.kill()
        pool._nursery.wait()
        with pytest.raises(WorkerPoolError, match="nursery process is gone"):
            pool.step_chunk(0, np.zeros((4, 2), dtype=np.float32))
            pool.wait()


@pytest.mark.parametrize("stopped", [False, True])
def test_a_killed_parent_leaves_no_process_and_no_shared_memory(stopped):
    """Also where a worker is stopped and cannot notice by itself."""
    code = (
        "import os, signal, sys, time\n"
        "from envs.toy import ToyConfig\n"
        "from vlarl.env_protocol import EpisodeSpec\n"
        "from vlarl.worker_pool import WorkerPool\n"
        "pool = WorkerPool(ToyConfig(resolution=64), tasks=[], workers=2, num_slots=2)\n"
        "for slot in range(2):\n"
        "    pool.reset(slot, EpisodeSpec(suite='toy', task=0, instruction='', init_state=0, seed=0))\n"
        "seen = 0\n"
        "while seen < 2:\n"
        "    seen += len(pool.wait())\n"
        f"if {stopped}:\n"
        "    os.kill(pool.worker_pids()[0], signal.SIGSTOP)\n"
        "print(pool._nursery.pid, *pool.worker_pids(), flush=True)\n"
        "time.sleep(60)\n"
    )
    segments = set(os.listdir("/dev/shm"))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 3
    with open(f"/proc/{pids[1]}/maps") as maps:
        assert "memfd:vlarl-frames" in maps.read(), "then the test would say nothing about shared memory"
    parent.send_signal(signal.SIGKILL)
    parent.wait()

    for _ in range(200):
        if not any(alive(pid) for pid in pids):
            break
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
    assert set(os.listdir("/dev/shm")) <= segments
