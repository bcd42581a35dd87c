"""Surrogates: the loss of one unit (token, action, chunk or trajectory) as a function of its ratio and advantage.

``r`` is the ratio, ``l`` the log-probability, ``A`` the advantage, ``sg`` stops the gradient; all losses are minimised.

============= ================================================================= =====================================
part          loss of a unit                                                    source
============= ================================================================= =====================================
Clip          ``max(-A r, -A clip(r, 1 - low, 1 + high))``                      PPO arXiv 1707.06347; DAPO 2503.14476
Clip, dual c  where A < 0 at most ``-c A``                                      dual clip, arXiv 1912.09729
Unclipped     ``-A r``                                                          KL-Cov's base, arXiv 2505.22617
Cispo         ``-sg(clip(r, 1 - low, 1 + high)) A l``                           MiniMax-M1 arXiv 2506.13585
Sapo          ``-A sigmoid(t (r - 1)) 4 / t``, t by the sign of A               arXiv 2511.20347
Gradient      ``-A l``                                                          REINFORCE, GPG arXiv 2504.02546
============= ================================================================= =====================================

Surrogates over whole trajectories (FlowRL, PACS) are in ``vlarl.objectives.trajectory_surrogates``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vlarl.errors import ConfigError
from vlarl.objectives.ratios import Units


class Surrogate(Protocol):
    """A frozen dataclass."""

    def losses(self, units: Units) -> Tensor:
        """Loss of every unit, in the shape of ``units.log_ratio``."""
        ...

    def outside(self, ratio: Tensor) -> Tensor:
        """bool: units whose ratio has left the trusted range (a diagnostic)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Clip:
    """PPO's clipped ratio, with separate bounds and optionally a second one for negative advantages."""

    low: float = 0.2
    """Ratios below 1 - low stop pushing."""
    high: float = 0.2
    """Ratios above 1 + high stop pushing."""
    dual: float = 0.0
    """Where the advantage is negative, the loss is at most this many times its size; 0: no bound."""

    def __post_init__(self) -> None:
        if not 0 <= self.low < 1 or self.high < 0:
            raise ConfigError(f"clip range ({self.low}, {self.high}): expected 0 <= low < 1 and high >= 0")
        if self.dual and self.dual <= 1:
            raise ConfigError(f"dual clip {self.dual}: expected 0 (none) or more than 1")

    def losses(self, units: Units) -> Tensor:
        """Clipped surrogate."""
        ratio, advantage = units.log_ratio.exp(), units.advantage
        clipped = ratio.clamp(1.0 - self.low, 1.0 + self.high)
        losses = torch.maximum(-advantage * ratio, -advantage * clipped)
        if self.dual:
            losses = torch.where(advantage < 0, torch.minimum(losses, -advantage * self.dual), losses)
        return losses

    def outside(self, ratio: Tensor) -> Tensor:
        """Outside the clip range, whatever the advantage's sign."""
        return (ratio < 1.0 - self.low) | (ratio > 1.0 + self.high)


@dataclass(frozen=True, kw_only=True)
class Unclipped:
    """Importance-weighted policy gradient without any bound."""

    def losses(self, units: Units) -> Tensor:
        """``-A r``."""
        return -units.advantage * units.log_ratio.exp()

    def outside(self, ratio: Tensor) -> Tensor:
        """Nowhere."""
        return torch.zeros_like(ratio, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class Cispo:
    """Clipped importance weight without gradient, times the log-probability: clipped tokens still teach."""

    low: float = 0.2
    high: float = 0.28

    def losses(self, units: Units) -> Tensor:
        """``-sg(clip(r)) A l``."""
        weight = units.log_ratio.detach().exp().clamp(1.0 - self.low, 1.0 + self.high)
        return -weight * units.advantage * units.log_prob

    def outside(self, ratio: Tensor) -> Tensor:
        """Where the weight is clipped."""
        return (ratio < 1.0 - self.low) | (ratio > 1.0 + self.high)


@dataclass(frozen=True, kw_only=True)
class Sapo:
    """A smooth gate in place of the clip."""

    positive: float = 1.0
    """Temperature where the advantage is positive."""
    negative: float = 1.05
    """Temperature where it is not; larger falls off faster."""

    def losses(self, units: Units) -> Tensor:
        """``-A sigmoid(t (r - 1)) 4 / t``."""
        temperature = torch.where(units.advantage > 0, self.positive, self.negative)
        gate = torch.sigmoid(temperature * (units.log_ratio.exp() - 1.0)) * (4.0 / temperature)
        return -gate * units.advantage

    def outside(self, ratio: Tensor) -> Tensor:
        """Nowhere: the gate has no edge."""
        return torch.zeros_like(ratio, dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """The plain policy gradient."""

    def losses(self, units: Units) -> Tensor:
        """``-A l``."""
        return -units.advantage * units.log_prob

    def outside(self, ratio: Tensor) -> Tensor:
        """Nowhere."""
        return torch.zeros_like(ratio, dtype=torch.bool)
