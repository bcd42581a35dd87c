"""``VecEnv`` over an environment that steps all its slots together in this process, by array operations."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from vlarl.env_protocol import BatchEnvConfig, EnvBatch, EpisodeSpec, Float32Array
from vlarl.sim_worker import error_result
from vlarl.vec_env import SlotEvent


class BatchSlots:
    """Requests are gathered until ``wait``, which has them answered at once.

    A slot's exception is its own ``ERROR`` episode. One of the batch as a whole ends every episode that was asked
    something, and the batch is built anew: the others' episodes end as errors when they are next asked.

    Args:
        config: the environment.
        tasks: built before the first episode.
        num_slots: episodes in flight.
        threads: among which the batch divides its slots; does not change results.
    """

    deaths = 0
    cpu_seconds = 0.0  # what is spent here is the main process's own time

    def __init__(
        self, config: BatchEnvConfig, *, tasks: Sequence[tuple[str, int]] = (), num_slots: int = 1, threads: int = 1
    ) -> None:
        self.num_slots = num_slots
        self._config, self._threads = config, threads
        self._requests: dict[int, EpisodeSpec | Float32Array] = {}
        config.warm_up(list(tasks))
        self._batch: EnvBatch = config.make_batch(num_slots, threads)

    def reset(self, slot: int, spec: EpisodeSpec) -> None:
        """Ask for the start of an episode."""
        self._ask(slot, spec)

    def step_chunk(self, slot: int, actions: Float32Array) -> None:
        """Ask for a chunk."""
        self._ask(slot, actions)

    def wait(self) -> list[SlotEvent]:
        """Answer everything that was asked, in slot order."""
        if not self._requests:
            raise ValueError("wait() with nothing asked for")
        requests, self._requests = dict(sorted(self._requests.items())), {}
        try:
            answers = self._batch.answer(requests)
        except Exception as error:  # any simulator failure is an ERROR episode, never a lost run
            answers: dict[int, Any] = dict.fromkeys(requests, error)
            self._batch.close()
            self._batch = self._config.make_batch(self.num_slots, self._threads)
        return [self._event(slot, answers[slot]) for slot in requests]

    def memory_bytes(self) -> int:
        """Nothing beside this process."""
        return 0

    def close(self) -> None:
        """Free the environments; calling it twice is allowed."""
        self._batch.close()

    def __enter__(self) -> BatchSlots:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, slot: int, request: EpisodeSpec | Float32Array) -> None:
        if not 0 <= slot < self.num_slots:
            raise IndexError(f"slot {slot} is not in 0..{self.num_slots - 1}")
        if slot in self._requests:
            raise ValueError(f"slot {slot} is still busy with what it was asked before")
        self._requests[slot] = request

    def _event(self, slot: int, answer: Any) -> SlotEvent:
        if not isinstance(answer, Exception):
            return SlotEvent(slot, answer)
        self._batch.abandon(slot)
        where = "".join(traceback.format_exception(answer, limit=-2)).strip()
        return SlotEvent(slot, error_result(f"{type(answer).__name__}: {answer}\n{where}"))
