"""Masks: which units' losses are changed or left out, beyond what the surrogate's own clip does.

What was never executed is no matter of theirs: ``RolloutBatch.token_mask``, made in one place, is applied before.

=============== ======================================================================= ==============================
part            factor of a unit's loss                                                 source
=============== ======================================================================= ==============================
CovarianceClip  0 for a share of those with ``(A - mean A)(l - mean l)`` in [low, high] Clip-Cov arXiv 2505.22617
StaleWeight     ``pi_prox / pi_behaviour``, 0 or clamped beyond a limit                 AReaL arXiv 2505.24298
PositiveShare   a constant where A > 0                                                  RLVR-Decomposed 2506.01347
=============== ======================================================================= ==============================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from vlarl.errors import ConfigError
from vlarl.objectives.ratios import Units


class Mask(Protocol):
    """A frozen dataclass."""

    whole_minibatch: bool
    """Whether it needs statistics of the mini-batch."""
    needs_proximal: bool
    """Whether it needs the log-probabilities of the policy that this iteration's updates started from."""

    def factors(self, units: Units, clipped: Tensor) -> Tensor:
        """Factor of every unit's loss; carries no gradient. ``clipped bool``: the surrogate stopped there already."""
        ...


def covariance(units: Units) -> Tensor:
    """``(A - mean A)(l - mean l)`` of every unit, means over all units that count; no gradient."""
    log_prob, advantage = units.log_prob.detach(), units.advantage
    count = units.mask.sum().clamp(min=1)
    centred = [v - torch.where(units.mask, v, 0.0).sum() / count for v in (advantage, log_prob)]
    return centred[0] * centred[1]


@dataclass(frozen=True, kw_only=True)
class CovarianceClip:
    """Clip-Cov: takes some of the units that drive entropy down out of the loss.

    Deviation: upstream draws among the candidates at random; here they are taken at even distances in the mini-batch's
    order, which is itself a random permutation of episodes. So a run repeats bit for bit.
    """

    share: float = 2e-4
    """Units taken out, as a share of all units (at least one, if there is a candidate)."""
    low: float = 1.0
    """Candidates have a larger covariance than this ..."""
    high: float = 5.0
    """... and a smaller one than this."""

    whole_minibatch = True
    needs_proximal = False

    def factors(self, units: Units, clipped: Tensor) -> Tensor:
        """0 for what is taken out, 1 for the rest."""
        values = covariance(units)
        candidates = (units.mask & ~clipped & (values > self.low) & (values < self.high)).flatten().nonzero()[:, 0]
        number = min(max(int(self.share * int(units.mask.sum())), 1), len(candidates))
        factors = torch.ones(values.numel(), dtype=values.dtype)
        if number:
            factors[candidates[torch.arange(number) * len(candidates) // number]] = 0.0
        return factors.view_as(values)


@dataclass(frozen=True, kw_only=True)
class StaleWeight:
    """AReaL's decoupled PPO: ``L = (pi_prox / pi_behaviour) max(-A u, -A clip(u))`` with ``u = pi / pi_prox``.

    The proximal policy is the one that this iteration's updates start from; the behaviour policy may be older
    (asynchronous workers, replay). Masked units still count in the denominator.
    """

    limit: float = 0.0
    """Largest weight; 0: no bound."""
    beyond: Literal["mask", "clamp"] = "mask"
    """What happens beyond the limit: the unit is left out, or its weight is the limit."""
    proximal: Literal["recompute", "log_linear"] = "recompute"
    """``recompute``: a forward pass before the first update; ``log_linear``: interpolated between behaviour and
    current policy by their versions (no pass, and the target moves)."""

    whole_minibatch = False
    needs_proximal = True

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ConfigError(f"limit of the staleness weight is {self.limit}; expected 0 (none) or more")

    def factors(self, units: Units, clipped: Tensor) -> Tensor:
        """The weight."""
        weight = units.columns["stale_log_ratio"].exp()
        if self.limit and self.beyond == "mask":
            return weight * (weight <= self.limit)
        return weight.clamp(max=self.limit) if self.limit else weight


def log_linear_proximal(new: Tensor, behaviour: Tensor, new_version: Tensor, behaviour_version: Tensor) -> Tensor:
    """AReaL's approximation of the proximal log-probability, one version before the current one.

    ``l_b + (v - 1 - v_b) / (v - v_b) (l - l_b)``; where nothing is stale (``v = v_b``) it is ``l_b``.
    """
    gap = (new_version - behaviour_version).to(new.dtype)
    share = torch.where(gap > 0, (gap - 1.0) / gap.clamp(min=1.0), 0.0)
    return behaviour + share * (new - behaviour)


@dataclass(frozen=True, kw_only=True)
class PositiveShare:
    """Scale the loss of units with a positive advantage (``positive_learning_weight`` of RLVR-Decomposed)."""

    weight: float = 1.0

    whole_minibatch = False
    needs_proximal = False

    def factors(self, units: Units, clipped: Tensor) -> Tensor:
        """``weight`` where A > 0, else 1."""
        return torch.where(units.advantage > 0, self.weight, 1.0)
