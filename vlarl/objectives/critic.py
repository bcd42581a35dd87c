"""The critic: a value network, generalised advantage estimation at chunk granularity, and the value loss.

For decision d with executed steps n, reward ``R_d`` and ``gamma_d = discount^n``::

    delta_d = R_d + gamma_d V_{d+1} - V_d,    A_d = delta_d + gamma_d decay A_{d+1},    return_d = A_d + V_d

(Schulman et al., arXiv 1506.02438; the chunk form as in RLinf's ``chunk_level``). ``V`` after the last decision is 0
where the episode ended (success, failure) and the critic's value of the next observation where a time limit cut it
off. Nothing is carried from one episode to the next.

Value loss: ``c max(d(v, R), d(clip(v, v_old - clip, v_old + clip), R)) / 2`` with d the squared error, or Huber's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlarl.errors import ConfigError
from vlarl.nn.running_moments import RunningMoments
from vlarl.objective import Decisions
from vlarl.objectives.ratios import token_shares
from vlarl.types import RolloutBatch


class Valued(Protocol):
    """A policy with a value head."""

    def values(self, inputs: dict[str, Tensor], *, head_only: bool = False) -> Tensor:
        """Value ``float32 [N]`` of what ``evaluate`` takes; ``head_only``: no gradient to layers that actions use."""
        ...


@dataclass(frozen=True, kw_only=True)
class Gae:
    """Generalised advantage estimation; needs a critic."""

    discount: float = 0.99
    """Per control step."""
    decay: float = 0.95
    """Lambda, per decision."""
    normalise: bool = True
    """Bring the batch's advantages to mean 0 and deviation 1 (over decisions)."""
    epsilon: float = 1e-8

    needs_critic = True

    def estimate(self, batch: RolloutBatch) -> tuple[Tensor, dict[str, float]]:
        """``float32 [B, D]`` from ``batch.columns['values']`` and, where truncated, ``['final_values']``."""
        advantages = self.raw(batch)
        batch.columns["returns"] = (advantages + batch.columns["values"]) * batch.decision_mask
        if self.normalise:
            taken = advantages[batch.decision_mask]
            deviation = taken.std() if len(taken) > 1 else taken.new_ones(())
            advantages = (advantages - taken.mean()) / (deviation + self.epsilon) * batch.decision_mask
        return advantages, {}

    def raw(self, batch: RolloutBatch) -> Tensor:
        """Advantages before normalisation ``float32 [B, D]``, 0 where padded."""
        assert batch.rewards is not None
        mask, values = batch.decision_mask, batch.columns["values"]
        steps = batch.token_mask[..., 0].sum(-1)
        gamma = self.discount ** steps.float()
        following = torch.cat((values[:, 1:], torch.zeros_like(values[:, :1])), dim=1)
        row, last = torch.arange(len(batch)), mask.sum(1) - 1
        following[row, last] = batch.columns["final_values"][row, last]
        worst = batch.columns.pop("uncertainty", torch.zeros_like(values))
        delta = (batch.rewards - worst + gamma * following - values) * mask
        advantages, running = torch.zeros_like(delta), torch.zeros_like(delta[:, 0])
        for step in reversed(range(delta.shape[1])):
            running = (delta[:, step] + gamma[:, step] * self.decay * running) * mask[:, step]
            advantages[:, step] = running
        return advantages


@dataclass(frozen=True, kw_only=True)
class Critic:
    """A value network and how it learns."""

    source: Literal["separate", "policy", "none"] = "separate"
    """``separate``: an MLP of its own over the policy's pooled inputs; ``policy``: the policy's own ``values``;
    ``none``: no critic."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the separate network's tanh layers."""
    coefficient: float = 0.5
    """Weight of the value loss."""
    clip: float = 0.0
    """Values may move this far per iteration (in normalised units where returns are normalised); 0: no clipping."""
    huber: float = 0.0
    """Above this error the loss grows linearly; 0: squared error everywhere."""
    warmup_iterations: int = 0
    """Iterations at the start in which only the critic learns."""
    normalise_returns: bool = False
    """Learn values in units of the returns' running mean and deviation."""
    rate_scale: float = 1.0
    """Learning rate of the separate network relative to the policy's."""
    uncertainty: float = 0.0
    """Robustness to other dynamics by RNAC's IPM set (arXiv 2307.08875): this times the norm of the separate network's
    weights is taken off every decision's reward in the advantages; 0: none. RNAC's Hopper: 1e-5."""

    def loss(self, values: Tensor, old_values: Tensor, returns: Tensor) -> Tensor:
        """Per decision ``float32 [N]``, without the coefficient."""
        losses = self._distance(values, returns)
        if self.clip:
            kept = old_values + (values - old_values).clamp(-self.clip, self.clip)
            losses = torch.maximum(losses, self._distance(kept, returns))
        return losses

    def _distance(self, values: Tensor, returns: Tensor) -> Tensor:
        if self.huber:
            return F.huber_loss(values, returns, reduction="none", delta=self.huber)
        return 0.5 * (values - returns) ** 2


