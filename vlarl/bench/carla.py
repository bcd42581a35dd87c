"""Measure the CARLA stand-in: ticks per second with the genuine client and its traffic manager, and with a camera.

Example::

    vlarl bench carla --json carla.json
    vlarl bench carla --cars 10 --ticks 2000 --camera 256

Needs CARLA's own client (pip install carla==0.9.16). Server and client are processes of their own. A tick is one
``world.tick()`` of 0.05 s; with a camera a step ends when the image of that frame is there. Nothing here is CARLA's
speed: the world is ours.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlarl.bench.measure import Table, print_rows
from vlarl.errors import UserError

CLIENT = Path(__file__).with_name("carla_client.py")
CASES = ("standing", "traffic", "camera")
PATIENCE = 300.0
"""Seconds for one case. CARLA's traffic manager can wait for ever for a step that it has been told of too early."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench carla``."""

    map: str = "grid_town"
    """One of our maps, or of --maps-folder."""
    maps_folder: Path | None = None
    """Folder with further OpenDRIVE files."""
    cars: int = 10
    """Cars under the traffic manager."""
    ticks: int = 1000
    """Per repeat and case."""
    repeats: int = 5
    """How often each case is measured, interleaved."""
    camera: int = 256
    """Side of the camera's image [pixels]."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    if min(options.cars, options.ticks, options.repeats, options.camera) < 1:
        raise UserError("--cars, --ticks, --repeats and --camera need at least 1")
    try:
        import carla  # noqa: F401
    except ModuleNotFoundError as error:
        from vlarl.extras import missing_extra

        raise missing_extra("carla", needed_by="vlarl bench carla") from error
    table = Table()
    with serving(options) as port, tempfile.TemporaryDirectory() as home:
        for _, case in itertools.product(range(options.repeats), CASES):
            row = play(case, port, home, options)
            table.add(row["name"], row["unit"], row["value"])
    print_rows(f"vlarl stand-in for CARLA, {options.map}", table.rows(), {})
    if options.json is not None:
        from vlarl.results import result_header, write_result

        command = ["vlarl", "bench", "carla", "--map", options.map, "--cars", str(options.cars)]
        command += ["--ticks", str(options.ticks), "--camera", str(options.camera)]
        protocol = {"backend": "vlarl stand-in", "client": "carla 0.9.16", "tick_seconds": 0.05, "map": options.map}
        write_result(options.json, result_header(command, protocol) | {"rows": table.rows(), "ratios": {}})
    return 0


def play(case: str, port: int, home: str, options: Options) -> dict[str, Any]:
    """Let a client measure one case.

    Raises:
        UserError: it fails, or hangs.
    """
    # -P: beside the script lies this file, which is called carla too.
    words = [sys.executable, "-P", str(CLIENT), case, str(port), str(options.cars), str(options.ticks)]
    try:
        done = subprocess.run(
            [*words, str(options.camera)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": home},
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"the client has not finished the case {case!r} within {PATIENCE:.0f} s; try again") from error
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise UserError(f"the client ended the case {case!r} with status {done.returncode}: {done.stderr[-1000:]}")
    return json.loads(lines[0])


@contextmanager
def serving(options: Options) -> Iterator[int]:
    """A server in a process of its own; gives its port.

    Raises:
        UserError: it does not start.
    """
    words = [sys.executable, "-m", "vlarl.cli", "drive", "serve", "--port", "0", "--map", options.map]
    if options.maps_folder is not None:
        words += ["--maps-folder", str(options.maps_folder)]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        if " on " not in said:
            raise UserError(f"the server does not start: {said.strip()}")
        yield int(said.partition(" on ")[2].partition(" and ")[0].rpartition(":")[2])
    finally:
        server.terminate()
        server.wait()
