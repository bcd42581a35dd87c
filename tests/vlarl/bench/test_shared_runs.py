"""Runs that are files: what is missing is played once, whoever plays it, and nothing is taken for what it is not."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from vlarl.bench.shared_runs import Run, play_missing
from vlarl.errors import UserError


def run_at(folder, name, play=lambda: {}, needs=None, **settings):
    return Run(folder / f"{name}.json", play, settings, needs)


def test_what_is_missing_is_played_in_order_and_read_back(tmp_path):
    played = []
    runs = [run_at(tmp_path / "new", n, lambda n=n: played.append(n) or {"n": n}, rate=0.1) for n in "abc"]
    assert [result["n"] for result in play_missing(runs)] == ["a", "b", "c"]
    runs[1].file.unlink()
    play_missing(runs)
    assert played == ["a", "b", "c", "b"]
    assert sorted(path.name for path in runs[0].file.parent.iterdir()) == ["a.json", "b.json", "c.json"]


def test_a_run_with_other_settings_is_not_taken_for_this_one(tmp_path):
    play_missing([run_at(tmp_path, "a", rate=0.1)])
    runs = [run_at(tmp_path, "b", lambda: pytest.fail("played before"), rate=0.2), run_at(tmp_path, "a", rate=0.2)]
    with pytest.raises(UserError, match=r"a.json was made with rate 0.1, this is with 0.2: name another --out"):
        play_missing(runs)


def wait_for(file):
    """Files, not queues and events: whose locks a killed process would keep."""
    end = time.monotonic() + 120
    while not file.exists():
        assert time.monotonic() < end, f"{file.name} did not come"
        time.sleep(0.01)


def _share(folder, mine):
    def play(name):
        (folder / f"{mine} plays {name}").touch()
        wait_for(folder / "go on")
        return {"by": mine}

    runs = [run_at(folder, n, lambda n=n: play(n)) for n in "ab"]
    runs.append(run_at(folder, "c", lambda: {"after": json.loads(runs[0].file.read_text())["by"]}, runs[0].file))
    play_missing(runs, poll=0.01)


def test_processes_share_the_runs_and_one_that_was_killed_holds_nothing(tmp_path):
    def begin(name, first):
        process = multiprocessing.get_context("fork").Process(target=_share, args=(tmp_path, name), daemon=True)
        process.start()
        wait_for(tmp_path / f"{name} plays {first}")
        return process

    killed, second = begin("first", "a"), begin("second", "b")
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    third = begin("third", "a")  # b is the second's
    (tmp_path / "go on").touch()
    for process in (second, third):
        process.join(120)
        assert process.exitcode == 0
    assert json.loads((tmp_path / "a.json").read_text())["by"] == "third"
    assert json.loads((tmp_path / "b.json").read_text())["by"] == "second"
    assert json.loads((tmp_path / "c.json").read_text())["after"] == "third"
    assert len(list(tmp_path.glob("* plays *"))) == 3
