"""A client of the stand-in without CARLA's wheel: it speaks the bytes, and lets the server run while it waits."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgpack

from envs.carla_server.peers import StreamPeer
from envs.carla_server.server import CarlaServer

PATIENCE = 400
"""So often the server may be asked to do something before a test gives up."""


class RawClient:
    """One connection for calls."""

    def __init__(self, server: CarlaServer) -> None:
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.hub.port))
        self.socket.setblocking(False)
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self._number = 0

    def send(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                self.server.hub.poll(0.01)

    def receive(self) -> Any:
        """The next message of the server; None once it has closed the connection."""
        for _ in range(PATIENCE):
            for message in self._unpacker:
                return message
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                self.server.hub.poll(0.01)
                continue
            except ConnectionError:
                return None
            if not data:
                return None
            self._unpacker.feed(data)
        raise AssertionError("the server does not answer")

    def request(self, name: str, *arguments: Any, asynchronous: bool = False) -> Any:
        """The raw result of a call."""
        self._number += 1
        self.send(msgpack.packb([0, self._number, name, [[asynchronous], *arguments]]))
        kind, number, error, result = self.receive()
        assert (kind, number, error) == (1, self._number, None)
        return result

    def call(self, name: str, *arguments: Any) -> Any:
        """The value of a call; an error fails the test."""
        result = self.request(name, *arguments)
        assert len(result) == 1, result
        if result == [[False]]:
            return None
        assert result[0][0] == 1, result
        return result[0][1]

    def refused(self, name: str, *arguments: Any) -> str:
        """The error of a call; anything else fails the test."""
        result = self.request(name, *arguments)
        assert len(result) == 1 and result[0][0] == 0 and result[0][0] is not False, result
        return result[0][1][0]

    def spawn(self, blueprint: str, place: tuple[float, float, float], yaw: float = 0.0, **attributes: str) -> int:
        """Spawn something; returns its id."""
        given = [[name, 4, value] for name, value in attributes.items()]
        return self.call("spawn_actor", [0, blueprint, given], [list(place), [0.0, yaw, 0.0]])[0]

    def close(self) -> None:
        """Hang up, and let the server notice."""
        self.socket.close()
        self.server.hub.poll(0.05)


class RawListener:
    """One connection for a stream."""

    def __init__(self, server: CarlaServer, stream: int) -> None:
        self.server = server
        before = self._listeners(stream)
        self.socket = socket.create_connection(("127.0.0.1", server.hub.stream_port))
        self.socket.sendall(struct.pack("<I", stream))
        self.socket.setblocking(False)
        self._data = b""
        for _ in range(PATIENCE):
            if self._listeners(stream) > before:
                return
            server.hub.poll(0.01)
        raise AssertionError("the server does not take the subscription")

    def _listeners(self, stream: int) -> int:
        return sum(isinstance(peer, StreamPeer) and peer.stream == stream for peer in self.server.hub.peers)

    def message(self) -> bytes | None:
        """The next message, None once the server has closed the connection."""
        for _ in range(PATIENCE):
            if len(self._data) >= 4:
                (length,) = struct.unpack_from("<I", self._data)
                if len(self._data) >= 4 + length:
                    found, self._data = self._data[4 : 4 + length], self._data[4 + length :]
                    return found
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                self.server.hub.poll(0.01)
                continue
            except ConnectionError:
                return None
            if not data:
                return None
            self._data += data
        raise AssertionError("nothing comes")


def synchronous(server: CarlaServer, delta: float = 0.05) -> None:
    """Make the world wait for ticks, so that tests do not depend on the clock."""
    server.settings = [True, False, [True, delta], *server.settings[3:]]
