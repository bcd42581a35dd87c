"""The layers that DESIGN names, checked over the whole import graph."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
CONCRETE = ("commands", "policies", "rewards", "objectives", "nn", "data", "bench", "report", "templates")
"""Folders of vlarl that are not part of the loop; every module beside them is."""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_contracts_hold():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


def test_contracts_catch_what_they_forbid(tmp_path):
    """A copy of the import graph with one forbidden import in each place: every contract must break."""
    for package in ("vlarl", "envs", "configs", "real_robot"):
        for path in (ROOT / package).rglob("*.py"):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for file, line in (
        ("envs/toy.py", "import vlarl.collector"),
        ("vlarl/cli.py", "import torch"),
        ("vlarl/trainer.py", "import envs.toy"),
        ("vlarl/objectives/grpo.py", "import vlarl.cli"),
    ):
        with (tmp_path / file).open("a") as stream:
            stream.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert f"0 kept, {len(CONTRACTS)} broken" in done.stdout, done.stdout + done.stderr


def test_every_module_of_the_loop_is_under_contract():
    contract = next(item for item in CONTRACTS if item["id"] == "loop")
    modules = {f"vlarl.{path.stem}" for path in (ROOT / "vlarl").glob("*.py") if path.stem != "__init__"}
    missing = modules - set(contract["source_modules"]) - set(OUTSIDE_THE_LOOP)
    assert not missing, f"name them in pyproject.toml, contract 'loop': {sorted(missing)}"


OUTSIDE_THE_LOOP = ("vlarl.sft", "vlarl.sft_data", "vlarl.demos", "vlarl.doctor")
"""Tools beside the loop: imitation, demonstrations, the doctor know concrete things."""


@pytest.mark.parametrize(
    "module", ["vlarl", "vlarl.cli", "vlarl.env_protocol", "vlarl.resolve", "vlarl.results", "envs.toy"]
)
def test_light_modules_load_no_torch_and_no_simulator(module):
    script = (
        f"import sys, {module}; print([m for m in ('torch', 'transformers', 'mujoco', 'libero') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_loop_names_no_simulator():
    """Names of simulators and of concrete policies belong into their own files, configs and commands."""
    words = re.compile(r"(?i)\b(libero|robotwin|carla|robosuite|openvla\w*)\b")
    strings = re.compile(r'(?s)""".*?"""|#[^\n]*')
    contract = next(item for item in CONTRACTS if item["id"] == "loop")
    # Tables of optional packages and of versions to report; published policies name themselves by model type.
    allowed = {"vlarl.extras", "vlarl.results", "vlarl.policy"}
    for name in sorted(set(contract["source_modules"]) - allowed):
        code = strings.sub("", (ROOT / (name.replace(".", "/") + ".py")).read_text())
        assert not words.search(code), f"{name}: {words.search(code)}"
