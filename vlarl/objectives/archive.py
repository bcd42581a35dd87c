"""Episodes kept beyond their iteration: SPEAR's replay of good ones, and demonstrations for HPT and RL-PLUS.

Replay (SPEAR, arXiv 2509.22601): first in, first out; entries older than ``patience`` iterations are dropped; the
advantage is estimated anew as the return minus the median of recent iterations' mean returns, and only positive ones
are replayed; their losses are multiplied by ``(1 - cos(pi min(s, S) / S)) / 2`` at iteration s. Deviation: replayed
episodes share the mini-batches of fresh ones, upstream gives them a loss of their own.

Demonstrations (HPT, arXiv 2509.04419; RL-PLUS, arXiv 2508.00222) come from ``PolicyGradient.add_demonstrations``;
without any, the run's own successes take their place (our deviation: self-imitation in place of a teacher).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vlarl.objectives.ratios import Units
from vlarl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class Replay:
    """SPEAR's replay; ``capacity`` 0 turns it off."""

    capacity: int = 0
    """Episodes kept."""
    threshold: float = 0.0
    """Only episodes with a larger advantage are kept."""
    patience: int = 5
    """Iterations after which an entry is too old."""
    coefficient: float = 1.0
    """Weight of replayed episodes at the end of the ramp."""
    ramp: int = 300
    """Iterations until full weight."""

    def weight(self, iteration: int) -> float:
        """Factor of replayed losses."""
        return self.coefficient * (1.0 - math.cos(math.pi * min(iteration, self.ramp) / self.ramp)) / 2.0


def median_advantage(returns: Tensor, history: Sequence[float]) -> Tensor:
    """Returns minus the median of the mean returns of recent iterations."""
    return returns - float(torch.tensor(list(history), dtype=torch.float64).quantile(0.5))


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """How demonstrations enter; ``mode`` none turns them off."""

    mode: Literal["none", "hybrid", "external"] = "none"
    """``hybrid`` (HPT): groups with at most ``gate`` successes are replaced by imitating a demonstration of the same
    start; ``external`` (RL-PLUS): demonstrations join their group as samples of another policy."""
    gate: int = 0
    """Successes up to which a group counts as failed."""
    coefficient: float = 1.0
    """Weight of imitation in ``hybrid``."""
    exponent: float = 0.5
    """Power of ``1 - p`` in ``external``: unlikely right actions teach more."""
    capacity: int = 256
    """Own successes kept where no demonstrations were given."""

    def losses(self, units: Units) -> Tensor:
        """Loss of every unit if it were of a demonstration."""
        if self.mode == "hybrid":
            return -self.coefficient * units.log_prob
        return external_losses(units.log_prob, units.log_prob - units.log_ratio, units.advantage, self.exponent)


def external_losses(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, exponent: float) -> Tensor:
    """RL-PLUS on samples of an unknown policy, per token.

    ``r = 2 p / (p_old + w)`` with ``w = (p_old + 1) / 2``, the mean of old policy and "surely this";
    loss ``-r A (1 - sg p)^exponent``, unclipped.
    """
    probability, old = log_prob.exp(), old_log_prob.detach().exp()
    ratio = 2.0 * probability / (old + 0.5 * (old + 1.0))
    return -ratio * advantage * (1.0 - probability.detach()).clamp(min=0.0) ** exponent


class Archive:
    """Episodes in order of arrival, each with the iteration it came from; saved with the run."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.batch: RolloutBatch | None = None
        self.born: list[int] = []

    def __len__(self) -> int:
        return len(self.born)

    def add(self, batch: RolloutBatch, iteration: int) -> None:
        """Append episodes; the oldest make room."""
        if not len(batch):
            return
        self.batch = batch if self.batch is None else concatenate([self.batch, batch])
        self.born += [iteration] * len(batch)
        self._keep(list(range(max(0, len(self.born) - self.capacity), len(self.born))))

    def drop_older(self, iteration: int) -> None:
        """Forget what is older than this iteration."""
        self._keep([row for row, born in enumerate(self.born) if born >= iteration])

    def _keep(self, rows: list[int]) -> None:
        if self.batch is not None and len(rows) < len(self.born):
            self.batch = self.batch.select(rows)
            self.born = [self.born[row] for row in rows]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        content = {} if self.batch is None else {f.name: getattr(self.batch, f.name) for f in fields(self.batch)}
        return {"born": list(self.born), "batch": content}

    def load(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken."""
        self.born = list(state["born"])
        self.batch = RolloutBatch(**state["batch"]) if state["batch"] else None


def concatenate(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Batches one after the other, padded to the deepest; a field or column that one lacks is dropped."""
    depth = max(batch.decision_mask.shape[1] for batch in batches)

    def join(values: Sequence[Any], name: str) -> Any:
        if any(value is None for value in values):
            return None
        if isinstance(values[0], dict):
            shared = [key for key in values[0] if all(key in value for value in values)]
            return {key: join([value[key] for value in values], name) for key in shared}
        if not isinstance(values[0], Tensor):
            return values[0]
        if name in ("returns", "succeeded", "groups", "truncated", "starts", "inputs", "final_inputs"):
            return torch.cat(list(values))
        return torch.cat([F.pad(v, (0, 0) * (v.dim() - 2) + (0, depth - v.shape[1])) for v in values])

    names = [f.name for f in fields(RolloutBatch)]
    return RolloutBatch(**{name: join([getattr(batch, name) for batch in batches], name) for name in names})
