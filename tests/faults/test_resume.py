"""A run that is killed again and again ends with the same weights as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ITERATIONS = 12
FLAGS = ["--iterations", str(ITERATIONS), "--evaluation.episodes-per-task", "4", "--no-videos"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "vlarl.cli", "train", *words]


def weights(folder: Path) -> bytes:
    return (folder / "policy" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command("toy_grpo", "--out", str(folder), *FLAGS), check=True, capture_output=True, timeout=240)
    return weights(folder)


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_and_resumed(seed, tmp_path, uninterrupted):
    rng = random.Random(seed)
    folder = tmp_path / "run"
    kills = 0
    words = command("toy_grpo", "--out", str(folder), *FLAGS)
    for _ in range(40):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        # Wait for the run to exist, then for a random moment inside it.
        before = progress(folder)
        while process.poll() is None and progress(folder) < min(before + rng.randint(1, 4), ITERATIONS):
            time.sleep(0.01)
        time.sleep(rng.random() * 0.3)
        if process.poll() is None and kills < 4:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            _, message = process.communicate(timeout=240)
            assert process.returncode == 0, message.decode()
            break
        words = command("--resume", str(folder))
    assert kills >= 2
    assert weights(folder) == uninterrupted
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == ITERATIONS  # no iteration is there twice


def progress(folder: Path) -> int:
    """Iterations that have a complete checkpoint."""
    found = sorted((folder / "checkpoints").glob("iteration-*")) if (folder / "checkpoints").is_dir() else []
    return int(found[-1].name.split("-")[1]) if found else 0
