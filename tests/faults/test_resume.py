"""A run that is killed again and again ends with the same weights as one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ITERATIONS = 8
EXPERIMENTS = ("toy_grpo", str(Path(__file__).parents[1] / "support" / "adaptive_rank_experiment.py"))
"""The second one has adapters whose ranks are cut on the way."""
FLAGS = ["--iterations", str(ITERATIONS), "--evaluation.episodes-per-task", "4", "--no-videos"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "vlarl.cli", "train", *words]


def weights(folder: Path) -> bytes:
    return (folder / "policy" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(request, tmp_path_factory) -> tuple[str, bytes]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    words = command(request.param, "--out", str(folder), *FLAGS)
    subprocess.run(words, check=True, capture_output=True, timeout=240)
    return request.param, weights(folder)


@pytest.mark.parametrize("uninterrupted", EXPERIMENTS, indirect=True, ids=("plain", "ranks"))
def test_killed_at_random_moments_and_resumed(tmp_path, uninterrupted):
    rng = random.Random(0)
    folder = tmp_path / "run"
    kills = 0
    experiment, expected = uninterrupted
    words = command(experiment, "--out", str(folder), *FLAGS)
    for _ in range(40):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        # Wait for the run to exist, then for a random moment inside it.
        before = progress(folder)
        while process.poll() is None and progress(folder) < min(before + rng.randint(1, 4), ITERATIONS):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        if process.poll() is None and kills < 3:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            _, message = process.communicate(timeout=240)
            assert process.returncode == 0, message.decode()
            break
        words = command(*([experiment] if experiment.endswith(".py") else []), "--resume", str(folder))
    assert kills >= 2
    assert weights(folder) == expected
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == ITERATIONS  # no iteration is there twice
    if experiment == EXPERIMENTS[1]:
        ranks = [line["rank_mean"] for line in lines]
        assert ranks == sorted(ranks, reverse=True) and ranks[-1] < ranks[0] == 6


def progress(folder: Path) -> int:
    """Iterations that have a complete checkpoint."""
    found = sorted((folder / "checkpoints").glob("iteration-*")) if (folder / "checkpoints").is_dir() else []
    return int(found[-1].name.split("-")[1]) if found else 0
