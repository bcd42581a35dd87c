"""Calls about the world as a whole: handshake, episode, settings, ticks, map, weather. A method is a call's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envs.carla_server import reading
from envs.carla_server.limits import CallError
from envs.carla_server.wire import WORLD_STREAM, token

if TYPE_CHECKING:
    from envs.carla_server.peers import RpcPeer
    from envs.carla_server.server import CarlaServer

SETTINGS = 11
WEATHER = 14
CLEAR_NOON = [5.0, 0.0, 0.0, 10.0, -1.0, 45.0, 2.0, 0.75, 0.1, 0.0, 1.0, 0.03, 0.0331, 0.0]
SLOWEST, FASTEST = 0.001, 1.0
"""Seconds that a tick may take in the world."""


class WorldCalls:
    """See the module."""

    def __init__(self, server: CarlaServer) -> None:
        self._server = server

    def version(self, peer: RpcPeer) -> str:
        """What the client compares with its own; it prints a warning that names both where they differ."""
        return self._server.version

    def get_episode_info(self, peer: RpcPeer) -> list[Any]:
        """Id of the episode and the stream of its states."""
        return [self._server.episode.id, [token(WORLD_STREAM, self._server.hub.stream_port)]]

    def get_sensor_token(self, peer: RpcPeer, stream: int) -> list[bytes]:
        """Where a stream is to be had."""
        return [token(reading.whole(stream, "stream"), self._server.hub.stream_port)]

    def get_episode_settings(self, peer: RpcPeer) -> list[Any]:
        """The settings."""
        return self._server.settings

    def set_episode_settings(self, peer: RpcPeer, settings: list[Any]) -> int:
        """Set them; returns the frame from which they hold."""
        if not isinstance(settings, list) or len(settings) != SETTINGS:
            raise CallError(f"settings are {settings!r}; an array of {SETTINGS} is needed")
        delta = settings[2]
        if not isinstance(delta, list) or len(delta) not in (1, 2) or not isinstance(delta[0], bool):
            raise CallError(f"fixed_delta_seconds is {delta!r}; [false] or [true, seconds] is needed")
        if len(delta) == 2 and delta[0] and reading.number(delta[1], "fixed_delta_seconds") != 0.0:
            if not SLOWEST <= delta[1] <= FASTEST:
                raise CallError(f"fixed_delta_seconds is {delta[1]}; {SLOWEST} to {FASTEST} s are possible")
        elif delta[0]:
            settings = [*settings[:2], [False], *settings[3:]]
        self._server.settings = settings
        return self._server.episode.frame

    def tick_cue(self, peer: RpcPeer) -> int:
        """Let one tick pass; returns its frame."""
        return self._server.tick()

    def get_map_info(self, peer: RpcPeer) -> list[Any]:
        """Name of the map and recommended spawn points."""
        carla_map = self._server.episode.map
        return [carla_map.name, [pose.packed() for pose in carla_map.spawn_points()]]

    def get_map_data(self, peer: RpcPeer) -> str:
        """The map's OpenDRIVE text."""
        return self._server.episode.map.text

    def get_available_maps(self, peer: RpcPeer) -> list[str]:
        """Names of all maps."""
        return self._server.library.names

    def load_new_episode(self, peer: RpcPeer, name: str, reset_settings: bool = True, layers: int = 0) -> None:
        """Load a map; whoever was there is gone."""
        self._server.load(reading.text(name, "map"), bool(reset_settings))

    def copy_opendrive_to_file(self, peer: RpcPeer, text: str, parameters: Any = None) -> None:
        """Take a client's own map; it then loads it as ``OpenDriveMap``."""
        self._server.library.keep(reading.text(text, "map"))

    def get_required_files(self, peer: RpcPeer, folder: str = "", download: bool = False) -> list[str]:
        """Files that the client should fetch: only the one that walkers find their ways with."""
        return self._server.navigation.files(self._server.episode.map, reading.text(folder, "folder"))

    def request_file(self, peer: RpcPeer, name: str) -> bytes:
        """One of those files."""
        return self._server.navigation.file(self._server.episode.map, reading.text(name, "file"))

    def get_weather_parameters(self, peer: RpcPeer) -> list[float]:
        """The weather as it was set; nothing in the world depends on it."""
        return self._server.weather

    def set_weather_parameters(self, peer: RpcPeer, weather: list[float]) -> None:
        """Keep the weather."""
        self._server.weather = reading.numbers(weather, WEATHER, "weather")

    def query_lights_state(self, peer: RpcPeer, client: str = "") -> list[Any]:
        """Street lamps: none."""
        return []

    def get_all_level_BBs(self, peer: RpcPeer, tag: int = 255) -> list[Any]:  # noqa: N802 (CARLA's name)
        """Boxes of buildings and the like: none."""
        return []

    def get_environment_objects(self, peer: RpcPeer, tag: int = 255) -> list[Any]:
        """Buildings and the like: none."""
        return []

    def draw_debug_shape(self, peer: RpcPeer, shape: Any) -> None:
        """Accepted; there is no window to draw in."""

    def is_traffic_manager_running(self, peer: RpcPeer, port: int) -> bool:
        """Whether a client has a traffic manager on a port."""
        return reading.whole(port, "port") in self._server.traffic_managers

    def get_traffic_manager_running(self, peer: RpcPeer, port: int) -> list[Any]:
        """Where that traffic manager is."""
        found = self._server.traffic_managers.get(reading.whole(port, "port"))
        return ["", 0] if found is None else [found[0], port]

    def add_traffic_manager_running(self, peer: RpcPeer, where: list[Any]) -> bool:
        """Note a client's traffic manager; it is forgotten with the client's connection."""
        if not isinstance(where, list) or len(where) != 2:
            raise CallError(f"traffic manager is {where!r}; address and port are needed")
        address, port = reading.text(where[0], "address"), reading.whole(where[1], "port")
        if port in self._server.traffic_managers or len(self._server.traffic_managers) >= 64:
            return False
        self._server.traffic_managers[port] = (address, peer)
        return True

    def destroy_traffic_manager(self, peer: RpcPeer, port: int) -> bool:
        """Forget a traffic manager."""
        return self._server.traffic_managers.pop(reading.whole(port, "port"), None) is not None
