"""One server for the tests of a file; every test begins with an empty world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("msgpack", reason="the CARLA stand-in needs msgpack: pip install -e '.[carla]'")

from envs.carla_server.server import CarlaServer
from tests.envs.carla_server.raw_client import RawClient, synchronous


@pytest.fixture(scope="module")
def running() -> Iterator[CarlaServer]:
    server = CarlaServer("grid_town", port=0)
    yield server
    server.close()


@pytest.fixture
def server(running: CarlaServer) -> CarlaServer:
    for actor in list(running.episode.actors.by_id.values()):
        running.episode.destroy(actor)
    running.episode.lights.reset()
    synchronous(running)
    return running


@pytest.fixture
def client(server: CarlaServer) -> Iterator[RawClient]:
    client = RawClient(server)
    yield client
    client.close()
