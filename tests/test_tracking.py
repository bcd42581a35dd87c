"""metrics.jsonl: torn lines, resumed runs, and what other programs can read."""

from __future__ import annotations

import json

import pytest

from vlarl.errors import NameNotFoundError, UserError
from vlarl.tracking import JsonlTracker, Trackers, make_tracker, read_metrics


def test_one_line_per_step_readable_at_once(tmp_path):
    tracker = make_tracker(tmp_path)
    tracker.log({"success": 0.5, "loss": float("nan")}, 1)
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "success": 0.5, "loss": None}]
    tracker.log({"success": 0.75}, 2)
    tracker.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_torn_last_line_is_dropped_on_reading_and_on_resuming(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 3, "a"')
    assert [line["step"] for line in read_metrics(path)] == [1, 2]
    tracker = JsonlTracker(path, resume_step=2)
    tracker.log({"a": 3}, 3)
    tracker.close()
    assert path.read_text() == '{"step": 1, "a": 1}\n{"step": 2, "a": 2}\n{"step": 3, "a": 3}\n'


def test_resuming_drops_what_comes_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tracker = JsonlTracker(path)
    for step in (1, 2, 3):
        tracker.log({}, step)
    tracker.close()
    JsonlTracker(path, resume_step=1).close()
    assert [line["step"] for line in read_metrics(path)] == [1]
    JsonlTracker(path).close()
    assert read_metrics(path) == []


def test_a_damaged_line_in_the_middle_is_not_passed_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(UserError, match="line 2"):
        read_metrics(path)


def test_unknown_trackers_get_the_nearest(tmp_path):
    with pytest.raises(NameNotFoundError, match="Did you mean 'tensorboard'"):
        make_tracker(tmp_path, ["tensorbord"])


def test_several_trackers_get_the_same(tmp_path):
    both = Trackers([JsonlTracker(tmp_path / "a"), JsonlTracker(tmp_path / "b")])
    both.log({"x": 1}, 5)
    both.close()
    assert read_metrics(tmp_path / "a") == read_metrics(tmp_path / "b") == [{"step": 5, "x": 1}]
