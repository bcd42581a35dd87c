"""A dataset writer that is killed at any file operation loses no complete episode and can be resumed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.demonstrations import assert_same, demonstration
from vlarl.data import DataError
from vlarl.data.lerobot import LeRobotDataset, LeRobotWriter

EPISODES = 3
LIMIT = 0.02
"""Megabytes per video file: makes the writer join files in the middle, too."""

# Everything is imported once; each kill point is played in a fork of its own and ends by a real SIGKILL.
SCRIPT = """
import os, signal, sys
from tests.support.demonstrations import demonstration
from vlarl.data.lerobot import LeRobotWriter

root, episodes, limit = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
rename = os.replace

def play(point, folder):
    done = 0
    def replace(*names):
        nonlocal done
        if done == point:
            os.kill(os.getpid(), signal.SIGKILL)
        done += 1
        rename(*names)
    os.replace = replace
    with LeRobotWriter(folder, video_file_megabytes=limit) as writer:
        for number in range(episodes):
            writer.add_episode(demonstration(number))
            with open(folder + ".added", "a") as log:
                log.write("x")

point = 0
while True:
    child = os.fork()
    if child == 0:
        play(point, f"{root}/{point:03d}")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    point += 1
print(point)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folder -> one dataset per kill point, the last one not killed."""
    root = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-c", SCRIPT, str(root), str(EPISODES), str(LIMIT)]
    repository = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return root, int(done.stdout)


def test_no_complete_episode_is_lost_and_resuming_completes(killed):
    root, points = killed
    assert points > 15  # five renames per episode and the joining: all of them were hit
    survived = set()
    for point in range(points + 1):
        folder = root / f"{point:03d}"
        log = root / f"{point:03d}.added"
        added = len(log.read_text()) if log.exists() else 0
        try:
            dataset = LeRobotDataset(folder)
            found = len(dataset)
            for number in range(found):
                assert_same(dataset.read_episode(number), demonstration(number), dataset.codec_error_bound(number))
        except DataError as error:
            assert added == 0, f"killed at {point} after {added} episodes: {error}"
            assert "no complete episode" in str(error)
            found = 0
        assert added <= found <= added + 1
        survived.add(found)
        with LeRobotWriter(folder, resume=True, video_file_megabytes=LIMIT) as writer:
            assert len(writer) == found
            for number in range(found, EPISODES):
                writer.add_episode(demonstration(number))
        whole = LeRobotDataset(folder)
        assert [len(whole), whole.info["total_episodes"], whole.info["total_frames"]] == [
            EPISODES,
            EPISODES,
            5 * EPISODES,
        ]
        assert whole.stats() == LeRobotDataset(root / f"{points:03d}").stats()
        assert_same(
            whole.read_episode(EPISODES - 1), demonstration(EPISODES - 1), whole.codec_error_bound(EPISODES - 1)
        )
        assert not (folder / "staging").exists()
        assert not list(folder.rglob(".tmp-*.parquet*"))
    assert survived == set(range(EPISODES + 1))
