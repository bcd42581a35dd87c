"""Mean and variance of everything seen so far."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and variance over everything seen so far (Chan's parallel formula); saved with its owner.

    Args:
        size: number of columns.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))
        self.register_buffer("count", torch.tensor(0.0, dtype=torch.float64))

    @torch.no_grad()
    def update(self, rows: Tensor) -> None:
        """Take in ``rows float32 [N, size]``."""
        number, mean, variance = len(rows), rows.mean(0), rows.var(0, correction=0)
        total = self.count + number
        delta = mean - self.mean
        spread = self.variance * self.count + variance * number + delta**2 * (self.count * number / total)
        self.mean += (delta * (number / total)).to(self.mean.dtype)
        self.variance.copy_(spread / total)
        self.count.copy_(total)

    def normalise(self, values: Tensor) -> Tensor:
        """Mean 0, deviation 1; at most 10 deviations off."""
        return ((values - self.mean) / torch.sqrt(self.variance + 1e-8)).clamp(-10.0, 10.0)

    def normalise_row(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same bits for one row ``[size]``, by numpy, whose calls cost least."""
        deviation = np.sqrt(self.variance.numpy() + np.float32(1e-8))
        return np.clip((values - self.mean.numpy()) / deviation, -10.0, 10.0)
