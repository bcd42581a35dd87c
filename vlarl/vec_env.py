"""Slots of an environment, stepped in worker processes, one by one in this process, or together in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, StepResult


@dataclass(frozen=True, slots=True)
class SlotEvent:
    """One slot finished what it was asked: a reset (``Observation``) or a chunk (``StepResult``)."""

    slot: int
    result: Observation | StepResult


class VecEnv(Protocol):
    """Independent slots. No autoreset: a slot whose episode ended waits for the next ``reset``."""

    num_slots: int

    def reset(self, slot: int, spec: EpisodeSpec) -> None:
        """Ask ``slot`` to start an episode; returns at once."""
        ...

    def step_chunk(self, slot: int, actions: Float32Array) -> None:
        """Ask ``slot`` to run a chunk; returns at once."""
        ...

    def wait(self) -> list[SlotEvent]:
        """Block until at least one slot has finished and return all that have, in slot order.

        A worker that died or hung yields ``StepResult`` with ``Outcome.ERROR`` for its slots and is replaced.
        """
        ...

    def close(self) -> None:
        """Stop the workers."""
        ...
