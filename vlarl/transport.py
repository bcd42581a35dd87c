"""Messages between processes of one program: small things through a socket, frames through shared memory, once.

A message is a pickled object. Its large arrays are left out of the pickle (protocol 5, out-of-band buffers) and laid
into memory that both processes map; the receiver copies them out, so what it holds is its own. That memory is an
anonymous file (``memfd``) per channel slot whose descriptor travels with the first message that needs it: it has no
name, hence nothing is left behind however the processes end.

Messages are pickled between processes of one program over private socket pairs; nothing from a file or a listening
socket is ever unpickled.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, StepResult

SHARED_FROM = 4096
"""Arrays of at least this many bytes go through shared memory; smaller ones cost less inside the message."""

_HEADER = struct.Struct("!QIHH")
"""Bytes of the pickle, slot, number of shared arrays, whether a descriptor comes along."""
_SIZE = struct.Struct("!Q")


class SharedMemoryError(RuntimeError):
    """No memory to share frames through."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Start the episode of ``spec``, run ``chunks`` and answer with the last one's result.

    Equal specs start equal and equal actions lead to equal states, so this moves an episode into another process.
    """

    spec: EpisodeSpec
    chunks: tuple[Float32Array, ...]
    expected_state: Float32Array | None
    """Proprioception that was seen before the last chunk; anything else now means the simulator does not repeat."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says to a request."""

    slot: int
    result: Observation | StepResult
    cpu_seconds: float
    """CPU time of the worker since it was forked."""
    last: bool = False
    """The worker ends after this: its process is no longer to be trusted."""


def send_message(connection: socket.socket, message: Any) -> None:
    """Send one object, all of it through the socket: for requests and other small things."""
    payload = pickle.dumps(message, protocol=5)
    connection.sendall(_HEADER.pack(len(payload), 0, 0, 0) + payload)


def receive_message(connection: socket.socket) -> Any:
    """Receive what ``send_message`` sent.

    Raises:
        EOFError: the other side is gone.
    """
    return Receiver(connection).receive()


class Packed:
    """A message ready to be sent; its large arrays already lie in shared memory."""

    __slots__ = ("descriptor", "payload", "sizes", "slot")

    def __init__(self, payload: bytes, slot: int, sizes: list[int], descriptor: int | None) -> None:
        self.payload, self.slot, self.sizes, self.descriptor = payload, slot, sizes, descriptor


class Sender:
    """The side that produces frames.

    A slot's memory is written again by the slot's next message, so the other side must have received the one before:
    request and answer per slot, as the worker pool has it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._regions: dict[int, mmap.mmap] = {}

    def pack(self, slot: int, message: Any) -> Packed:
        """Pickle ``message`` and lay its large arrays into the slot's shared memory.

        Raises:
            SharedMemoryError: there is no memory left for them; nothing was sent.
        """
        large: list[memoryview] = []

        def keep_small(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes < SHARED_FROM:
                return True
            large.append(raw)
            return False

        payload = pickle.dumps(message, protocol=5, buffer_callback=keep_small)
        sizes = [raw.nbytes for raw in large]
        descriptor = self._make_room(slot, sum(sizes))
        position = 0
        for raw in large:
            self._regions[slot][position : position + raw.nbytes] = raw
            position += raw.nbytes
        return Packed(payload, slot, sizes, descriptor)

    def send(self, packed: Packed) -> None:
        """Send what ``pack`` made.

        Raises:
            OSError: the other side is gone.
        """
        header = _HEADER.pack(len(packed.payload), packed.slot, len(packed.sizes), packed.descriptor is not None)
        sizes = b"".join(_SIZE.pack(size) for size in packed.sizes)
        if packed.descriptor is None:
            self._connection.sendall(header + sizes + packed.payload)
            return
        try:
            socket.send_fds(self._connection, [header], [packed.descriptor])
            self._connection.sendall(sizes + packed.payload)
        finally:
            os.close(packed.descriptor)

    def _make_room(self, slot: int, size: int) -> int | None:
        """Make sure the slot's memory holds ``size`` bytes; returns the descriptor of newly made memory."""
        region = self._regions.get(slot)
        if size == 0 or (region is not None and len(region) >= size):
            return None
        descriptor = os.memfd_create("vlarl-frames", os.MFD_CLOEXEC)
        try:
            # Reserves the pages: where memory is short this fails here, instead of a bus error at the first write.
            os.posix_fallocate(descriptor, 0, size)
            self._regions[slot] = mmap.mmap(descriptor, size)
        except OSError as error:
            os.close(descriptor)
            raise SharedMemoryError(
                f"no shared memory for {size} bytes of frames ({error}); free memory, or use fewer slots or "
                "smaller images"
            ) from error
        return descriptor


class Receiver:
    """The side that wants the frames; pairs with one ``Sender``."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._regions: dict[int, mmap.mmap] = {}

    def receive(self) -> Any:
        """Receive one object; its arrays are independent copies.

        Raises:
            EOFError: the other side is gone.
        """
        header, descriptor = self._header()
        length, slot, arrays, _ = _HEADER.unpack(header)
        if descriptor is not None:
            try:
                self._regions[slot] = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
            finally:
                os.close(descriptor)
        body = memoryview(_receive_exactly(self._connection, arrays * _SIZE.size + length))
        sizes = [_SIZE.unpack_from(body, index * _SIZE.size)[0] for index in range(arrays)]
        return pickle.loads(body[arrays * _SIZE.size :], buffers=self._copies(slot, sizes))

    def _header(self) -> tuple[bytes, int | None]:
        try:
            header, descriptors, _, _ = socket.recv_fds(self._connection, _HEADER.size, 1)
        except ConnectionError as error:
            raise EOFError("the other side closed the connection") from error
        if not header:
            raise EOFError("the other side closed the connection")
        rest = _receive_exactly(self._connection, _HEADER.size - len(header))
        return header + bytes(rest), descriptors[0] if descriptors else None

    def _copies(self, slot: int, sizes: Sequence[int]) -> list[bytearray]:
        copies, position = [], 0
        if sizes:
            region = memoryview(self._regions[slot])
            for size in sizes:
                copies.append(bytearray(region[position : position + size]))
                position += size
        return copies


def _receive_exactly(connection: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        try:
            count = connection.recv_into(view)
        except ConnectionError as error:
            raise EOFError("the other side closed the connection") from error
        if count == 0:
            raise EOFError("the other side closed the connection")
        view = view[count:]
    return buffer
