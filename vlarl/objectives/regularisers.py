"""Regularisers: terms added to the loss.

============ ================================================================================== ==================
part         term                                                                               source
============ ================================================================================== ==================
Kl           ``c KL(pi || pi_ref)`` by k1, k2 or k3 per token; reference: the policy at the start Schulman 2020
Entropy      ``-c H(pi)``
CovarianceKl ``c |l - l_old|`` on the share of units with the largest covariance of A and l     KL-Cov 2505.22617
============ ================================================================================== ==================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from vlarl.objective import Decisions
from vlarl.objectives.masks import covariance
from vlarl.objectives.ratios import Units, token_shares


class Regulariser(Protocol):
    """A frozen dataclass."""

    whole_minibatch: bool
    needs_reference: bool
    """Whether it needs the log-probabilities of the policy before training."""

    def penalty(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions, units: Units) -> Tensor:
        """Scalar; adds up over micro-batches."""
        ...


def kl_estimate(kind: str, log_probs: Tensor, reference: Tensor) -> Tensor:
    """Per-token estimate of ``KL(pi || pi_ref)`` from samples of ``pi``.

    k1 ``l - l_ref`` (unbiased, any sign), k2 ``(l - l_ref)^2 / 2``, k3 ``exp(l_ref - l) - 1 - (l_ref - l)``
    (unbiased, never negative). As in verl, k3 is kept in [-10, 10] and its exponent in [-20, 20].
    """
    difference = log_probs - reference
    if kind == "k1":
        return difference
    if kind == "k2":
        return 0.5 * difference**2
    exponent = (-difference).clamp(-20.0, 20.0)
    return (exponent.exp() - exponent - 1.0).clamp(-10.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Kl:
    """Stay near the policy that training started from."""

    coefficient: float = 0.01
    kind: Literal["k1", "k2", "k3"] = "k3"

    whole_minibatch = False
    needs_reference = True

    def penalty(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions, units: Units) -> Tensor:
        """Weighted mean over tokens."""
        values = kl_estimate(self.kind, log_probs, decisions.columns["reference_log_probs"])
        return self.coefficient * (torch.where(decisions.mask, values, 0.0) * token_shares(decisions)).sum()


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Stay random."""

    coefficient: float = 0.01

    whole_minibatch = False
    needs_reference = False

    def penalty(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions, units: Units) -> Tensor:
        """Weighted mean over tokens."""
        return -self.coefficient * (torch.where(decisions.mask, entropies, 0.0) * token_shares(decisions)).sum()


@dataclass(frozen=True, kw_only=True)
class CovarianceKl:
    """KL-Cov: hold back the units that drive entropy down."""

    share: float = 0.002
    """Units that are held back, as a share of all (at least one)."""
    coefficient: float = 1.0

    whole_minibatch = True
    needs_reference = False

    def penalty(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions, units: Units) -> Tensor:
        """``c |log r|`` of the chosen units, with their weights."""
        values = torch.where(units.mask, covariance(units), -torch.inf).flatten()
        count = int(units.mask.sum())
        chosen = torch.topk(values, min(max(1, int(count * self.share)), count)).indices
        return self.coefficient * (units.log_ratio.abs() * units.weights).flatten()[chosen].sum()
