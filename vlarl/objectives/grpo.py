"""Trajectory-level GRPO with token ratios.

``A_i = (R_i - mean_g) / (std_g + eps)`` over the episodes g of one (task, initial state), constant over the
episode's tokens; ``L = mean_i mean_t max(-A r, -A clip(r, 1 - low, 1 + high))`` with the ratio r of each
action token (DeepSeekMath arXiv 2402.03300; asymmetric clip and dynamic sampling from DAPO arXiv
2503.14476; trajectory form and constants from SimpleVLA-RL arXiv 2509.09674).

Deviations: none in the formulas with ``credit="trajectory"``; ``credit="decision"`` spreads the same advantage over
an episode's decisions. The standard deviation is the unbiased one (n - 1) and the mean over an
episode's tokens counts executed actions only, as SimpleVLA-RL codes it. No KL term and no entropy bonus,
hence no reference model.

Usage: ``GrpoConfig(clip_high=0.28).build()``; ``simplevla()`` is the published recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vlarl.objective import LossOutput
from vlarl.objectives.credit import decision_advantages
from vlarl.types import RolloutBatch


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

    def build(self) -> Grpo:
        """Build the objective."""
        return Grpo(self)


def simplevla() -> GrpoConfig:
    """SimpleVLA-RL's constants (``examples/run_openvla_oft_rl_libero.sh``)."""
    return GrpoConfig(clip_low=0.2, clip_high=0.28, keep_low=0.1, keep_high=0.9, epsilon=1e-6)


class Grpo:
    """The objective itself; holds no state."""

    def __init__(self, config: GrpoConfig) -> None:
        self.config = config

    def prepare(self, batch: RolloutBatch) -> tuple[RolloutBatch, dict[str, float]]:
        """Keep groups with success in [keep_low, keep_high] and give their episodes group-normalised advantages.

        A group of one episode (its siblings were simulator errors) has nothing to compare with and is dropped.
        """
        rows: list[int] = []
        values: list[float] = []
        groups = batch.groups.unique().tolist()
        kept = 0
        for group in groups:
            members = (batch.groups == group).nonzero()[:, 0]
            returns = batch.returns[members]
            share = float(batch.succeeded[members].float().mean())
            if len(members) < 2 or not self.config.keep_low <= share <= self.config.keep_high:
                continue
            kept += 1
            rows += members.tolist()
            values += ((returns - returns.mean()) / (returns.std() + self.config.epsilon)).tolist()
        chosen = batch.select(rows)
        advantages = torch.tensor(values, dtype=torch.float32)
        metrics = {"groups_kept": float(kept), "groups_total": float(len(groups))}
        per_decision = advantages[:, None].expand(chosen.decision_mask.shape)
        if self.config.credit == "decision" and rows:
            per_decision = decision_advantages(
                chosen, advantages, decay=self.config.credit_decay, ridge=self.config.credit_ridge
            )
            taken = per_decision[chosen.decision_mask]
            metrics["advantage_spread"] = float(taken.std())
            per_decision = per_decision / (taken.std() + self.config.epsilon)
        chosen.advantages = per_decision[:, :, None, None] * chosen.token_mask
        return chosen, metrics

    def token_weights(self, batch: RolloutBatch) -> Tensor:
        """Mean over an episode's executed tokens, then over the mini-batch's episodes."""
        mask = batch.token_mask.float()
        tokens = mask.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1.0)
        return mask / tokens / max(len(batch), 1)

    def loss(
        self, log_probs: Tensor, entropies: Tensor, old_log_probs: Tensor, advantages: Tensor, weights: Tensor
    ) -> LossOutput:
        """Clipped surrogate, weighted."""
        log_ratio = log_probs - old_log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - self.config.clip_low, 1.0 + self.config.clip_high)
        per_token = torch.maximum(-advantages * ratio, -advantages * clipped)
        loss = (per_token * weights).sum()
        with torch.no_grad():
            mask = (weights > 0).float()
            outside = (ratio < 1.0 - self.config.clip_low) | (ratio > 1.0 + self.config.clip_high)
            sums = {
                "tokens": mask.sum(),
                "approx_kl": ((ratio - 1.0 - log_ratio) * mask).sum(),  # k3, never negative
                "clipfrac": (outside.float() * mask).sum(),
                "entropy": (entropies.detach() * mask).sum(),
                "ratio": (ratio * mask).sum(),
            }
        return LossOutput(loss, sums)
