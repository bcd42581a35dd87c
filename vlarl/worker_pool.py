"""``VecEnv`` over forked simulator workers, with a watchdog: no simulator fault stops a run.

A worker that dies or hangs takes one episode along, the one it was simulating: that one ends as ``Outcome.ERROR``.
The others it held are played again in its successor from their specs and the actions so far, which gives the same
bits, so nobody else notices.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from vlarl.env_protocol import EnvConfig, EpisodeSpec, Float32Array, Observation
from vlarl.errors import UserError
from vlarl.sim_worker import error_result
from vlarl.transport import Answer, Receiver, Replay, receive_message, send_message
from vlarl.vec_env import SlotEvent

SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class WorkerPoolError(RuntimeError):
    """The pool cannot run at all: the shared parts failed to build, or no worker can be started."""


@dataclass(slots=True, eq=False)
class _Worker:
    pid: int
    connection: socket.socket
    receiver: Receiver
    slots: tuple[int, ...]
    asked: dict[int, float] = field(default_factory=dict)
    """Slot -> since when it could be served; a slot is busy while it is here. In the order of service."""
    playing: set[int] = field(default_factory=set)
    """Slots whose episode lives in this process."""
    cpu_seconds: float = 0.0
    replaces: float | None = None
    """When the loss of its predecessor was noticed; until its first answer."""


@dataclass(slots=True)
class _Episode:
    """What it takes to play an unfinished episode again."""

    spec: EpisodeSpec
    chunks: list[Float32Array] = field(default_factory=list)
    state: Float32Array | None = None
    """Proprioception seen last."""


class WorkerPool:
    """``num_slots`` slots spread over ``workers`` forked processes that share the built tasks' memory.

    Args:
        config: the environment; pickled once to the nursery process.
        tasks: ``(suite, task)`` pairs built before forking; others are built when first asked for.
        workers: simulator processes; one per core is right.
        num_slots: episodes in flight; at least one per worker, a few per worker hide the policy's time.
        watchdog_seconds: a worker that takes longer over one request is killed.
    """

    def __init__(
        self,
        config: EnvConfig,
        *,
        tasks: Sequence[tuple[str, int]],
        workers: int = 2,
        num_slots: int = 16,
        watchdog_seconds: float = 180.0,
    ) -> None:
        if not 1 <= workers <= num_slots:
            raise ValueError(f"workers={workers} and num_slots={num_slots}: need 1 <= workers <= num_slots")
        self.num_slots = num_slots
        self.num_workers = workers
        self.deaths = 0
        self.recovery_seconds: list[float] = []
        """Per replaced worker: from noticing the loss to the first answer of its successor."""
        self._ended_cpu_seconds = 0.0
        self._episodes: dict[int, _Episode] = {}
        self._watchdog_seconds = watchdog_seconds
        self._events: list[SlotEvent] = []
        self._selector = selectors.DefaultSelector()
        self._start_nursery(config, list(tasks))
        self._workers: list[_Worker] = []
        for index in range(workers):
            self._workers.append(self._fork_worker(tuple(range(index, num_slots, workers))))

    def reset(self, slot: int, spec: EpisodeSpec) -> None:
        """Ask ``slot`` to start the episode of ``spec``; returns at once."""
        self._refuse_busy(slot)
        self._episodes[slot] = _Episode(spec)
        self._worker_of(slot).playing.add(slot)
        self._ask(slot, spec)

    def step_chunk(self, slot: int, actions: Float32Array) -> None:
        """Ask ``slot`` to run ``actions [chunk, action_dim]``; returns at once."""
        self._refuse_busy(slot)
        episode = self._episodes.get(slot)
        if episode is None:
            raise ValueError(f"slot {slot} has no running episode; call reset(slot, spec) first")
        episode.chunks.append(actions)
        if slot in self._worker_of(slot).playing:
            self._ask(slot, actions)
        else:  # its worker was lost between two chunks
            self._ask_again(slot)

    def wait(self) -> list[SlotEvent]:
        """Block until at least one slot has finished; return all that have, in slot order."""
        if not self._events and not any(worker.asked for worker in self._workers):
            raise ValueError("wait() with nothing asked for")
        while not self._events:
            for key, _ in self._selector.select(timeout=1.0):
                self._receive(key.data)
            self._kill_hung_workers()
        events, self._events = sorted(self._events, key=lambda event: event.slot), []
        return events

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all workers so far, as of their last answers."""
        return self._ended_cpu_seconds + sum(worker.cpu_seconds for worker in self._workers)

    def worker_pids(self) -> list[int]:
        """Process ids of the living workers, in worker order."""
        return [worker.pid for worker in self._workers]

    def memory_bytes(self) -> int:
        """Memory of the nursery and its workers, pages they share counted once (proportional set size)."""
        total = 0
        for pid in [self._nursery.pid, *self.worker_pids()]:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
        return total

    def close(self) -> None:
        """End all processes; calling it twice is allowed."""
        for worker in self._workers:
            worker.connection.close()
        self._workers = []
        self._selector.close()
        self._control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._nursery.wait(timeout=5.0)
        self._nursery.kill()
        self._nursery.wait()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start_nursery(self, config: EnvConfig, tasks: list[tuple[str, int]]) -> None:
        self._control, theirs = socket.socketpair()
        environment = os.environ | {name: "1" for name in SINGLE_THREADED}
        environment.setdefault("LP_NUM_THREADS", "0")  # llvmpipe: one process per core needs no threads of its own
        # The child must find the same vlarl and envs as we do, however this process was started.
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "vlarl.sim_worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
        )
        theirs.close()
        send_message(self._control, (config, tasks))
        try:
            state, detail = receive_message(self._control)
        except EOFError as error:
            raise WorkerPoolError(
                f"the simulator process ended with status {self._nursery.wait()} before it was ready; "
                "its messages are above. `vlarl doctor` checks the simulator's installation."
            ) from error
        if state == "refused":  # the user's to fix, in its own words
            raise UserError(detail)
        if state != "ready":
            raise WorkerPoolError(f"building the tasks {tasks} failed:\n{detail}")

    def _fork_worker(self, slots: tuple[int, ...]) -> _Worker:
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"w"], [theirs.fileno()])
            _, pid = receive_message(self._control)
        except (OSError, EOFError) as error:
            raise WorkerPoolError("the nursery process is gone; no worker can be started any more") from error
        theirs.close()
        worker = _Worker(pid=pid, connection=ours, receiver=Receiver(ours), slots=slots)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _worker_of(self, slot: int) -> _Worker:
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot} is not in 0..{self.num_slots - 1}")
        return self._workers[slot % self.num_workers]

    def _refuse_busy(self, slot: int) -> None:
        if slot in self._worker_of(slot).asked:
            raise ValueError(f"slot {slot} is still busy with what it was asked before")

    def _ask(self, slot: int, request: EpisodeSpec | Float32Array | Replay) -> None:
        worker = self._worker_of(slot)
        try:
            send_message(worker.connection, (slot, request))
        except OSError:  # it died before it saw this request, so this slot is not to blame
            while worker in self._workers:  # read its last answers, then the end of the stream
                self._receive(worker)
            self._ask_again(slot)
            return
        worker.asked[slot] = time.monotonic()

    def _ask_again(self, slot: int) -> None:
        """Let the present worker of ``slot`` play the slot's episode up to the answer that is due."""
        episode = self._episodes[slot]
        self._worker_of(slot).playing.add(slot)
        self._ask(slot, Replay(episode.spec, tuple(episode.chunks), episode.state))

    def _receive(self, worker: _Worker) -> None:
        if worker not in self._workers:
            return
        try:
            answer = worker.receiver.receive()
        except EOFError:
            self._replace(worker, "the worker process died", next(iter(worker.asked), None))
            return
        if worker.replaces is not None:
            self.recovery_seconds.append(time.monotonic() - worker.replaces)
            worker.replaces = None
        worker.cpu_seconds = answer.cpu_seconds
        del worker.asked[answer.slot]
        for other in worker.asked:  # requests are served in turn: the others have waited for this one
            worker.asked[other] = time.monotonic()
        self._note(worker, answer)
        self._events.append(SlotEvent(answer.slot, answer.result))
        if answer.last:
            self._replace(worker, "the worker process was no longer sound")

    def _note(self, worker: _Worker, answer: Answer) -> None:
        """Keep what a replay of the episode would need."""
        result = answer.result
        if not isinstance(result, Observation) and result.outcome.has_ended:
            worker.playing.discard(answer.slot)
            self._episodes.pop(answer.slot, None)
            return
        observation = result if isinstance(result, Observation) else result.observation
        self._episodes[answer.slot].state = None if observation is None else observation.state

    def _kill_hung_workers(self) -> None:
        for worker in list(self._workers):
            slot = next(iter(worker.asked), None)
            if slot is not None and time.monotonic() - worker.asked[slot] > self._watchdog_seconds:
                self._replace(worker, f"the worker process hung for more than {self._watchdog_seconds:g} s", slot)

    def _replace(self, worker: _Worker, cause: str, culprit: int | None = None) -> None:
        """Start a successor. The episode of slot ``culprit`` is an error; the others go on in the new process.

        Those that wait for an answer are played again at once, the rest when they are next asked for a chunk.
        """
        self.deaths += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
        self._selector.unregister(worker.connection)
        worker.connection.close()
        self._ended_cpu_seconds += worker.cpu_seconds
        noticed = time.monotonic()
        successor = self._fork_worker(worker.slots)
        successor.replaces = noticed
        self._workers[self._workers.index(worker)] = successor
        if culprit is not None:
            del self._episodes[culprit]
            self._events.append(SlotEvent(culprit, error_result(f"{cause} (pid {worker.pid})")))
        for slot in worker.asked:
            if slot != culprit:
                self._ask_again(slot)
