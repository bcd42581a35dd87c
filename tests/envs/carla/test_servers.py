"""Finding servers, starting and ending them, and what is said where there is none or another one. No carla needed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("msgpack", reason="the CARLA stand-in needs msgpack: pip install -e '.[carla]'")

from envs.carla.env import CarlaConfig
from envs.carla.servers import (
    CARLA,
    STAND_IN,
    Server,
    ServerError,
    ServerFacts,
    check_versions,
    claim,
    client_version,
    probe,
    stand_in,
)
from envs.carla_server.server import CarlaServer
from vlarl.errors import UserError
from vlarl.worker_pool import WorkerPool

ANSWERING = """
import socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    connection, _ = listening.accept()
    with connection:
        while call := connection.recv(100):
            text = b"0.9.16" if b"version" in call else b"Carla/Maps/Town02" + b"/" * 20
            head = bytes([0xA0 + len(text)]) if len(text) < 32 else b"\\xd9" + bytes([len(text)])
            connection.sendall(b"\\x94\\x01" + call[2:3] + b"\\xc0\\x91\\x92\\x01" + head + text)
"""
"""A program that answers as a real server does; its one argument is the port."""


@pytest.fixture(scope="module")
def server():
    server = CarlaServer("roundabout", port=0, version="0.9.15")
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stopped = True
    thread.join()
    server.close()


@pytest.fixture
def interpreter(tmp_path):
    """Something that says that it has carla 0.9.16."""
    file = tmp_path / "python"
    file.write_text("#!/bin/sh\necho 0.9.16\n")
    file.chmod(0o755)
    return str(file)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def has_ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_stand_in_says_what_it_is(server):
    assert probe("127.0.0.1", server.hub.port) == ServerFacts("0.9.15", STAND_IN)


def test_another_version_names_both(server, interpreter):
    config = CarlaConfig(host="127.0.0.1", port=server.hub.port, client_python=interpreter)
    for asked in (config.protocol, lambda: config.warm_up([])):
        with pytest.raises(ServerError, match=r"is CARLA 0\.9\.15, the client library is carla 0\.9\.16"):
            asked()
    check_versions("here", 1, "0.9.16-dirty", "0.9.16")


def test_nobody_listens(interpreter):
    with pytest.raises(ServerError, match="no CARLA server answers on 127.0.0.1:.*vlarl drive serve"):
        CarlaConfig(host="127.0.0.1", port=free_port(), client_python=interpreter).protocol()


def test_an_evaluation_does_not_begin_without_a_server(interpreter):
    """In worker processes too, the message alone is shown."""
    config = CarlaConfig(host="127.0.0.1", port=free_port(), client_python=interpreter)
    with pytest.raises(UserError, match="^no CARLA server answers"):
        WorkerPool(config, tasks=[("carla_grid_town", 0)], workers=1, num_slots=1)


def test_somebody_else_listens():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply():
            connection, _ = other.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(ServerError, match="not CARLA's protocol"):
            probe("127.0.0.1", other.getsockname()[1])
        thread.join()


def test_an_answer_in_pieces_is_put_together():
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply():
            connection, _ = other.accept()
            for text in (b"\xa60.9.16", b"\x92\xd9\x21vlarl_stand_in/Maps/" + b"m" * 13 + b"\x90"):
                connection.recv(100)
                for byte in b"\x94\x01\x01\xc0\x91\x92\x01" + text:
                    connection.sendall(bytes([byte]))
            connection.close()

        thread = threading.Thread(target=reply)
        thread.start()
        assert probe("127.0.0.1", other.getsockname()[1]) == ServerFacts("0.9.16", STAND_IN)
        thread.join()


def test_a_server_is_one_slots():
    held = claim("somewhere", 2000)
    with pytest.raises(ServerError, match="another slot drives the server on somewhere:2000.*--slots 1"):
        claim("somewhere", 2000)
    claim("somewhere", 2002).close()
    held.close()
    claim("somewhere", 2000).close()


def test_an_interpreter_without_the_client():
    with pytest.raises(ServerError, match="cannot import CARLA's own client.*pip install carla"):
        client_version("/bin/false")


def test_there_is_no_such_interpreter():
    with pytest.raises(ServerError, match="--env.client-python /no/python"):
        client_version("/no/python")


def test_a_real_server_is_started_and_named(tmp_path, interpreter):
    script = tmp_path / "server.py"
    script.write_text(ANSWERING)
    port = free_port()
    started = Server([sys.executable, str(script), str(port)], "127.0.0.1", port, 60.0)
    assert probe("127.0.0.1", port) == ServerFacts("0.9.16", CARLA)
    with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is in use already"):
        Server([sys.executable, str(script), str(port)], "127.0.0.1", port, 60.0)
    started.close()
    assert has_ended(started.pid)
    config = CarlaConfig(command=f"{sys.executable} {script} {port}", port=port, client_python=interpreter)
    assert config.protocol()["backend"] == CARLA
    assert CarlaConfig(client_python=interpreter).protocol()["backend"] == STAND_IN


@pytest.mark.parametrize(
    ("code", "says"),
    [("raise SystemExit(3)", "ended with status 3"), ("import time; time.sleep(60)", "did not answer within 1 s")],
)
def test_a_server_that_does_not_start(code, says):
    with pytest.raises(ServerError, match=says):
        Server([sys.executable, "-c", code], "127.0.0.1", free_port(), 1.0)


def test_a_stand_in_that_does_not_start(capfd):
    with pytest.raises(ServerError, match="did not start"):
        Server(stand_in("no_such_map", ""), "127.0.0.1", 0, 60.0)
    assert "no_such_map" in capfd.readouterr().err


def test_a_server_ends_with_whoever_started_it(tmp_path):
    """However that ends: here by kill -9."""
    script = tmp_path / "server.py"
    script.write_text(ANSWERING)
    port = free_port()
    holder = (
        "import sys, time; from envs.carla.servers import Server\n"
        f"server = Server([sys.executable, {str(script)!r}, '{port}'], '127.0.0.1', {port}, 60.0)\n"
        "print(server.pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", holder], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert not has_ended(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    for _ in range(300):
        if has_ended(pid) or _is_zombie(pid):
            return
        time.sleep(0.1)
    raise AssertionError("the server lives on")


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
