"""Bird's-eye views with their channels last, as convolutions on a CPU like them best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel

WORD = 8
"""Pixels that are looked at together: most of most channels is empty."""


@kernel
def interleave(words: NDArray[np.uint64], planes: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Some worlds' views with their channels last.

    Args:
        words: the memory of ``planes``, ``uint64 [N, C, pixels / 8]``.
        planes: ``uint8 [N, C, pixels]``.
        rows: ``[M]`` which worlds.

    Returns:
        ``uint8 [M, pixels, C]``.
    """
    channels, pixels = planes.shape[1], planes.shape[2]
    out = np.zeros((len(rows), pixels, channels), np.uint8)
    for m in range(len(rows)):
        for c in range(channels):
            for word in range(pixels // WORD):
                if words[rows[m], c, word] != 0:
                    for i in range(word * WORD, (word + 1) * WORD):
                        out[m, i, c] = planes[rows[m], c, i]
    return out


def channels_last(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``uint8 [M, H, W, C]`` of the worlds ``rows [M]`` from ``images uint8 [N, C, H, W]``, H x W divisible by 8."""
    count, channels, height, width = images.shape
    planes = images.reshape(count, channels, height * width)
    return interleave(planes.view(np.uint64), planes, rows).reshape(len(rows), height, width, channels)
