"""Which kind of slots an environment is played in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlarl.batch_slots import BatchSlots
from vlarl.env_protocol import EnvConfig
from vlarl.local_slots import LocalSlots
from vlarl.worker_pool import WorkerPool

Slots = WorkerPool | LocalSlots | BatchSlots


def make_slots(
    env: EnvConfig,
    tasks: Sequence[tuple[str, int]],
    *,
    workers: int,
    slots: int,
    threads: int = 1,
    watchdog_seconds: float = 180.0,
) -> Slots:
    """Slots in worker processes; for ``workers`` 0 in this process, together where the environment can do that.

    Args:
        env: the environment.
        tasks: ``(suite, task)`` pairs built before the first episode.
        workers: simulator processes.
        slots: episodes in flight.
        threads: of slots that are stepped together.
        watchdog_seconds: a worker that takes longer over one request is killed.
    """
    if workers:
        return WorkerPool(env, tasks=tasks, workers=workers, num_slots=slots, watchdog_seconds=watchdog_seconds)
    batched: Any = env
    if getattr(env, "make_batch", None) is not None:
        return BatchSlots(batched, tasks=tasks, num_slots=slots, threads=threads)
    return LocalSlots(env, tasks=tasks, num_slots=slots)
