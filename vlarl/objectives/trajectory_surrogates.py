"""Surrogates over whole trajectories: FlowRL's trajectory balance and PACS's implicit classifier.

FlowRL (arXiv 2509.15207)::

    delta_i = log Z(x_i) + mean_t l - mean_t l_ref - beta A_i        loss_i = w_i delta_i^2

with ``Z`` a small head on what the policy sees first, ``l_ref`` the policy before training and ``w`` the product of the
trajectory's ratios, without gradient. As coded upstream ``w`` is used unclipped although a clipped one is computed; a
product over hundreds of tokens is unusable then, so ``weight_limit`` (ours) clips it: 1.2 by default, ``inf`` is as
coded.

PACS (arXiv 2509.02522)::

    s_i = beta sum_t (l - l_old),  psi_i = s_i - mean of s over the group's others
    loss_i = BCE(sigmoid(psi_i), success_i)

Deviation: the group is what of it lies in the mini-batch; an episode without sibling there has the baseline 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vlarl.errors import NotFiniteError
from vlarl.objectives.ratios import Units


@dataclass(frozen=True, kw_only=True)
class TrajectoryBalance:
    """FlowRL: make the policy proportional to ``pi_ref exp(beta A)``."""

    beta: float = 15.0
    """Inverse temperature of the advantage."""
    weight_limit: float = 1.2
    """Bound of the trajectory's importance weight; ``inf``: none, as coded upstream."""

    needs_reference = True
    needs_partition = True

    def losses(self, units: Units) -> Tensor:
        """``w (log Z + l - l_ref - beta A)^2``; units are trajectories with summed log-probabilities."""
        columns = units.columns
        mean = (units.log_prob - columns["reference_log_probs"]) / columns["tokens"].clamp(min=1)
        delta = columns["log_partition"] + mean - self.beta * units.advantage
        weight = units.log_ratio.detach().exp()
        if math.isinf(self.weight_limit) and not torch.isfinite(weight).all():
            raise NotFiniteError("a trajectory's ratio overflows; set --objective.surrogate.weight-limit 1.2")
        return weight.clamp(max=self.weight_limit) * delta**2

    def outside(self, ratio: Tensor) -> Tensor:
        """Where the weight is clipped."""
        return ratio > self.weight_limit


@dataclass(frozen=True, kw_only=True)
class ImplicitClassifier:
    """PACS: the log-ratio of an episode, compared with its siblings', predicts whether it succeeds."""

    beta: float = 1.0
    """Scale of the log-ratio."""
    balanced: bool = False
    """Weigh both classes so that each has half of the mini-batch."""

    needs_outcome = True

    def losses(self, units: Units) -> Tensor:
        """Binary cross-entropy with logits; units are trajectories with summed log-ratios."""
        success = units.columns["succeeded"]
        psi = leave_one_out(self.beta * units.log_ratio, units.columns["groups"])
        losses = F.binary_cross_entropy_with_logits(psi, success, reduction="none")
        return losses * balance(success) if self.balanced else losses

    def outside(self, ratio: Tensor) -> Tensor:
        """Nowhere: the gradient of the cross-entropy is bounded."""
        return torch.zeros_like(ratio, dtype=torch.bool)


def leave_one_out(scores: Tensor, groups: Tensor) -> Tensor:
    """``[R]`` scores minus the mean of the others in their group; unchanged for an episode alone in its group."""
    same = (groups[:, None] == groups[None, :]).to(scores.dtype)
    others = same.sum(1) - 1.0
    return scores - (same @ scores - scores) / others.clamp(min=1.0) * (others > 0)


def balance(labels: Tensor) -> Tensor:
    """``[R]`` weights ``n / (2 n_class)`` of 0/1 labels; 1 where only one class is there."""
    positive, number = labels.sum(), len(labels)
    if positive == 0 or positive == number:
        return torch.ones_like(labels)
    return torch.where(labels > 0.5, number / (2 * positive), number / (2 * (number - positive)))
