"""``vlarl bench rollout``: figures add up, bad requests are refused, a small run writes what it promises."""

import json

import pytest

from vlarl.bench import suites
from vlarl.bench.measure import Table, ratios
from vlarl.bench.rollout import Options, bench_actions, check, run
from vlarl.cli import main
from vlarl.env_protocol import UnknownTaskError
from vlarl.errors import UserError


def test_rows_hold_median_and_spread_and_ratios_are_of_medians():
    table = Table()
    for value in (3.0, 1.0, 2.0):
        table.add("fast", "env-steps/s", value)
    table.add("subproc", "env-steps/s", 0.5)
    assert table.rows()[0] == {
        "name": "fast",
        "value": 2.0,
        "unit": "env-steps/s",
        "repeats": 3,
        "min": 1.0,
        "median": 2.0,
        "max": 3.0,
    }
    assert ratios(table, [("fast", "subproc"), ("reference", "subproc")]) == {"fast/subproc": 4.0}


def test_actions_are_the_same_every_time_and_move_the_gripper():
    actions = bench_actions(3, 40)
    assert actions.shape == (3, 40, 7) and (actions == bench_actions(3, 40)).all()
    assert set(actions[:, :, 6].ravel()) == {-1.0, 1.0}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (Options(contenders=("subprog",)), UserError, "subproc, async, reference, fast"),
        (Options(episodes=3, workers=2), UserError, "multiple of --workers 2"),
        (Options(steps=4), UserError, "at least 16"),
        (Options(task=10), UserError, "alphabet soup"),
        (Options(suite="libero_objekt"), UnknownTaskError, "libero_object"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        check(options)


def test_unknown_benchmark_is_named(capsys):
    assert main(["bench", "rolout"]) == 2
    assert "rollout" in capsys.readouterr().err


@pytest.mark.libero
def test_a_small_run_writes_rows_that_add_up(tmp_path):
    path = tmp_path / "bench.json"
    assert run(Options(contenders=("fast",), workers=1, episodes=2, steps=16, repeats=2, resolution=32, json=path)) == 0
    result = json.loads(path.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert {"fast", "fast frames", "fast cpu", "fast memory per worker"} <= rows.keys()
    assert rows["fast"]["repeats"] == 2 and rows["fast"]["min"] <= rows["fast"]["median"] <= rows["fast"]["max"]
    phases = ["simulate", "success", "render", "transport"]
    spent = [rows[f"fast cpu {phase}"]["value"] for phase in phases]
    assert all(value > 0 for value in spent[:3])
    assert sum(spent) == pytest.approx(rows["fast cpu"]["value"], rel=0.5)  # medians of two repeats
    split = rows["fast cpu physics"]["value"] + rows["fast cpu controller"]["value"]
    assert split == pytest.approx(rows["fast cpu simulate"]["value"], rel=0.3)
    assert rows["fast cpu physics"]["value"] > 0  # the controller's is a difference: below 0 on a busy machine
    assert result["protocol"]["fast"]["render_profile"] == "fast" and result["protocol"]["chunk"] == 8
    assert result["ratios"] == {}


def fake_measure(options, table):
    """Instead of simulators: each contender's speed is a plain function of the task."""
    for factor, name in enumerate(options.contenders, start=1):
        table.add(name, "env-steps/s", factor**2 * (options.task + 1.0))
    fake_measure.played.append((options.suite, options.task))


def test_suites_are_summarised_by_the_median_of_their_tasks_and_go_on_where_they_stopped(tmp_path, monkeypatch, capsys):
    fake_measure.played = []
    monkeypatch.setattr(suites.rollout, "measure", fake_measure)
    path = tmp_path / "suites.json"
    first = suites.Options(suites=("libero_object",), tasks=(0, 1), contenders=("subproc", "fast"), json=path)
    assert suites.run(first) == 0
    assert "2/2 libero_object task 1: fast/subproc 4.0x" in capsys.readouterr().err
    result = json.loads(path.read_text())
    assert result["ratios"] == {"libero_object fast/subproc": 4.0}
    assert {row["name"]: row["value"] for row in result["rows"]}["libero_object 1 fast"] == 8.0
    more = suites.Options(
        suites=("libero_object", "libero_goal"), tasks=(0, 1), contenders=("subproc", "fast"), json=path
    )
    assert suites.run(more) == 0
    assert fake_measure.played == [(suite, task) for suite in more.suites for task in (0, 1)], "none twice"
    assert set(json.loads(path.read_text())["ratios"]) == {"libero_object fast/subproc", "libero_goal fast/subproc"}
    with pytest.raises(UserError, match="another measurement"):
        suites.run(suites.Options(steps=64, json=path))
