"""A disk that fills up in the middle of a run: the run stops with its last good checkpoint, and goes on later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from vlarl.checkpoint import latest_checkpoint, load_checkpoint
from vlarl.cli import main

SMALL = "--evaluation.episodes-per-task 2 --no-videos --rollout.groups 2 --rollout.slots 2 --rollout.workers 1"
LIMIT_BYTES = 12_000
"""Fits result files and metrics, not the weights (about 14 kB)."""


def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "toy_grpo", "--out", "straight", "--iterations", "4", *SMALL.split()]) == 0
    assert main(["train", "toy_grpo", "--out", "run", "--iterations", "2", *SMALL.split()]) == 0
    good = latest_checkpoint("run")
    assert good is not None
    before = {path.name: path.read_bytes() for path in good.iterdir()}
    script = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, {LIMIT_BYTES}))\n"
        "from vlarl.cli import main; sys.exit(main(['train', '--resume', 'run', '--iterations', '4']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert latest_checkpoint("run") == good
    assert {path.name: path.read_bytes() for path in good.iterdir()} == before
    assert sorted(path.name for path in Path("run/checkpoints").iterdir()) == ["iteration-000001", good.name]
    assert main(["train", "--resume", "run"]) == 0
    weights = [load_checkpoint(latest_checkpoint(folder) or "")[0] for folder in ("straight", "run")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
