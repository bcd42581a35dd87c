"""The simulator side of the worker pool: a nursery process that builds tasks once and forks workers.

``python -m vlarl.sim_worker FD`` is the nursery. It loads no torch and opens no GL context; it builds the
tasks it is told to (``EnvConfig.warm_up``) and forks a worker for every socket it is handed, so that
workers share the compiled models' memory. Workers end when their socket closes, the nursery when its
control socket does: however the main process dies, nothing is left behind.

Messages are pickled objects between processes of one program over private socket pairs; nothing from a
file or a listening socket is ever unpickled.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any

import numpy as np

import vlarl.file_modules  # noqa: F401 - lets objects of classes from files named by path be unpickled here
from vlarl.env_protocol import Env, EnvConfig, EnvError, EpisodeSpec, Observation, Outcome, StepResult

LENGTH = struct.Struct("!Q")


def send_message(connection: socket.socket, message: Any) -> None:
    """Send one object, length first."""
    payload = pickle.dumps(message, protocol=5)
    connection.sendall(LENGTH.pack(len(payload)) + payload)


def receive_message(connection: socket.socket) -> Any:
    """Receive one object.

    Raises:
        EOFError: the other side is gone.
    """
    return pickle.loads(_receive_exactly(connection, LENGTH.unpack(_receive_exactly(connection, LENGTH.size))[0]))


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


def error_result(cause: str) -> StepResult:
    """A chunk that ran nothing because the simulator failed."""
    return StepResult(
        observation=None,
        executed=np.zeros(0, dtype=np.bool_),
        reward=np.zeros(0, dtype=np.float32),
        outcome=Outcome.ERROR,
        events={"error": cause},
    )


def worker_main(connection: socket.socket, config: EnvConfig) -> None:
    """Serve reset and step requests of this worker's slots, in order of arrival, until the socket closes."""
    slots: dict[int, Env] = {}
    while True:
        try:
            slot, request = receive_message(connection)
        except EOFError:
            return
        started = time.process_time()
        result = serve(slots, config, slot, request)
        send_message(connection, (slot, result, time.process_time() - started))


def serve(slots: dict[int, Env], config: EnvConfig, slot: int, request: Any) -> Observation | StepResult:
    """Answer one request; an exception ends the episode as ``Outcome.ERROR`` and throws the slot's environment away."""
    try:
        if isinstance(request, EpisodeSpec):
            if slot not in slots:
                slots[slot] = config.make()
            result: Observation | StepResult = slots[slot].reset(request)
        else:
            result = slots[slot].step_chunk(request)
        _check_finite(result)
    except Exception as error:  # any simulator failure is an ERROR episode, never a lost run
        broken = slots.pop(slot, None)
        if broken is not None:
            broken.close()
        last_line = traceback.format_exc(limit=-2).strip()
        return error_result(f"{type(error).__name__}: {error}\n{last_line}")
    return result


def _check_finite(result: Observation | StepResult) -> None:
    observation = result if isinstance(result, Observation) else result.observation
    if observation is not None and not np.isfinite(observation.state).all():
        raise EnvError(f"the simulator's state is not finite: {observation.state}")
    if isinstance(result, StepResult) and not np.isfinite(result.reward).all():
        raise EnvError(f"the simulator's reward is not finite: {result.reward}")


def nursery_main(control: socket.socket) -> None:
    """Build shared parts, then fork one worker per socket received until the control socket closes."""
    config, tasks = receive_message(control)
    try:
        config.warm_up(tasks)
    except Exception:
        send_message(control, ("failed", traceback.format_exc()))
        return
    send_message(control, ("ready", os.getpid()))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # dead workers are reaped by the kernel
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            status = 1
            try:
                worker_main(socket.socket(fileno=descriptors[0]), config)
                status = 0
            except (KeyboardInterrupt, BrokenPipeError, ConnectionError):
                status = 0
            finally:
                os._exit(status)  # skip interpreter teardown: GL libraries complain there
        os.close(descriptors[0])
        send_message(control, ("worker", pid))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    nursery_main(socket.socket(fileno=int(sys.argv[1])))
