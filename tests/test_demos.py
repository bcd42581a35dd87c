"""vlarl demos: from the command line to a folder that can be read back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.support.demonstrations import demonstration
from vlarl import cli
from vlarl.commands.demos import Options, make_jobs, parse_numbers, without_existing
from vlarl.demos import DemoJob, InTaskOrder, TaskDone, demonstrate_task, make_demonstrations
from vlarl.errors import UserError


def test_numbers_and_ranges():
    assert parse_numbers(("0", "3-5", "4"), "--tasks") == [0, 3, 4, 5]


@pytest.mark.parametrize("text", ["", "a", "3-", "5-3", "-1", "1.5"])
def test_bad_numbers_say_what_to_write(text):
    with pytest.raises(UserError, match="--tasks.*0,3-5"):
        parse_numbers((text,), "--tasks")


@pytest.mark.libero
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options("libero_objct"), "Did you mean 'libero_object'"),
        (Options("libero_object", tasks=("10",)), "no task 10; there are 0 to 9"),
        (Options("libero_object", init_states=("49-50",)), "initial states 0 to 49, not 50"),
        (Options("libero_object", noise=1.5), "--noise 1.5"),
        (Options("libero_object", episodes=0), "--episodes 0"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_built(options, message):
    with pytest.raises(UserError, match=message):
        make_jobs(options)


@pytest.mark.libero
def test_demonstrations_come_from_the_training_states_and_go_round_with_other_noise():
    (job,) = make_jobs(Options("libero_object", tasks=("0",), episodes=70))
    assert job.init_states == tuple(list(range(30)) * 3) and job.episodes == 70
    (job,) = make_jobs(Options("libero_object", tasks=("0",), episodes=7, init_states=("all",), table_only=True))
    assert job.init_states == tuple(range(7)) and not job.render


def test_without_a_folder_nothing_starts(capsys):
    assert cli.main(["demos", "libero_object"]) == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.libero
@pytest.mark.xdist_group("libero_object_0")
def test_one_demonstration_end_to_end(tmp_path, capsys):
    out, table = tmp_path / "demos", tmp_path / "table.json"
    words = f"demos libero_object --tasks 0 --episodes 1 --init-states 2 --resolution 64 --out {out} --json {table}"
    assert cli.main(words.split()) == 0

    from vlarl.data.lerobot import LeRobotDataset

    dataset = LeRobotDataset(out)
    assert len(dataset) == 1
    demonstration = dataset.read_episode(0)
    assert (demonstration.suite, demonstration.task, demonstration.init_state) == ("libero_object", 0, 2)
    assert demonstration.succeeded and "alphabet soup" in demonstration.instruction
    assert demonstration.images["wrist"].shape == (len(demonstration), 64, 64, 3)
    assert demonstration.state.shape == (len(demonstration), 8)
    # The gripper opens, closes on the can, and the hand's own readings follow the actions.
    assert set(np.unique(demonstration.actions[:, 6])) == {-1.0, 1.0}
    assert demonstration.state[:, 2].min() < 0.1 < demonstration.state[0, 2]

    result = json.loads(table.read_text())
    (row,) = result["tasks"]
    assert (row["solved"], row["attempted"], row["mean_steps"]) == (1, 1, len(demonstration))
    assert result["protocol"]["noise"] == 0.1 and result["protocol"]["render_profile"] == "fast"
    assert "1/1" in capsys.readouterr().out


JOB = DemoJob(
    suite="libero_object",
    task=0,
    instruction="",
    horizon=20,
    init_states=tuple(range(10)),
    episodes=10,
    noise=0.0,
    seed=0,
    profile="fast",
    controller="compiled",
    resolution=64,
    render=False,
    max_attempts=1,
)


@pytest.mark.libero
@pytest.mark.xdist_group("libero_object_0")
def test_a_task_that_cannot_be_done_is_given_up_and_listed():
    attempts = list(demonstrate_task(JOB))  # 20 control steps are too few to reach the basket
    assert [attempt.init_state for attempt in attempts] == [0, 1, 2, 3, 4, 5]
    assert not any(attempt.solved for attempt in attempts)


def test_a_worker_that_fails_is_reported_and_the_others_go_on():
    bad = [replace(JOB, suite="no_such_suite", task=task) for task in (0, 1)]
    reports = list(make_demonstrations(bad, workers=1))
    assert [report.task for report in reports] == [0, 1]
    assert all(isinstance(report, TaskDone) and "no_such_suite" in report.error for report in reports)


def test_resuming_makes_only_what_is_missing(tmp_path):
    from vlarl.data.lerobot import LeRobotWriter

    with LeRobotWriter(tmp_path / "demos") as writer:
        for number in (0, 3, 6):  # of task 0, from initial states 0, 3 and 6
            writer.add_episode(demonstration(number))
    jobs = [
        replace(JOB, init_states=(0, 1, 3, 4, 0), episodes=5),
        replace(JOB, init_states=(0, 3), episodes=2),
        replace(JOB, task=5, init_states=(0, 1), episodes=2),
        replace(JOB, suite="libero_goal", init_states=(0,), episodes=1),
    ]
    first, *rest = without_existing(jobs, tmp_path / "demos")
    assert (first.init_states, first.episodes) == ((1, 4, 0), 3)
    assert rest == jobs[2:]
    assert without_existing(jobs, tmp_path / "nothing here") == jobs


def test_demonstrations_are_written_task_by_task_whoever_is_first():
    written = []
    ordered = InTaskOrder([8, 0, 3], lambda d: written.append((d.task, d.init_state)))
    for task, init_state in ((0, 0), (8, 0), (0, 1), (8, 1)):
        ordered.add(replace(demonstration(0), task=task, init_state=init_state))
    assert written == [(8, 0), (8, 1)]
    ordered.finish(0)
    assert written == [(8, 0), (8, 1)]
    ordered.finish(8)
    assert written == [(8, 0), (8, 1), (0, 0), (0, 1)]
    ordered.add(replace(demonstration(0), task=3, init_state=5))
    assert written[-1] == (3, 5)
