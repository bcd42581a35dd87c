"""Drive in our world with CARLA's own client: serve it as CARLA's server would.

Example::

    vlarl drive serve
    vlarl drive serve --port 2000 --map Town02 --maps-folder towns

The genuine carla 0.9.16 client connects (pip install carla==0.9.16; not needed by the server). What it meets is a
stand-in: our maps, vehicles and lights, not Unreal's. Scores of it are not CARLA scores. See docs/carla.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vlarl.errors import NameNotFoundError, unknown_name


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl drive serve``."""

    port: int = 2000
    """Of calls; the one above is for streams."""
    map: str = "grid_town"
    """The first map: one of ours, or of --maps-folder."""
    maps_folder: Path | None = None
    """Folder with further OpenDRIVE files (.xodr)."""
    host: str = "127.0.0.1"
    """Address to listen on. The protocol knows no passwords: other addresses than this let everybody in who reaches
    them."""
    actors: int = 256
    """Vehicles and walkers at most."""


def main(arguments: Sequence[str]) -> int:
    """Run what the first word names."""
    from vlarl.cli import parse, plain_description

    words = list(arguments)
    if not words or words[0] in ("-h", "--help"):
        print(plain_description(__doc__ or ""), end="\n\n")
        print("vlarl drive serve --help shows the flags.")
        return 0
    if words[0] != "serve":
        raise NameNotFoundError(unknown_name("word after 'vlarl drive'", words[0], ["serve"]))
    return run(parse(Options, words[1:], command="drive serve", description=__doc__))


def run(options: Options) -> int:
    """Serve until Ctrl-C."""
    import logging

    from vlarl.errors import UserError
    from vlarl.extras import missing_extra

    if not 0 <= options.port < 65535 or options.actors < 1:
        raise UserError(
            f"--port is {options.port} and --actors {options.actors}: 0 to 65534, and at least 1, are possible"
        )
    try:
        from envs.carla_server.limits import Limits
        from envs.carla_server.server import CarlaServer
        from envs.carla_server.wire import BACKEND, VERSION
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "", needed_by="vlarl drive serve", extra="carla") from error
    logging.basicConfig(format="%(message)s")
    limits = Limits(actors=options.actors)
    server = CarlaServer(
        options.map, port=options.port, host=options.host, maps_folder=options.maps_folder, limits=limits
    )
    print(
        f"{server.episode.map.name} on {options.host}:{server.hub.port} and {server.hub.stream_port}, for clients of "
        f"CARLA {VERSION} ({BACKEND}: scores are not CARLA scores). Ctrl-C stops.",
        flush=True,
    )
    try:
        server.serve()
    finally:
        server.close()
    return 0
