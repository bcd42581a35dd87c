"""The table and the picture of several driving runs, from folders written by hand."""

from __future__ import annotations

import json

import pytest

from tools.compare_driving import Options, groups, main, rows
from vlarl.errors import UserError
from vlarl.report.run_folder import read_run_folder


def write_run(folder, name, seed, *, completion, steps, crashes, minibatch=1024):
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"name": name, "seed": seed, "learner": {"minibatch_trajectories": minibatch}})
    )
    line = {"env_steps": steps / 2, "route_completion": completion, "speed": 20.0}
    line |= {"infractions_per_km/collision_vehicle": 2.0, "infractions_per_km/red_light": 7.0}
    (folder / "metrics.jsonl").write_text("".join(json.dumps({"step": step, **line}) + "\n" for step in (1, 2)))
    driving = {"route_completion": completion, "driving_score": 0.5 * completion, "speed": 18.0}
    driving |= {"infractions": {"collision_vehicle": crashes, "collision_static": 1, "red_light": 9}}
    driving |= {"infractions_per_km": {"collision_vehicle": 3.0, "collision_static": 0.5, "red_light": 9.0}}
    result = {"success_rate": 0.25, "ci95": [0.1, 0.4], "episodes": 20, "errors": 0, "driving": driving}
    for file in ("eval_after.json", "eval_after_drive_roundabout.json"):
        (folder / file).write_text(json.dumps(result))
    return read_run_folder(folder)


def test_a_row_holds_the_mean_over_seeds_with_students_interval(tmp_path):
    runs = [
        write_run(tmp_path / "a0", "carl", 0, completion=40.0, steps=1e6, crashes=3),
        write_run(tmp_path / "a1", "carl", 1, completion=60.0, steps=1.1e6, crashes=5),
        write_run(tmp_path / "b0", "other", 0, completion=10.0, steps=1e6, crashes=1),
    ]
    table = list(rows(groups(runs), "after"))
    assert [row[:4] for row in table] == [
        ["training maps", "carl", "2", "1.00 to 1.10 M"],
        ["training maps", "other", "1", "1.00 to 1.00 M"],
        ["drive_roundabout", "carl", "2", "1.00 to 1.10 M"],
        ["drive_roundabout", "other", "1", "1.00 to 1.00 M"],
    ]
    # 40 and 60: standard error 10, Student's quantile with one degree of freedom 12.706
    assert table[0][4:] == [
        "25.0 [25.0, 25.0]",
        "50.0 [-77.1, 177.1]",
        "25.0 [-38.5, 88.5]",
        "18.0 [18.0, 18.0]",
        "3.5 [3.5, 3.5]",
        "9.0 [9.0, 9.0]",
        "25.0 [-38.5, 88.5]",
    ]
    assert table[1][4:] == ["25.0", "10.0", "5.0", "18.0", "3.5", "9.0", "10.0"]


def test_a_seed_counts_once(tmp_path):
    runs = [write_run(tmp_path / name, "carl", 0, completion=40.0, steps=1e6, crashes=3) for name in "ab"]
    with pytest.raises(UserError, match=r"the runs of carl have the seeds \[0, 0\]"):
        groups(runs)


def test_sizes_of_minibatches_are_told_apart_where_they_differ(tmp_path):
    runs = [
        write_run(tmp_path / str(size), "carl", 0, completion=40.0, steps=1e6, crashes=3, minibatch=size)
        for size in (256, 4096)
    ]
    assert list(groups(runs)) == ["carl, mini-batches of 256", "carl, mini-batches of 4096"]
    assert list(groups(runs[:1])) == ["carl"]


def test_the_picture_is_drawn(tmp_path, capsys):
    write_run(tmp_path / "a", "carl", 0, completion=40.0, steps=1e6, crashes=3)
    main(Options(tmp_path / "figures" / "curves.png", (tmp_path / "a",)))
    assert (tmp_path / "figures" / "curves.png").stat().st_size > 1000
    assert "| training maps | carl | 1 |" in capsys.readouterr().out