class InputNetwork(nn.Module):
    """An MLP from a policy's inputs to one number: a separate critic, or FlowRL's partition function.

    Floating-point inputs are averaged over their tokens and normalised by running moments; frozen features of a large
    policy and the plain state of a small one both fit.

    Args:
        size: of the pooled inputs.
        hidden: widths of the tanh layers.
        seed: of the initial weights.
    """

    def __init__(self, size: int, hidden: tuple[int, ...], seed: int = 0) -> None:
        super().__init__()
        self.moments = RunningMoments(size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for width in hidden:
                linear = nn.Linear(size, width)
                nn.init.orthogonal_(linear.weight, 2**0.5)
                nn.init.zeros_(linear.bias)
                layers += [linear, nn.Tanh()]
                size = width
            last = nn.Linear(size, 1)
            nn.init.orthogonal_(last.weight, 1.0)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """``float32 [N]``."""
        return self.layers(self.moments.normalise(pooled(inputs))).squeeze(-1)


class ValueFunction(nn.Module):
    """Predicts values and learns them, in units of the reward or of the returns' running moments.

    Args:
        config: where values come from and how they are learned.
    """

    units: Tensor

    def __init__(self, config: Critic) -> None:
        super().__init__()
        self.config = config
        self.network: InputNetwork | None = None
        self.register_buffer("units", torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))  # mean, deviation, count
        self._seed = 0
        self._policy: list[Valued] = []  # a list, so that the policy is not registered as ours

    def attach(self, policy: Any, seed: int = 0) -> None:
        """Keep the policy whose values are to be used, or the seed of an own network's initial weights.

        Raises:
            ConfigError: it has none.
        """
        self._seed = seed
        if self.config.source == "policy":
            if not hasattr(policy, "values"):
                raise ConfigError(
                    f"objective.critic.source is 'policy', but {type(policy).__name__} has no method values(inputs): "
                    "set it to 'separate'"
                )
            if not getattr(getattr(policy, "config", None), "value_head", True):
                raise ConfigError(
                    "objective.critic.source is 'policy', but this policy has no value head: add --load.value-head "
                    "(OpenVLA-OFT) or build it with value_head=True (MlpPolicy), or set it to 'separate'"
                )
            self._policy = [policy]

    def predict(self, batch: RolloutBatch) -> dict[str, float]:
        """Set ``columns['values']`` and ``['final_values'] float32 [B, D]``, in units of the reward; returns metrics.

        Raises:
            ValueError: an episode was truncated and its final inputs were not collected.
        """
        valid = batch.decision_mask
        inputs = batch.inputs
        if self.config.source == "separate":
            features = pooled(inputs)
            self.network = self.network or InputNetwork(features.shape[-1], self.config.hidden, self._seed)
            self.network.moments.update(features)
        values, final = torch.zeros(valid.shape), torch.zeros(valid.shape)
        values[valid] = self._in_reward_units(inputs)
        if batch.truncated is not None and batch.truncated.any():
            if batch.final_inputs is None:
                raise ValueError("truncated episodes without final inputs: see vlarl.collector.add_final_inputs")
            rows = batch.truncated.nonzero()[:, 0]
            after = self._in_reward_units({name: value[rows] for name, value in batch.final_inputs.items()})
            final[rows, valid.sum(1)[rows] - 1] = after
        batch.columns |= {"values": values, "final_values": final}
        if self.config.uncertainty:
            batch.columns["uncertainty"] = torch.full(valid.shape, self.config.uncertainty * self.weight_norm())
        return {"value": float(values[valid].mean())}

    @torch.no_grad()
    def weight_norm(self) -> float:
        """Joint length of the network's weights and of all biases but the last, in units of the reward."""
        assert self.network is not None
        *parameters, _ = self.network.layers.parameters()
        return float(torch.stack([p.square().sum() for p in parameters]).sum().sqrt() * self.units[1])

    def take_in_returns(self, batch: RolloutBatch) -> None:
        """Let the units follow the returns, and bring values and returns into them."""
        if self.config.normalise_returns:
            returns = batch.columns["returns"][batch.decision_mask].double()
            mean, deviation, count = self.units
            total = count + len(returns)
            new_mean = (mean * count + returns.sum()) / total
            square = (deviation**2 + mean**2) * count + (returns**2).sum()
            spread = (square / total - new_mean**2).clamp(min=1e-8).sqrt()
            self.units.copy_(torch.stack((new_mean, spread, total)))
        for name in ("values", "returns"):
            batch.columns[name] = ((batch.columns[name] - self.units[0]) / self.units[1]).float()
        del batch.columns["final_values"]

    def values(self, inputs: dict[str, Tensor], head_only: bool = False) -> Tensor:
        """``float32 [N]`` in the critic's own units."""
        if self.network is not None:
            return self.network(inputs)
        return self._policy[0].values(inputs, head_only=head_only)

    def loss(self, decisions: Decisions, warming: bool = False) -> Tensor:
        """Scalar, weighted as the policy's loss is; while ``warming`` it leaves alone what actions are decided with."""
        columns = decisions.columns
        losses = self.config.loss(self.values(decisions.inputs, warming), columns["values"], columns["returns"])
        return (losses * token_shares(decisions).sum((1, 2))).sum()

    @torch.no_grad()
    def _in_reward_units(self, inputs: dict[str, Tensor]) -> Tensor:
        number = len(next(iter(inputs.values())))
        parts = [self.values({k: v[i : i + 1024] for k, v in inputs.items()}) for i in range(0, number, 1024)]
        return (torch.cat(parts) * self.units[1] + self.units[0]).float()


def pooled(inputs: Mapping[str, Tensor]) -> Tensor:
    """Floating-point inputs ``[N, ..., F]`` averaged over everything between and joined: ``float32 [N, F]``."""
    columns = [value.float() for _, value in sorted(inputs.items()) if value.is_floating_point()]
    return torch.cat([v.flatten(1, -2).mean(1) if v.dim() > 2 else v for v in columns], dim=-1)
