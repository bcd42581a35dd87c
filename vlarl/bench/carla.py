"""Measure the CARLA stand-in: ticks per second with the genuine client and its traffic manager, and with a camera.

Example::

    vlarl bench carla --json carla.json
    vlarl bench carla --cars 10 --ticks 2000 --camera 256

Needs CARLA's own client (pip install carla==0.9.16). Server and client are processes of their own. A tick is one
``world.tick()`` of 0.05 s; with a camera a step ends when the image of that frame is there. Nothing here is CARLA's
speed: the world is ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vlarl.bench.measure import Table, print_rows
from vlarl.errors import UserError

CLIENT = Path(__file__).with_name("carla_client.py")


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
        words = [sys.executable, str(CLIENT), str(port), str(options.cars), str(options.ticks)]
        words += [str(options.repeats), str(options.camera)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "HOME": home})
    if done.returncode != 0:
        raise UserError(f"the client ended with status {done.returncode}: {done.stderr[-1000:]}")
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            row = json.loads(line)
            table.add(row["name"], row["unit"], row["value"])
    print_rows(f"vlarl stand-in for CARLA, {options.map}", table.rows(), {})
    if options.json is not None:
        from vlarl.results import result_header, write_result

        command = ["vlarl", "bench", "carla", "--map", options.map, "--cars", str(options.cars)]
        command += ["--ticks", str(options.ticks), "--camera", str(options.camera)]
        protocol = {"backend": "vlarl stand-in", "client": "carla 0.9.16", "tick_seconds": 0.05, "map": options.map}
        write_result(options.json, result_header(command, protocol) | {"rows": table.rows(), "ratios": {}})
    return 0


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
