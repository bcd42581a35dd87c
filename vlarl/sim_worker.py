"""The simulator side of the worker pool: a nursery process that builds tasks once and forks workers.

``python -m vlarl.sim_worker FD`` is the nursery. It loads no torch and opens no GL context; it builds the
tasks it is told to (``EnvConfig.warm_up``) and forks a worker for every socket it is handed, so that
workers share the compiled models' memory. Workers end when their socket closes or the nursery ends, the nursery when
its control socket closes: however the main process dies, nothing is left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

import numpy as np

import vlarl.file_modules  # noqa: F401 - lets objects of classes from files named by path be unpickled here
from vlarl.env_protocol import (
    ActionError,
    BrokenProcessError,
    Env,
    EnvConfig,
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    UnknownTaskError,
)
from vlarl.errors import UserError
from vlarl.transport import Answer, Receiver, Replay, Sender, receive_message, send_message

CONTAINED = (EnvError, ActionError, UnknownTaskError)
"""After these the process goes on: one slot's simulation failed, or the caller asked for something impossible."""


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
    """Serve reset, step and replay requests of this worker's slots, in order of arrival, until the socket closes.

    An exception ends the episode of its slot as ``Outcome.ERROR`` and throws that slot's environment away. Unless it
    is one of ``CONTAINED`` it ends this process too, for nobody knows what it left behind.
    """
    receiver, sender = Receiver(connection), Sender(connection)
    slots: dict[int, Env] = {}
    while True:
        try:
            slot, request = receiver.receive()
        except EOFError:
            return
        last = False
        try:
            packed = sender.pack(slot, Answer(slot, serve(slots, config, slot, request), time.process_time()))
        except Exception as error:  # any simulator failure is an ERROR episode, never a lost run
            last = not isinstance(error, CONTAINED) or isinstance(error, BrokenProcessError)
            packed = sender.pack(slot, Answer(slot, lose(slots, slot, error), time.process_time(), last))
        sender.send(packed)
        if last:
            return


def serve(slots: dict[int, Env], config: EnvConfig, slot: int, request: Any) -> Observation | StepResult:
    """Answer one request with the slot's environment; whatever that raises is raised."""
    if isinstance(request, EpisodeSpec):
        request = Replay(request, (), None)
    if not isinstance(request, Replay):
        return _finite(slots[slot].step_chunk(request))
    if slot not in slots:
        slots[slot] = config.make()
    result: Observation | StepResult = _finite(slots[slot].reset(request.spec))
    for index, chunk in enumerate(request.chunks):
        if index == len(request.chunks) - 1:
            _check_repeated(result, request.expected_state)
        result = _finite(slots[slot].step_chunk(chunk))
    return result


def lose(slots: dict[int, Env], slot: int, error: Exception) -> StepResult:
    """Throw the slot's environment away and end its episode with ``error`` as the cause."""
    broken = slots.pop(slot, None)
    if broken is not None:
        broken.close()
    return error_result(f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-2).strip()}")


def _check_repeated(result: Observation | StepResult, expected: Float32Array | None) -> None:
    observation = result if isinstance(result, Observation) else result.observation
    if expected is not None and (observation is None or not np.array_equal(observation.state, expected)):
        raise EnvError(
            "the worker process of this slot died, and the simulator did not repeat the episode: equal specs and "
            f"actions led to {None if observation is None else observation.state}, not {expected}"
        )


def _finite(result: Any) -> Any:
    observation = result if isinstance(result, Observation) else result.observation
    if observation is not None and not np.isfinite(observation.state).all():
        raise EnvError(f"the simulator's state is not finite: {observation.state}")
    if isinstance(result, StepResult) and not np.isfinite(result.reward).all():
        raise EnvError(f"the simulator's reward is not finite: {result.reward}")
    return result


def nursery_main(control: socket.socket) -> None:
    """Build shared parts, then fork one worker per socket received until the control socket closes."""
    config, tasks = receive_message(control)
    try:
        config.warm_up(tasks)
    except UserError as error:
        send_message(control, ("refused", str(error)))
        return
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
            _die_with_parent()
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


def _die_with_parent() -> None:
    """Let the kernel kill this process when the nursery ends: a stopped or hung one would not notice."""
    set_parent_death_signal = 1
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the closed socket has to do
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to handle
    nursery_main(socket.socket(fileno=int(sys.argv[1])))
