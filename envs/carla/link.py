"""The way to CARLA's client in its own process: requests with a time limit; whatever breaks becomes an error."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vlarl.env_protocol import EnvError

SCRIPT = Path(__file__).with_name("client_process.py")


class LinkError(EnvError):
    """The client's process, or the server behind it, is gone or hangs; the link cannot be used any more."""


class Link:
    """A client process.

    Args:
        python: interpreter that has the ``carla`` package.
        seconds: how long the client waits for the server.
    """

    def __init__(self, python: str, seconds: float) -> None:
        self.seconds = seconds
        ours, theirs = socket.socketpair()
        self._home = tempfile.TemporaryDirectory(prefix="vlarl-carla-")  # the client keeps files of maps there
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [python, str(SCRIPT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._noise,
                stderr=self._noise,
                env={**os.environ, "HOME": self._home.name},
            )
        self._connection = Connection(ours.detach())

    def request(self, name: str, **arguments: Any) -> Any:
        """The answer of :mod:`envs.carla.client_process` to a request.

        Raises:
            LinkError: the client has ended or does not answer: the server has died or hangs.
            EnvError: the client's own error, in its words.
        """
        try:
            self._connection.send((name, arguments))
            if not self._connection.poll(4.0 * self.seconds):
                raise LinkError(f"CARLA's client did not answer {name!r} within {4.0 * self.seconds:g} s")
            fine, result = self._connection.recv()
        except (EOFError, OSError) as error:
            raise LinkError(f"CARLA's client ended during {name!r}: {self._last_words()}") from error
        if not fine and "time-out of" in result:  # of the client, which waited for the server
            raise LinkError(f"the server was lost during {name!r}: {result}")
        if not fine:
            raise EnvError(f"CARLA's client, {name}: {result}")
        return result

    def close(self, quietly: bool = True) -> None:
        """End the process; with ``quietly`` it first leaves the server as it was found."""
        if quietly:
            with contextlib.suppress(EnvError):
                self.request("end")
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._noise.close()
        self._home.cleanup()

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        size = self._noise.seek(0, os.SEEK_END)
        self._noise.seek(max(size - 500, 0))
        said = self._noise.read().decode(errors="replace").strip()
        return said or f"status {self._process.returncode}"
