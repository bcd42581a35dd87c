"""Demonstrations in memory, as training samples of a chunked policy.

Every kept control step of every demonstration is one sample: what was seen there, and the chunk of actions that
followed (cut off, and masked, at the end of the episode).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vlarl.data.demonstration import DataError, Demonstration
from vlarl.policies.oft_config import QuantileStatistics


@dataclass(slots=True, kw_only=True)
class Batch:
    """Samples of one optimiser step."""

    images: NDArray[np.uint8]
    """``uint8 [N, cameras, H, W, 3]``."""
    state: NDArray[np.float32]
    """Environment units ``float32 [N, S]``."""
    actions: NDArray[np.float32]
    """Environment units ``float32 [N, chunk, action_dim]``, zero past the episode's end."""
    mask: NDArray[np.bool_]
    """``bool [N, chunk]``: the action exists."""
    instructions: list[str]


@dataclass(slots=True)
class DemonstrationSet:
    """All samples of some demonstrations.

    Args:
        cameras: which, in the policy's order.
        chunk: actions per sample.
        keep_every: keep every so many control steps as a sample (1: all); saves memory, not quality of the chunks.

    Example::

        data = DemonstrationSet(cameras=("agentview", "wrist"), chunk=8)
        data.extend(open_demonstrations("demos/libero_object"))
    """

    cameras: tuple[str, ...]
    chunk: int
    keep_every: int = 1
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    """Per demonstration ``uint8 [kept, cameras, H, W, 3]``."""
    states: list[NDArray[np.float32]] = field(default_factory=list)
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    tasks: list[tuple[str, int]] = field(default_factory=list)
    index: list[tuple[int, int]] = field(default_factory=list)
    """Per sample: demonstration, and row among its kept steps."""

    def __len__(self) -> int:
        return len(self.index)

    def add(self, demonstration: Demonstration) -> None:
        """Take one demonstration in.

        Raises:
            DataError: it lacks a camera, or its shapes differ from those already here.
        """
        missing = [name for name in self.cameras if name not in demonstration.images]
        if missing:
            raise DataError(
                f"a demonstration of {demonstration.instruction!r} has cameras {sorted(demonstration.images)}; the "
                f"policy sees {list(self.cameras)}: {missing} is missing"
            )
        frames = np.stack([demonstration.images[name][:: self.keep_every] for name in self.cameras], axis=1)
        if self.images:
            for name, mine, theirs in (
                ("images", self.images[0].shape[2:], frames.shape[2:]),
                ("state", self.states[0].shape[1:], demonstration.state.shape[1:]),
                ("actions", self.actions[0].shape[1:], demonstration.actions.shape[1:]),
            ):
                if mine != theirs:
                    raise DataError(f"{name} of {demonstration.instruction!r} have shape {theirs}; others have {mine}")
        number = len(self.images)
        self.images.append(np.ascontiguousarray(frames))
        self.states.append(demonstration.state)
        self.actions.append(demonstration.actions)
        self.instructions.append(demonstration.instruction)
        self.tasks.append((demonstration.suite, demonstration.task))
        self.index.extend((number, row) for row in range(len(frames)))

    def extend(self, demonstrations: Iterable[Demonstration]) -> None:
        """Take all in."""
        for demonstration in demonstrations:
            self.add(demonstration)

    def batch(self, samples: Sequence[int] | NDArray[np.integer]) -> Batch:
        """The samples with these numbers."""
        rows = [self.index[int(sample)] for sample in samples]
        width = self.actions[0].shape[1]
        actions = np.zeros((len(rows), self.chunk, width), dtype=np.float32)
        mask = np.zeros((len(rows), self.chunk), dtype=bool)
        for i, (number, row) in enumerate(rows):
            step = row * self.keep_every
            following = self.actions[number][step : step + self.chunk]
            actions[i, : len(following)] = following
            mask[i, : len(following)] = True
        return Batch(
            images=np.stack([self.images[number][row] for number, row in rows]),
            state=np.stack([self.states[number][row * self.keep_every] for number, row in rows]),
            actions=actions,
            mask=mask,
            instructions=[self.instructions[number] for number, _ in rows],
        )

    def action_statistics(self, minimum_half_range: Sequence[float]) -> QuantileStatistics:
        """0.5 % and 99.5 % quantiles, widened to ``minimum_half_range``; the last entry (gripper) is [-1, 1]."""
        low, high = _quantiles(self.actions)
        low = np.minimum(low, -np.asarray(minimum_half_range))
        high = np.maximum(high, np.asarray(minimum_half_range))
        low[-1], high[-1] = -1.0, 1.0
        return QuantileStatistics(low=_numbers(low), high=_numbers(high), mask=(True,) * len(low))

    def state_statistics(self) -> QuantileStatistics:
        """0.5 % and 99.5 % quantiles of the proprioception."""
        low, high = _quantiles(self.states)
        return QuantileStatistics(low=_numbers(low), high=_numbers(high))


def _quantiles(arrays: list[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = np.quantile(np.concatenate(arrays).astype(np.float64), [0.005, 0.995], axis=0)
    return low, high


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Six decimals are plenty, and make a readable ``config.json``."""
    return tuple(round(float(value), 6) for value in values)


def augment(
    images: NDArray[np.uint8],
    generator: np.random.Generator,
    *,
    shift: Sequence[int],
    brightness: float,
) -> NDArray[np.float32]:
    """Shift each image by a few pixels and change its brightness.

    Args:
        images: ``uint8 [N, cameras, H, W, 3]``.
        generator: source of randomness.
        shift: largest shift per camera [pixels], each direction; borders are repeated.
        brightness: standard deviation of the gain, and of the offset as a share of a quarter of the range.

    Returns:
        ``float32 [N, cameras, H, W, 3]`` in 0..255.
    """
    count, cameras, height, width, _ = images.shape
    result = images.astype(np.float32)
    for camera in range(cameras):
        limit = shift[camera]
        if limit:
            moved = generator.integers(-limit, limit + 1, size=(count, 2))
            rows = np.clip(np.arange(height)[None] + moved[:, :1], 0, height - 1)
            columns = np.clip(np.arange(width)[None] + moved[:, 1:], 0, width - 1)
            result[:, camera] = images[np.arange(count)[:, None, None], camera, rows[:, :, None], columns[:, None, :]]
    if brightness:
        gain = 1.0 + brightness * generator.standard_normal((count, 1, 1, 1, 1), dtype=np.float32)
        offset = 64.0 * brightness * generator.standard_normal((count, 1, 1, 1, 1), dtype=np.float32)
        result = np.clip(result * gain + offset, 0.0, 255.0, out=result)
    return result
