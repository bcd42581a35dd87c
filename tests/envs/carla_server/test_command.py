"""``vlarl drive serve`` as it is typed."""

from __future__ import annotations

import functools
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from vlarl.cli import main

ROOT = Path(__file__).parents[3]


def test_it_serves_until_ctrl_c():
    words = [sys.executable, "-m", "vlarl.cli", "drive", "serve", "--port", "0", "--map", "roundabout"]
    # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=heed
    ) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        assert said.startswith("vlarl_stand_in/Maps/roundabout on 127.0.0.1:") and "not CARLA scores" in said
        port = int(said.partition("127.0.0.1:")[2].partition(" ")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(msgpack.packb([0, 1, "version", [[False]]]))
            assert msgpack.unpackb(client.recv(100)) == [1, 1, None, [[1, "0.9.16"]]]
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["drive", "sreve"], "Did you mean 'serve'?"),
        (["drive", "serve", "--map", "gird_town", "--port", "0"], "Did you mean 'grid_town'?"),
        (["drive", "serve", "--port", "70000"], "--port is 70000"),
        (["drive", "serve", "--maps-folder", "/there/is/none", "--port", "0"], "is no folder"),
    ],
)
def test_what_cannot_be_is_said(words, says, capsys):
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_a_port_in_use(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["drive", "serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "Stop what uses them, or choose others with --port" in capsys.readouterr().err
