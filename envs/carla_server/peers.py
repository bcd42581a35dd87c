"""One connection each: a client that calls, or a client that listens to a stream. None ever waits for a client."""

from __future__ import annotations

import collections
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgpack

from envs.carla_server.limits import Limits
from envs.carla_server.wire import refusal

RECEIVE = 1 << 16
"""Bytes read at once: a client that floods gets its share, no more."""
_LENGTH = struct.Struct("<I")
Call = Callable[["RpcPeer", str, list[Any]], Any]


class PeerError(Exception):
    """The connection cannot go on; its text says why."""


class Peer(ABC):
    """A socket, and what waits to be sent on it."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.limits = limits
        self._queue: collections.deque[memoryview] = collections.deque()
        self.pending = 0
        """Bytes."""

    @property
    def full(self) -> bool:
        """Whether more waits than is allowed."""
        return self.pending > self.limits.pending_bytes

    def send(self, data: bytes) -> None:
        """Send now what the socket takes, and keep the rest.

        Raises:
            OSError: the client has gone.
        """
        if not self._queue:
            try:
                done = self.socket.send(data)
            except BlockingIOError:
                done = 0
            if done == len(data):
                return
            data = data[done:]
        self._queue.append(memoryview(data))
        self.pending += len(data)

    def flush(self) -> None:
        """Send more of what waits.

        Raises:
            OSError: the client has gone.
        """
        while self._queue:
            part = self._queue[0]
            try:
                done = self.socket.send(part)
            except BlockingIOError:
                return
            self.pending -= done
            if done < len(part):
                self._queue[0] = part[done:]
                return
            self._queue.popleft()

    def read(self) -> bytes:
        """What has come.

        Raises:
            PeerError: the client has closed the connection.
            OSError: it is gone.
        """
        data = self.socket.recv(RECEIVE)
        if not data:
            raise PeerError("")
        return data

    @abstractmethod
    def receive(self) -> None:
        """Handle what has come."""


class RpcPeer(Peer):
    """A client that calls."""

    def __init__(self, connection: socket.socket, limits: Limits, call: Call) -> None:
        super().__init__(connection, limits)
        self._call = call
        self._unpacker = msgpack.Unpacker(
            raw=False, max_buffer_size=limits.message_bytes, unicode_errors="surrogateescape"
        )
        self._pack = msgpack.Packer(unicode_errors="surrogateescape").pack

    def receive(self) -> None:
        """Answer the calls that have come whole.

        Raises:
            PeerError: closed, not msgpack-rpc, larger than allowed, or answers are not being read.
            OSError: the client has gone.
        """
        try:
            self._unpacker.feed(self.read())
            for message in self._unpacker:
                self._answer(message)
        except msgpack.BufferFull as error:
            raise PeerError(f"sent a message of more than {self.limits.message_bytes} bytes") from error
        except (msgpack.UnpackException, ValueError, RecursionError) as error:
            raise PeerError(f"sent what is not msgpack ({error})") from error

    def _answer(self, message: Any) -> None:
        if not (
            isinstance(message, list)
            and len(message) == 4
            and message[0] == 0
            and isinstance(message[1], int)
            and isinstance(message[2], str)
            and isinstance(message[3], list)
        ):
            raise PeerError("sent what is not a call: [0, number, name, arguments] is needed")
        _, number, name, arguments = message
        if arguments and isinstance(arguments[0], list) and len(arguments[0]) == 1:
            ignored = bool(arguments[0][0])
            result = self._call(self, name, arguments[1:])
        else:
            ignored = False
            result = refusal(f"{name}: the call lacks the metadata that clients of CARLA 0.9.16 send first")
        self.send(self._pack([1, number, None, None if ignored else result]))
        if self.full:
            raise PeerError(f"does not read its answers: {self.pending} bytes wait")


class StreamPeer(Peer):
    """A client that listens to one stream."""

    def __init__(self, connection: socket.socket, limits: Limits, subscribe: Callable[[StreamPeer], None]) -> None:
        super().__init__(connection, limits)
        self._subscribe = subscribe
        self._wish = b""
        self.stream = -1
        self.dropped = 0
        """Messages that it was too slow for."""

    def receive(self) -> None:
        """Read which stream it wants; a listener sends nothing after that.

        Raises:
            PeerError: closed, or it goes on sending.
            OSError: the client has gone.
        """
        self._wish += self.read()
        if len(self._wish) > _LENGTH.size:
            raise PeerError("sends on a stream")
        if self.stream < 0 and len(self._wish) == _LENGTH.size:
            self.stream = _LENGTH.unpack(self._wish)[0]
            self._subscribe(self)

    def publish(self, *parts: bytes) -> None:
        """Send a message whole, or drop it where too much waits already.

        Raises:
            OSError: the client has gone.
        """
        if self.full:
            self.dropped += 1
        else:
            self.send(b"".join((_LENGTH.pack(sum(map(len, parts))), *parts)))
