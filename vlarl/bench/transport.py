"""Measure how an observation gets from a worker to the main process: inside the message, or through shared memory.

Example::

    vlarl bench transport --json transport.json

A forked process answers requests with two images, alternately pickled into the socket and laid into shared memory,
as the worker pool does it.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlarl.bench.contenders import CpuClock
from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError
from vlarl.transport import Receiver, Sender, receive_message, send_message

WAYS = ("socket", "shared")


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench transport``."""

    resolution: int = 128
    """Side of the two images [pixels]."""
    messages: int = 500
    """Observations per repeat and way."""
    repeats: int = 9
    """How often each way is measured, interleaved."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    if min(options.resolution, options.messages, options.repeats) < 1:
        raise UserError("--resolution, --messages and --repeats need at least 1")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        try:
            answer(theirs, options.resolution)
        finally:
            os._exit(0)
    theirs.close()
    table = Table()
    receiver = Receiver(ours)
    try:
        for repeat in range(options.repeats + 1):
            for way in WAYS:
                clock, started = CpuClock([child]), time.perf_counter()
                for _ in range(options.messages):
                    send_message(ours, way)
                    receiver.receive()
                if repeat:  # the first opens the shared memory
                    table.add(f"{way} cpu", "CPU us/frame", 1e6 * clock.seconds() / options.messages)
                    elapsed = time.perf_counter() - started
                    table.add(way, "us/frame", 1e6 * elapsed / options.messages)
    finally:
        ours.close()
        os.waitpid(child, 0)
    factors = ratios(table, [("shared cpu", "socket cpu"), ("shared", "socket")])
    print_rows(f"two {options.resolution} x {options.resolution} images to another process", table.rows(), factors)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        words = ["vlarl", "bench", "transport", "--resolution", str(options.resolution)]
        protocol = {"resolution": options.resolution, "messages": options.messages, "interleaved": True}
        write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": dict(factors)})
    return 0


def answer(connection: socket.socket, resolution: int) -> None:
    """Send two images whenever asked, until the connection closes."""
    sender = Sender(connection)
    images: dict[str, Any] = {
        name: np.random.default_rng(0).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
        for name in ("agentview", "wrist")
    }
    while True:
        try:
            way = receive_message(connection)
        except EOFError:
            return
        if way == "socket":
            send_message(connection, images)
        else:
            sender.send(sender.pack(0, images))
