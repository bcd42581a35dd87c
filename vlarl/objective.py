"""An objective turns a batch into advantages, and log-probabilities into a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from vlarl.types import RolloutBatch


@dataclass(slots=True)
class LossOutput:
    """Loss and diagnostics of one micro-batch, all of them sums that add up over micro-batches."""

    loss: Tensor
    """Scalar; the weights already hold the mini-batch's denominators."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Diagnostic name -> sum over the micro-batch's valid tokens."""


class Objective(Protocol):
    """Two steps: once per iteration (``prepare``), once per micro-batch (``loss``)."""

    def prepare(self, batch: RolloutBatch) -> tuple[RolloutBatch, dict[str, float]]:
        """Drop what must not be learned from and set ``advantages``; also returns metrics.

        The returned batch may be empty (``len(batch) == 0``): then the iteration updates nothing.
        """
        ...

    def token_weights(self, batch: RolloutBatch) -> Tensor:
        """``float32 [B, D, C, T]``: share of each token in the mini-batch's loss; 0 where masked, sums to 1."""
        ...

    def loss(
        self, log_probs: Tensor, entropies: Tensor, old_log_probs: Tensor, advantages: Tensor, weights: Tensor
    ) -> LossOutput:
        """Loss of one micro-batch; every argument ``float32 [N, C, T]``, N decisions of any trajectories."""
        ...


class ObjectiveConfig(Protocol):
    """A frozen dataclass that builds an objective."""

    def build(self) -> Objective:
        """Build it."""
        ...
