"""The genuine carla 0.9.16 client on the stand-in, in its own process: it aborts on a record that is not right."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from envs.carla_server.server import CarlaServer
from envs.carla_server.wire import VERSION

HERE = Path(__file__).parent
SCRIPT = HERE / "client_checks.py"
CHECKS = [
    node.name
    for script in (*sorted(HERE.glob("client_*_checks.py")), SCRIPT)
    for node in ast.parse(script.read_text()).body
    if isinstance(node, ast.FunctionDef) and [argument.arg for argument in node.args.args] == ["s"]
]
NOT_SENT = {
    "set_actor_dead": "the client's navigation says so of walkers that were run over",
    "set_actor_autopilot": "only as a command of a batch",
    "get_traffic_manager_running": "only to find a traffic manager of another process",
    "freeze_traffic_light": "0.9.16's TrafficLight.freeze freezes all lights",
}
"""Calls that the client does not send from these checks, and why."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("carla") is None or metadata.version("carla") != VERSION,
        reason=f"needs CARLA's own client: pip install carla=={VERSION}",
    ),
]


class Recording:
    """A server in a thread, and which of its calls were answered and refused."""

    def __init__(self, **options: Any) -> None:
        self.server = CarlaServer("grid_town", port=0, **options)
        self.answered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.server.watch = self._note
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def _note(self, name: str, problem: str) -> None:
        (self.refused if problem else self.answered)[name] += 1

    def close(self) -> None:
        self.server.stopped = True
        self._thread.join()
        self.server.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def run_client(script: Path, *arguments: Any, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a client script; the client keeps files in its home."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(HERE.parents[2])},
        timeout=250,
        check=False,
    )


@pytest.fixture(scope="module")
def recording() -> Iterator[Recording]:
    recording = Recording()
    yield recording
    recording.close()


@pytest.fixture(scope="module")
def said(recording, tmp_path_factory) -> dict[str, str]:
    """What went wrong in each check."""
    done = run_client(SCRIPT, recording.server.hub.port, free_port(), home=tmp_path_factory.mktemp("home"))
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = {line["check"]: line["said"] for line in lines}
    for name in CHECKS:
        found.setdefault(name, f"the client ended before (status {done.returncode}): {done.stderr[-800:]}")
    return found


@pytest.mark.parametrize("name", CHECKS)
def test_check(said, name):
    assert not said[name], said[name]


def test_every_call_was_answered_to_the_client(said, recording):
    """With the checks passed, each call of the stand-in is one that the genuine client has had a good answer to."""
    missing = set(recording.server.calls) - set(recording.answered) - set(NOT_SENT)
    assert not missing, sorted(missing)


def test_only_unknown_calls_were_unknown(said, recording):
    assert set(recording.refused) - set(recording.server.calls) == {"start_recorder", "cast_ray"}


def test_a_client_of_another_version_names_both(tmp_path):
    other = Recording(version="0.9.15")
    script = tmp_path / "connect.py"
    script.write_text(
        "import carla, sys\n"
        "client = carla.Client('127.0.0.1', int(sys.argv[1]), worker_threads=1)\n"
        "client.set_timeout(60.0)\n"
        "client.get_world()\n"
    )
    done = run_client(script, other.server.hub.port, home=tmp_path)
    other.close()
    assert done.returncode == 0, done.stderr
    assert "Version mismatch" in done.stdout + done.stderr
    assert "0.9.16" in done.stdout + done.stderr and "0.9.15" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["spawn_traffic", "manual_drive", "collect_data", "autopilot_run", "agent_drive"])
def test_client_script(recording, tmp_path, name):
    """Scripts as people write them for CARLA: the port is all that they are told."""
    done = run_client(HERE / "client_scripts" / f"{name}.py", recording.server.hub.port, free_port(), home=tmp_path)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    assert "done" in done.stdout
