"""Servers that speak CARLA's protocol: asking who is there, and starting one that is looked after.

Needs neither ``carla`` nor ``msgpack``: the one call that is asked here is written out in bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from vlarl.errors import UserError

STAND_IN, CARLA = "vlarl stand-in", "CARLA"
"""Backends, as results name them."""
POLL = 0.2
"""Between two attempts to reach a server that is to come, seconds."""
_VERSION = b"\x94\x00\x01\xa7version\x91\x91\xc2"
"""The call ``[0, 1, "version", [[false]]]`` in MessagePack."""
_MAP = b"\x94\x00\x02\xacget_map_info\x91\x91\xc2"
_STAND_IN_MAP = "vlarl_stand_in/"
_ANSWER_BEGINS = b"\x94\x01"
_ANSWER = re.compile(rb"\x94\x01.\xc0\x91\x92\x01\x92?(?:([\xa0-\xbf])|(\xd9.|\xda..))", re.DOTALL)
"""``[1, number, nil, [[1, text]]]``, or ``[[1, [text, ...]]]``, up to the text."""
_LONGEST_HEAD = 11
"""Bytes of that."""


class ServerError(UserError):
    """No server, one of another version, or one that does not start; the text says what to do."""


@dataclass(frozen=True)
class ServerFacts:
    """Who answers at an address."""

    version: str
    backend: str


def probe(host: str, port: int, seconds: float = 10.0) -> ServerFacts:
    """Ask a server for its version and what it is.

    Raises:
        ServerError: nobody listens there, or what does is no CARLA server.
    """
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.settimeout(seconds)
            version = _ask(connection, _VERSION)
            name = _ask(connection, _MAP)
    except (OSError, ValueError) as error:
        raise ServerError(
            f"no CARLA server answers on {host}:{port} ({error or type(error).__name__}). Start one there, or the "
            "stand-in with: vlarl drive serve --port PORT; or leave --env.host empty to have one started"
        ) from error
    return ServerFacts(version, STAND_IN if name.startswith(_STAND_IN_MAP) else CARLA)


def wait_for(host: str, port: int, seconds: float) -> ServerFacts:
    """Who answers at an address within so many seconds: a server that has crashed may be started again by others.

    Raises:
        ServerError: nobody.
    """
    due = time.monotonic() + seconds
    while True:
        try:
            return probe(host, port)
        except ServerError:
            if time.monotonic() >= due:
                raise
        time.sleep(POLL)


def check_versions(host: str, port: int, server: str, client: str) -> None:
    """See that client and server are of one version.

    Raises:
        ServerError: they are not; both are named.
    """
    if server.partition("-")[0] != client:
        raise ServerError(
            f"the server on {host}:{port} is CARLA {server}, the client library is carla {client}: they do not "
            f"understand each other. Install the client of the server's version (pip install carla=={server}), "
            "or start a server of the client's"
        )


@functools.cache
def client_version(python: str) -> str:
    """The version of the ``carla`` package of an interpreter.

    Raises:
        ServerError: it has none, or there is no such interpreter.
    """
    script = "from importlib.metadata import version; import carla; print(version('carla'))"
    try:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    except OSError as error:
        raise ServerError(f"--env.client-python {python}: {error}") from error
    if done.returncode != 0:
        raise ServerError(
            f"{python} cannot import CARLA's own client ({(done.stderr.strip().splitlines() or [''])[-1]}). Install it "
            "there with: pip install carla==0.9.16; or name another interpreter that has it with --env.client-python"
        )
    return done.stdout.strip()


def claim(host: str, port: int) -> IO[bytes]:
    """Take a server for oneself until the file that is returned is closed, or this process ends.

    Raises:
        ServerError: another slot of this machine has it.
    """
    name = re.sub(r"[^A-Za-z0-9.-]", "_", f"vlarl-carla-{os.getuid()}-{host}-{port}.lock")
    file = (Path(tempfile.gettempdir()) / name).open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ServerError(
            f"another slot drives the server on {host}:{port}; a server plays one episode at a time. "
            "Take --workers 1 --slots 1, or leave --env.host empty: then each slot starts a server of its own"
        ) from error
    return file


class Server:
    """A server process, ended with this object, and with this process however that ends.

    Args:
        command: starts it.
        host: where it will listen.
        port: of its calls; 0: what the first line that it prints says (``vlarl drive serve`` does).
        seconds: until it must answer.

    Raises:
        ServerError: it ends, or does not answer in time; holds the end of what it has written.
    """

    def __init__(self, command: Sequence[str], host: str, port: int, seconds: float) -> None:
        self.command, self.host = shlex.join(command), host
        if port and _somebody_listens(host, port):
            raise ServerError(
                f"port {port} of {host} is in use already, so {self.command!r} cannot have it: stop what listens "
                "there, leave --env.command empty to use it, or choose another --env.port"
            )
        try:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE if port == 0 else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if port else None,
                start_new_session=True,  # a script that starts a server takes it along
                preexec_fn=_die_with_parent,
                cwd=Path(__file__).parents[2] if port == 0 else None,
            )
        except OSError as error:
            raise ServerError(f"cannot run {self.command!r}: {error}") from error
        self.pid = self._process.pid
        try:
            self.port = port or self._told_port()
            self._wait(seconds)
        except ServerError:
            self.close()
            raise

    def close(self) -> None:
        """End it and all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _told_port(self) -> int:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode(errors="replace")
        found = re.search(r" on \S+:(\d+) and ", said)
        if found is None:
            raise ServerError(f"{self.command!r} did not start: {said.strip() or 'it said nothing'}")
        return int(found[1])

    def _wait(self, seconds: float) -> None:
        due = time.monotonic() + seconds
        while True:
            ended = self._process.poll()
            if ended is not None:
                raise ServerError(f"{self.command!r} ended with status {ended} before it answered")
            try:
                probe(self.host, self.port)
                return
            except ServerError as error:
                if time.monotonic() > due:
                    raise ServerError(f"{self.command!r} did not answer within {seconds:g} s: {error}") from error
            time.sleep(POLL)


def stand_in(map_name: str, map_file: str) -> list[str]:
    """The command that serves our own world with a map, on any free port."""
    words = [sys.executable, "-m", "vlarl.cli", "drive", "serve", "--port", "0", "--map", map_name]
    return [*words, "--maps-folder", str(Path(map_file).resolve().parent)] if map_file else words


def _ask(connection: socket.socket, call: bytes) -> str:
    """The first text of what a call is answered with."""
    connection.sendall(call)
    data = b""
    while True:
        part = connection.recv(4096)
        if not part:
            raise ValueError("the connection was closed")
        data += part
        found = _ANSWER.match(data)
        if found is None and (len(data) > _LONGEST_HEAD or not _ANSWER_BEGINS.startswith(data[:2])):
            raise ValueError(f"it answered {data[:20]!r}, which is not CARLA's protocol")
        if found is not None:
            size = found[1] or found[2]
            length = size[0] & 0x1F if found[1] else int.from_bytes(size[1:], "big")
            if len(data) >= found.end() + length:
                return data[found.end() : found.end() + length].decode("utf-8", "replace")


def _somebody_listens(host: str, port: int) -> bool:
    with socket.socket() as attempt:
        attempt.settimeout(2.0)
        return attempt.connect_ex((host, port)) == 0


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
