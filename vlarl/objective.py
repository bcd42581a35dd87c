"""An objective turns a batch into advantages, and log-probabilities into a loss.

An objective that is also a ``torch.nn.Module`` may own networks (a critic): its parameters are trained beside the
policy's and its ``state_dict`` is saved and restored with the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from vlarl.policy import TorchPolicy
from vlarl.types import RolloutBatch


@dataclass(slots=True)
class Decisions:
    """The decisions of a mini-batch, or a slice of them; N decisions of any trajectories."""

    old_log_probs: Tensor
    """``float32 [N, C, T]``"""
    advantages: Tensor
    """``float32 [N, C, T]``"""
    mask: Tensor
    """``bool [N, C, T]``: the token's control step was executed."""
    weights: Tensor
    """``float32 [N, ...]``: what ``token_weights`` gave."""
    rows: Tensor
    """``int64 [N]``: which trajectory of the mini-batch a decision belongs to."""
    inputs: dict[str, Tensor]
    """Each ``[N, ...]``: inputs of ``Policy.evaluate``; with ``places`` more than these, of which they are a choice."""
    columns: dict[str, Tensor]
    """Each ``[N, ...]``: ``RolloutBatch.columns``."""
    places: Tensor | None = None
    """``int64 [N]``: which rows of ``inputs`` are meant; a slice holds its own alone, so that only they are copied."""

    @classmethod
    def of(cls, batch: RolloutBatch, weights: Tensor, places: Tensor | None = None) -> Decisions:
        """Every decision of ``batch`` that took place, trajectory by trajectory; ``places`` as the attribute."""
        assert batch.advantages is not None
        valid = batch.decision_mask
        return cls(
            old_log_probs=batch.old_log_probs[valid],
            advantages=batch.advantages[valid],
            mask=batch.token_mask[valid],
            weights=weights[valid],
            rows=valid.nonzero()[:, 0],
            inputs=batch.inputs,
            columns={name: value[valid] for name, value in batch.columns.items()},
            places=places,
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, piece: slice) -> Decisions:
        chosen = piece if self.places is None else self.places[piece]
        return Decisions(
            self.old_log_probs[piece],
            self.advantages[piece],
            self.mask[piece],
            self.weights[piece],
            self.rows[piece],
            {name: value[chosen] for name, value in self.inputs.items()},
            {name: value[piece] for name, value in self.columns.items()},
        )


@dataclass(slots=True)
class LossOutput:
    """Loss and diagnostics of one micro-batch, all of them sums that add up over micro-batches."""

    loss: Tensor
    """Scalar; the weights already hold the mini-batch's denominators."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Diagnostic name -> sum over what the ratio is formed of (tokens, actions, ...); ``tokens`` is their number."""


class Objective(Protocol):
    """Once per run (``attach``), once per iteration (``prepare``), once per mini-batch and micro-batch."""

    whole_minibatch: bool
    """Whether ``loss`` must see all decisions of a mini-batch at once (trajectory ratios, batch statistics): costs a
    second forward pass wherever a mini-batch is larger than a micro-batch."""
    bootstraps: bool
    """Whether ``RolloutBatch.final_inputs`` is needed."""

    def attach(self, policy: TorchPolicy, seed: int = 0) -> None:
        """Meet the policy before training: refuse one that does not fit, keep a frozen copy, ...

        ``seed`` is that of the initial weights of the objective's own networks.
        """
        ...

    def prepare(self, batch: RolloutBatch) -> tuple[RolloutBatch, dict[str, float]]:
        """Drop what must not be learned from and set ``advantages``; also returns metrics.

        The returned batch may be empty (``len(batch) == 0``): then the iteration updates nothing.
        """
        ...

    def token_weights(self, batch: RolloutBatch) -> Tensor:
        """``float32 [B, D, ...]``: share of each token (action, chunk) in the mini-batch's loss; 0 where masked."""
        ...

    def loss(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions) -> LossOutput:
        """Loss of some decisions; ``log_probs`` and ``entropies`` are ``float32 [N, C, T]`` and carry gradients."""
        ...


class ObjectiveConfig(Protocol):
    """A frozen dataclass that builds an objective."""

    def build(self) -> Objective:
        """Build it."""
        ...
