"""What a simulator and the rest of vlarl tell each other.

This module needs numpy alone: an environment file can be loaded by path into a simulator
process that holds neither torch nor the rest of vlarl, so ``envs/`` imports nothing else of ours.

One ``Env`` object is one *slot*: it plays one episode at a time. Environments that share heavy
things between slots (compiled models, textures) do so inside their own module.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

UInt8Image = NDArray[np.uint8]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


class Outcome(enum.StrEnum):
    """How an episode stands. ``ERROR`` (crash, hang, NaN) is counted and shown, never trained on or scored."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    TRUNCATED = "truncated"
    ERROR = "error"

    @property
    def has_ended(self) -> bool:
        """Whether no further step may be asked for."""
        return self is not Outcome.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSpec:
    """Fully determines the start of an episode; equal specs start equal (the GRPO group condition).

    Example::

        EpisodeSpec(suite="libero_object", task=0, instruction="pick up the alphabet soup ...",
                    init_state=7, seed=1234, group=3, split="train")
    """

    suite: str
    """Benchmark suite, for example ``libero_object``."""
    task: int
    """Index of the task within its suite."""
    instruction: str
    """What the policy is told; may differ from the task's own sentence (wrong-instruction tests)."""
    init_state: int
    """Index of the recorded initial state."""
    seed: int
    """Seed of everything random in this episode: action noise first of all."""
    group: int = 0
    """Episodes of one group share task and initial state and are compared with each other."""
    split: str = "eval"
    """Name of the initial-state split this spec was drawn from; only reported."""
    fixture_seed: int | None = None
    """Which draw of what the recorded initial states leave open (in LIBERO the poses of cabinet, stove and rack);
    ``None``: the one of the environment's configuration, which its protocol names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a policy sees at a decision."""

    images: Mapping[str, UInt8Image]
    """Camera name -> ``uint8 [H, W, 3]``, upright (row 0 is the top of the scene); more channels where documented."""
    state: Float32Array
    """Proprioception ``float32 [S]`` in the units the environment documents."""
    instruction: str
    time: float
    """Simulated seconds since the first decision of the episode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a chunk of actions did."""

    observation: Observation | None
    """At the next decision; after the episode's end, the last state seen. None only with ``Outcome.ERROR``."""
    executed: BoolArray
    """``bool [chunk]``: which actions ran. Always a prefix: an episode that ends inside a chunk runs no more."""
    reward: Float32Array
    """``float32 [chunk]``: environment reward per control step, 0 where not executed."""
    outcome: Outcome
    events: Mapping[str, Any] = field(default_factory=dict)
    """Anything worth logging: ``error`` (text) with ``Outcome.ERROR``, per-phase seconds as ``seconds/<phase>``."""
    frames: tuple[Mapping[str, UInt8Image], ...] = ()
    """One mapping per executed control step, only where every frame was asked for."""


class Env(Protocol):
    """One slot of a simulator.

    Errors are raised, not hidden: the worker turns an exception into ``Outcome.ERROR`` for that
    episode and replaces the environment.
    """

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start the episode that ``spec`` describes and return its first decision frame."""
        ...

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run up to ``actions [chunk, action_dim]`` control steps, stopping where the episode ends."""
        ...

    def close(self) -> None:
        """Free what the slot holds; calling it twice is allowed."""
        ...


class EnvBatch(Protocol):
    """Slots of a simulator that steps them together, by array operations."""

    def answer(
        self, requests: Mapping[int, EpisodeSpec | Float32Array]
    ) -> dict[int, Observation | StepResult | Exception]:
        """Start the episodes and run the chunks ``[chunk, action_dim]`` that slots are asked for.

        What goes wrong in a slot is its answer. The others neither notice nor move on unless they are asked to.
        """
        ...

    def abandon(self, slot: int) -> None:
        """Drop a slot's episode."""
        ...

    def close(self) -> None:
        """Free what the slots hold; calling it twice is allowed."""
        ...


class EnvConfig(Protocol):
    """A frozen dataclass that describes an environment and builds its slots; travels to worker processes."""

    def make(self) -> Env:
        """Build one slot."""
        ...

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Build what slots share for these ``(suite, task)`` pairs, before worker processes are forked."""
        ...

    def protocol(self) -> dict[str, Any]:
        """Everything about this environment that a reported number must name (horizon, profile, cameras, ...)."""
        ...

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """The tasks of a suite, cheaply: no simulator is built."""
        ...


class BatchEnvConfig(EnvConfig, Protocol):
    """An environment whose slots can also be stepped together."""

    def make_batch(self, slots: int, threads: int) -> EnvBatch:
        """Build ``slots`` slots; ``threads`` does not change results."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One task of a suite."""

    suite: str
    task: int
    name: str
    instruction: str
    num_init_states: int
    horizon: int
    """Control steps allowed per episode."""


class EnvError(RuntimeError):
    """The simulator misbehaved: the episode becomes ``Outcome.ERROR``."""


class BrokenProcessError(EnvError):
    """The process itself is no longer sound (graphics driver, memory): the episode is lost and the process replaced."""


class ActionError(ValueError):
    """The caller passed an action that no simulator may see (wrong shape, NaN)."""


class UnknownTaskError(ValueError):
    """The caller named a suite, task or initial state that does not exist; the message holds the nearest one."""


def check_actions(actions: Any, action_dim: int) -> Float32Array:
    """Return ``actions`` as ``float32 [chunk, action_dim]``.

    Raises:
        ActionError: wrong rank, wrong width, an empty chunk, or an entry that is not finite.
    """
    array = np.asarray(actions, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != action_dim or array.shape[0] == 0:
        raise ActionError(f"actions have shape {array.shape}; expected [chunk >= 1, {action_dim}]")
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.argwhere(~finite)
        step, dim = (int(i) for i in bad[0])
        raise ActionError(
            f"actions[{step}, {dim}] is {array[step, dim]}; {len(bad)} of {array.size} entries are not finite. "
            "Nothing was sent to the simulator."
        )
    return array
