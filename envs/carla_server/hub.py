"""All connections of a server in one thread: accept, read, answer, stream."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
from collections.abc import Callable

from envs.carla_server.limits import Limits, ServerError
from envs.carla_server.peers import Call, Peer, PeerError, RpcPeer, StreamPeer

log = logging.getLogger("vlarl.carla")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        ServerError: the port is in use, or the address is not one of this machine.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(64)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ServerError(
            f"cannot listen on {host}:{port} ({error}); a server takes two ports, for calls and the one above for "
            "streams. Stop what uses them, or choose others with --port"
        ) from error
    listening.setblocking(False)
    return listening


class Hub:
    """The connections.

    Args:
        host: address to listen on.
        port: of calls; streams take the one above. 0: any free ones.
        call: answers a call, as an envelope.
        closed: is told of every caller that has gone.
        subscribed: is told of every stream that somebody begins to listen to.
        limits: caps.

    Raises:
        ServerError: see :func:`listen`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        call: Call,
        closed: Callable[[RpcPeer], None],
        subscribed: Callable[[int], None],
        limits: Limits,
    ) -> None:
        self._call, self._closed, self._subscribed, self._limits = call, closed, subscribed, limits
        self._calls = listen(host, port)
        self.port = int(self._calls.getsockname()[1])
        try:
            self._streams = listen(host, self.port + 1 if port else 0)
        except ServerError:
            self._calls.close()
            raise
        self.stream_port = int(self._streams.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._calls, selectors.EVENT_READ)
        self._selector.register(self._streams, selectors.EVENT_READ)
        self.peers: set[Peer] = set()
        self._listeners: dict[int, list[StreamPeer]] = {}

    def poll(self, seconds: float | None) -> None:
        """Wait for clients, at most so long (None: until one wants something), and serve each of them once."""
        for key, events in self._selector.select(seconds):
            if key.data is None:
                self._accept(key.fileobj)  # pyrefly: ignore[bad-argument-type]
            else:
                self._serve(key.data, events)

    def listened(self, stream: int) -> bool:
        """Whether anybody listens to a stream."""
        return bool(self._listeners.get(stream))

    def publish(self, stream: int, *parts: bytes) -> None:
        """Send a message, given in parts, to everybody who listens."""
        for peer in tuple(self._listeners.get(stream, ())):
            try:
                peer.publish(*parts)
                self._watch(peer)
            except OSError:
                self._drop(peer, "")

    def end_stream(self, stream: int) -> None:
        """Disconnect whoever listens to a stream that is no more."""
        for peer in tuple(self._listeners.get(stream, ())):
            self._drop(peer, "")

    def close(self) -> None:
        """Close everything."""
        for peer in tuple(self.peers):
            self._drop(peer, "")
        self._selector.close()
        self._calls.close()
        self._streams.close()

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, address = listening.accept()
        except OSError:  # it has gone already
            return
        if len(self.peers) >= self._limits.connections:
            log.warning("refused %s: %d connections are open, as many as allowed", address, len(self.peers))
            connection.close()
            return
        if listening is self._calls:
            peer: Peer = RpcPeer(connection, self._limits, self._call)
        else:
            peer = StreamPeer(connection, self._limits, self._subscribe)
        self.peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _serve(self, peer: Peer, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                peer.flush()
            if events & selectors.EVENT_READ:
                peer.receive()
            self._watch(peer)
        except PeerError as error:
            self._drop(peer, str(error))
        except OSError:
            self._drop(peer, "")

    def _watch(self, peer: Peer) -> None:
        """Ask to be told when the socket takes more, if something waits."""
        if peer not in self.peers:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.pending else 0)
        if self._selector.get_key(peer.socket).events != events:
            self._selector.modify(peer.socket, events, peer)

    def _subscribe(self, peer: StreamPeer) -> None:
        self._listeners.setdefault(peer.stream, []).append(peer)
        self._subscribed(peer.stream)

    def _drop(self, peer: Peer, reason: str) -> None:
        if peer not in self.peers:
            return
        self.peers.discard(peer)
        if reason:
            log.warning("disconnected a client that %s", reason)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(peer.socket)
        peer.socket.close()
        if isinstance(peer, StreamPeer):
            listeners = self._listeners.get(peer.stream, [])
            if peer in listeners:
                listeners.remove(peer)
            if not listeners:
                self._listeners.pop(peer.stream, None)
        elif isinstance(peer, RpcPeer):
            self._closed(peer)
