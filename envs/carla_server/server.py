"""The server: an episode, its clients, and the clock.

In synchronous mode the world waits for ``tick``; otherwise it goes on by itself, in steps of ``fixed_delta_seconds``
(0.05 s where none is set), each as long as it takes in the world.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.carla_server.blueprints import catalogue
from envs.carla_server.calls_actors import ActorCalls
from envs.carla_server.calls_batch import BatchCalls
from envs.carla_server.calls_lights import LightCalls
from envs.carla_server.calls_world import CLEAR_NOON, WorldCalls
from envs.carla_server.cameras import Camera
from envs.carla_server.episode import Episode
from envs.carla_server.hub import Hub
from envs.carla_server.limits import CallError, Limits, ServerError
from envs.carla_server.maps import MapLibrary
from envs.carla_server.navigation import FOLDER, Navigation
from envs.carla_server.peers import RpcPeer
from envs.carla_server.sensors import Sensors
from envs.carla_server.wire import VERSION, WORLD_STREAM, Pose, Stream, answer, refusal

DEFAULT_DELTA = 0.05
DEFAULT_SETTINGS: list[Any] = [False, False, [False], True, 0.01, 10, 0.0, False, 3000.0, 2000.0, True]


class CarlaServer:
    """See the module.

    Args:
        map_name: the first map.
        port: of calls; the one above is for streams. 0: any free ones, see ``hub.port``.
        host: address to listen on.
        maps_folder: holds further OpenDRIVE files.
        limits: caps.
        version: what the server says it is.

    Raises:
        ServerError: a port in use, or the first map cannot be loaded.
    """

    def __init__(
        self,
        map_name: str = "grid_town",
        *,
        port: int = 2000,
        host: str = "127.0.0.1",
        maps_folder: Path | None = None,
        limits: Limits | None = None,
        version: str = VERSION,
    ) -> None:
        self.limits, self.version = limits or Limits(), version
        self.library = MapLibrary(maps_folder)
        self.catalogue = catalogue()
        self.settings = list(DEFAULT_SETTINGS)
        self.weather = list(CLEAR_NOON)
        self.traffic_managers: dict[int, tuple[str, RpcPeer]] = {}
        """Port -> address and the connection of whoever runs it."""
        self.navigation = Navigation()
        self.stopped = False
        self.watch: Callable[[str, str], None] | None = None
        """Is told of every call and what was wrong with it, if anything."""
        self._due = time.monotonic()
        self.calls = self._collect()
        self.hub = Hub(host, port, self.call, self._forget, self._greet, self.limits)
        try:
            self.episode = Episode(1, self.library.load(map_name), self.limits, self.hub.stream_port)
        except CallError as error:
            self.hub.close()
            raise ServerError(str(error)) from error
        self._sensors = Sensors(self.episode, Camera(self.episode))
        self._warm_up()

    def serve(self, seconds: float | None = None) -> None:
        """Serve until :attr:`stopped`, or for so long."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self.stopped and (end is None or time.monotonic() < end):
            self.step()

    def step(self) -> None:
        """Serve whoever wants something, and tick if it is time."""
        if self.settings[0]:
            self.hub.poll(0.2)
            self._due = time.monotonic()
            return
        self.hub.poll(min(max(self._due - time.monotonic(), 0.0), 0.2))
        now = time.monotonic()
        if not self.settings[0] and now >= self._due:
            delta = self.tick_seconds
            self._due = max(self._due + delta, now)
            self.tick()

    @property
    def tick_seconds(self) -> float:
        """How long a tick is in the world."""
        delta = self.settings[2]
        return float(delta[1]) if delta[0] else DEFAULT_DELTA

    def tick(self) -> int:
        """Let one tick pass and send what is to be seen; returns its frame."""
        self.episode.tick(self.tick_seconds)
        self._sensors.publish(self.hub.listened, self.hub.publish)
        self.episode.publish(self.hub.publish)
        return self.episode.frame

    def load(self, name: str, reset_settings: bool) -> None:
        """Begin another episode, on the same map for an empty name.

        Raises:
            CallError: no such map, or it cannot be read; the old episode goes on.
        """
        old = self.episode
        self.episode = Episode(
            old.id + 1, self.library.load(name or old.map.name), self.limits, self.hub.stream_port, old.frame
        )
        for number in old.actors.sensors:
            self.hub.end_stream(number)
        old.worlds.close()
        self._sensors = Sensors(self.episode, Camera(self.episode))
        if reset_settings:
            self.settings = list(DEFAULT_SETTINGS)
        self.tick()

    def call(self, peer: RpcPeer, name: str, arguments: list[Any]) -> Any:
        """Answer one call, as an envelope. Whatever is wrong with it becomes an error of the caller."""
        method, problem, result = self.calls.get(name), "", None
        if method is None:
            problem = f"{name}: this call is not known to the vlarl stand-in for CARLA {VERSION}"
        else:
            try:
                result = method(peer, *arguments)
            except CallError as error:
                problem = str(error)
            except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
                problem = f"{name}: arguments that cannot be used ({error})"
        if self.watch is not None:
            self.watch(name, problem)
        return refusal(problem) if problem else answer(result)

    def close(self) -> None:
        """Disconnect everybody."""
        self.stopped = True
        self.hub.close()
        self.episode.worlds.close()

    def _warm_up(self) -> None:
        """Compile what has to be compiled, and draw the map, before a client waits for it."""
        self.tick()
        camera, place = Camera(self.episode), Pose(0, 0, 1, 0, 0, 0)
        camera.draw(Stream.RGB, place, 8, 8, 90.0, None)
        camera.cast(place, np.array([[1.0, 0.0, 0.0]]), 1.0, None)
        self.navigation.file(self.episode.map, self.navigation.files(self.episode.map, FOLDER)[0])

    def _collect(self) -> dict[str, Callable[..., Any]]:
        """Name -> method of all calls: the public methods of the classes of calls that take a peer."""
        actors, lights = ActorCalls(self), LightCalls(self)
        groups = (WorldCalls(self), actors, lights, BatchCalls(self, actors, lights))
        return {
            name: getattr(group, name)
            for group in groups
            for name, method in vars(type(group)).items()
            if not name.startswith("_") and callable(method) and "peer" in method.__code__.co_varnames[:2]
        }

    def _greet(self, stream: int) -> None:
        """A client waits for the first state of the world even where nothing ticks."""
        if stream == WORLD_STREAM:
            self.hub.publish(WORLD_STREAM, self.episode.state())

    def _forget(self, peer: RpcPeer) -> None:
        """Forget the traffic managers of a client that has gone."""
        for port in [port for port, (_, owner) in self.traffic_managers.items() if owner is peer]:
            del self.traffic_managers[port]
