"""One demonstrated episode, checked at construction, and what every collection of them can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlarl.errors import UserError


class DataError(UserError):
    """Demonstration files that cannot be read, or that do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """One episode of a demonstrator: what was seen and what was done, one row per control step.

    Row ``t`` holds the observation *before* action ``t``; the observation after the last action is not kept.

    Example::

        Demonstration(images={"agentview": frames}, state=state, actions=actions,
                      instruction="pick up the alphabet soup ...", suite="libero_object",
                      task=0, init_state=7, succeeded=True)
    """

    images: Mapping[str, NDArray[np.uint8]]
    """Camera name -> ``uint8 [T, H, W, 3]``, upright (row 0 is the top of the scene)."""
    state: NDArray[np.float32]
    """Proprioception ``float32 [T, S]``."""
    actions: NDArray[np.float32]
    """``float32 [T, A]`` in environment units."""
    instruction: str
    suite: str
    """Benchmark suite, or "" where the source does not say."""
    task: int
    """Index of the task within its suite, or -1 where the source does not say."""
    init_state: int
    """Index of the recorded initial state, or -1 where the source does not say."""
    succeeded: bool
    """Whether the benchmark's own predicate fired at the end."""

    def __post_init__(self) -> None:
        actions = _float_matrix("actions", self.actions)
        state = _float_matrix("state", self.state)
        steps = len(actions)
        if steps == 0:
            raise ValueError("a demonstration needs at least one step; actions have shape (0, ...)")
        if len(state) != steps:
            raise ValueError(
                f"state has {len(state)} rows but actions have {steps}: one state row per action is expected"
            )
        if not self.images:
            raise ValueError("a demonstration needs at least one camera; images is empty")
        for name, frames in self.images.items():
            if (
                not isinstance(frames, np.ndarray)
                or frames.dtype != np.uint8
                or frames.ndim != 4
                or frames.shape[3] != 3
            ):
                found = f"{getattr(frames, 'dtype', type(frames).__name__)} {getattr(frames, 'shape', '')}"
                raise ValueError(f"images[{name!r}] is {found}; expected uint8 [T, H, W, 3]")
            if len(frames) != steps:
                raise ValueError(f"images[{name!r}] has {len(frames)} frames but actions have {steps} rows")
        if not self.instruction.strip():
            raise ValueError("a demonstration needs an instruction; got an empty text")
        object.__setattr__(self, "actions", actions)
        object.__setattr__(self, "state", state)

    def __len__(self) -> int:
        """Number of control steps T."""
        return len(self.actions)


@dataclass(frozen=True, slots=True)
class TaskCount:
    """How often one task occurs in a dataset."""

    suite: str
    task: int
    instruction: str
    episodes: int
    succeeded: int


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What a dataset holds."""

    episodes: int
    frames: int
    fps: float
    cameras: dict[str, tuple[int, int]]
    """Name -> (height, width)."""
    state_width: int
    action_width: int
    tasks: tuple[TaskCount, ...]
    closed: bool = True
    """False: the writer is still running or was stopped; the complete episodes are readable all the same."""


class DemonstrationSource(Protocol):
    """A collection of demonstrations that is read episode by episode."""

    def __len__(self) -> int:
        """Number of episodes."""
        ...

    def __iter__(self) -> Iterator[Demonstration]: ...

    def read_episode(self, episode: int, cameras: Sequence[str] | None = None) -> Demonstration:
        """One episode, with the frames of all cameras or of some."""
        ...

    def summary(self) -> DatasetSummary:
        """What the collection holds."""
        ...


def _float_matrix(name: str, value: NDArray[np.float32]) -> NDArray[np.float32]:
    """``value`` as a contiguous finite ``float32`` matrix; other float widths are converted, other kinds refused."""
    array = np.asarray(value)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(f"{name} is {array.dtype} {array.shape}; expected float32 with two dimensions [T, width]")
    array = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}[{bad[0][0]}, {bad[0][1]}] is {array[tuple(bad[0])]}; every entry must be finite")
    return array
