"""The head of every result file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vlarl.files import read_json
from vlarl.results import display_path, git_commit, machine, result_header, versions, write_result


def test_head_names_command_protocol_versions_and_machine(tmp_path):
    head = result_header(["vlarl", "eval", "x"], {"suite": "toy"})
    assert head["command"] == "vlarl eval x"
    assert head["protocol"] == {"suite": "toy"}
    assert head["versions"]["torch"].startswith("2.13.0")
    assert head["versions"]["python"].count(".") == 2
    assert head["machine"]["cores"] >= 1
    assert head["machine"]["memory_gib"] > 0
    assert read_json(write_result(tmp_path / "r.json", head | {"success_rate": 0.5}))["success_rate"] == 0.5


def test_a_result_without_its_head_is_refused(tmp_path):
    with pytest.raises(ValueError, match="protocol, versions, machine"):
        write_result(tmp_path / "r.json", {"command": "x", "success_rate": 1.0})
    assert not (tmp_path / "r.json").exists()


def test_callers_cannot_change_what_the_next_one_gets():
    versions()["torch"] = "changed"
    machine()["cores"] = -1
    assert versions()["torch"] != "changed"
    assert machine()["cores"] != -1


def test_commit_is_marked_where_tracked_files_differ(tmp_path):
    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    assert git_commit(tmp_path) is None
    git("init", "-q")
    (tmp_path / "f").write_text("1")
    git("add", "f")
    git("commit", "-qm", "x")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "untracked").write_text("")
    assert git_commit(tmp_path) == commit
    (tmp_path / "f").write_text("2")
    assert git_commit(tmp_path) == f"{commit}+dirty"


def test_paths_are_shown_without_the_machine_they_lie_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert display_path(tmp_path / "runs") == "runs"
    assert display_path(Path(__file__).parents[1] / "assets") == "assets"
    assert display_path("vlarl.policies.state_mlp:StateMlp") == "vlarl.policies.state_mlp:StateMlp"
    assert display_path("/usr/bin") == "/usr/bin"
