"""Trajectory-level GRPO with token ratios.

``A_i = (R_i - mean_g) / (std_g + eps)`` over the episodes g of one (task, initial state), constant over the
episode's tokens; ``L = mean_i mean_t max(-A r, -A clip(r, 1 - low, 1 + high))`` with the ratio r of each
action token (DeepSeekMath arXiv 2402.03300; asymmetric clip and dynamic sampling from DAPO arXiv
2503.14476; trajectory form and constants from SimpleVLA-RL arXiv 2509.09674).

Deviations: none in the formulas with ``credit="trajectory"``; ``credit="decision"`` spreads the same advantage over
an episode's decisions. The standard deviation is the unbiased one (n - 1) and the mean over an
episode's tokens counts executed actions only, as SimpleVLA-RL codes it. No KL term and no entropy bonus,
hence no reference model.

Usage: ``GrpoConfig(clip_high=0.28).build()``; ``simplevla()`` is the published recipe. It is a choice of the parts in
``vlarl.objectives.policy_gradient`` with few flags; the others are in ``vlarl/objectives/presets``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vlarl.objectives.advantages import Advantage, GroupRelative, OverDecisions
from vlarl.objectives.data_rules import GroupFilter
from vlarl.objectives.policy_gradient import PolicyGradient, PolicyGradientConfig
from vlarl.objectives.surrogates import Clip


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """Constants of GRPO."""

    clip_low: float = 0.2
    """Ratios below 1 - clip_low stop pushing."""
    clip_high: float = 0.28
    """Ratios above 1 + clip_high stop pushing."""
    keep_low: float = 0.1
    """Groups whose mean success is below this teach nothing and are dropped."""
    keep_high: float = 0.9
    """Groups whose mean success is above this are dropped."""
    epsilon: float = 1e-6
    """Added to the group's standard deviation."""
    credit: Literal["trajectory", "decision"] = "trajectory"
    """``trajectory``: every token of an episode gets its advantage (published GRPO); ``decision``: a fitted value
    hands it out over decisions, see ``vlarl.objectives.credit``."""
    credit_decay: float = 0.8
    """Lambda of the estimator that hands credit out."""
    credit_ridge: float = 100.0
    """Penalty of the fitted value."""

    def parts(self) -> PolicyGradientConfig:
        """The same as a choice of parts."""
        advantage: Advantage = GroupRelative(epsilon=self.epsilon)
        if self.credit == "decision":
            advantage = OverDecisions(
                episode=advantage, decay=self.credit_decay, ridge=self.credit_ridge, epsilon=self.epsilon
            )
        return PolicyGradientConfig(
            groups=GroupFilter(low=self.keep_low, high=self.keep_high),
            advantage=advantage,
            surrogate=Clip(low=self.clip_low, high=self.clip_high),
        )

    def build(self) -> PolicyGradient:
        """Build the objective."""
        return self.parts().build()


def simplevla() -> GrpoConfig:
    """SimpleVLA-RL's constants (``examples/run_openvla_oft_rl_libero.sh``)."""
    return GrpoConfig(clip_low=0.2, clip_high=0.28, keep_low=0.1, keep_high=0.9, epsilon=1e-6)
