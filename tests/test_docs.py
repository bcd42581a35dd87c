"""What the documentation says works: its example is extracted and trained, its links and commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vlarl.cli import command_names, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_bring_your_own_example_learns(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "bring_your_own.md").read_text()
    files = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    assert {name for name, _ in files} == {
        "corridor.py",
        "corridor_env.py",
        "corridor_policy.py",
        "corridor_reward.py",
    }
    for name, code in files:
        (tmp_path / name).write_text(code)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "corridor.py", "--iterations", "12"]) == 0
    folder = tmp_path / "runs" / "corridor"
    before = json.loads((folder / "eval_before.json").read_text())["success_rate"]
    after = json.loads((folder / "eval_after.json").read_text())["success_rate"]
    assert after > before + 0.2
    assert (folder / "videos").is_dir()
    assert main(["train", "corridor.py", "--resume", str(folder), "--iterations", "13"]) == 0


def test_the_example_of_the_tools_runs():
    text = (ROOT / "docs" / "carla.md").read_text()
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "DrivingTools" in code)
    found: dict[str, Any] = {}
    exec(compile(code, "docs/carla.md", "exec"), found)
    assert found["picture"].shape == (180, 320, 3)
    assert found["detail"].shape == (176, 320, 3)
    assert found["metres"].shape == (180, 320)
    assert found["boxes"] and {box.kind for box in found["boxes"]} <= {"pedestrian", "traffic_light"}
    assert (found["answer"].image != found["picture"]).any()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_and_files_exist(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_exist(page):
    known = command_names()
    for line in re.findall(r"(?m)^(?:\$ )?(?:\.venv/bin/)?vlarl ([a-z-]+)", page.read_text()):
        assert line in known, f"{page.name}: vlarl {line}"


def test_make_targets_in_the_documentation_exist():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    for page in PAGES:
        for target in re.findall(r"(?m)^(?:\$ )?make ([a-z]+)", page.read_text()):
            assert target in targets, f"{page.name}: make {target}"
