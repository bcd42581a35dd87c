"""One policy-gradient objective, put together from parts; a paper is a choice of parts.

``loss = sum over units of  weight(aggregation) * factors(masks) * loss(surrogate; ratio level, advantage)
+ regularisers (+ value loss)``

=============  ==================================================  =====================================
part           decides                                             file (``vlarl/objectives/``)
=============  ==================================================  =====================================
relabel        returns: as given, length penalty, consensus        data_rules.py
groups         which groups count                                  data_rules.py
advantage      how good an episode or decision was                 advantages.py, critic.py
ratio          over what the ratio is formed                       ratios.py
surrogate      loss of a unit                                      surrogates.py, trajectory_surrogates.py
masks          which units are changed or left out                 masks.py
aggregation    which share a unit has                              aggregations.py
regularisers   further terms                                       regularisers.py
critic         the value network                                   critic.py
replay, demos  episodes from elsewhere                             archive.py
temperature    how rollouts are sampled                            data_rules.py
=============  ==================================================  =====================================

Named choices are in ``vlarl/objectives/presets``: ``vlarl train CONFIG --objective dapo``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vlarl.errors import ConfigError, NotFiniteError
from vlarl.objective import Decisions, LossOutput
from vlarl.objectives.advantages import Advantage, GroupRelative
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.archive import Demonstrations, Replay
from vlarl.objectives.critic import Critic, InputNetwork, ValueFunction, pooled
from vlarl.objectives.data_rules import Annealing, GroupFilter, Relabel
from vlarl.objectives.foreign import ForeignEpisodes
from vlarl.objectives.masks import Mask, StaleWeight, log_linear_proximal
from vlarl.objectives.ratios import TRAJECTORY_LEVELS, Ratio, Units
from vlarl.objectives.regularisers import Regulariser
from vlarl.objectives.surrogates import Clip, Surrogate
from vlarl.policy import TorchPolicy
from vlarl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig:
    """The parts."""

    relabel: tuple[Relabel, ...] = ()
    groups: GroupFilter = field(default_factory=GroupFilter)
    advantage: Advantage = field(default_factory=GroupRelative)
    ratio: Ratio = field(default_factory=Ratio)
    surrogate: Surrogate = field(default_factory=Clip)
    masks: tuple[Mask, ...] = ()
    aggregation: Aggregation = field(default_factory=Aggregation)
    regularisers: tuple[Regulariser, ...] = ()
    critic: Critic = field(default_factory=lambda: Critic(source="none"))
    replay: Replay = field(default_factory=Replay)
    demonstrations: Demonstrations = field(default_factory=Demonstrations)
    temperature: tuple[Annealing, ...] = ()
    """At most one: how the sampling temperature falls along an episode."""
    minibatch_of: str = "episodes"
    """``episodes``: mini-batches are drawn from whole episodes; ``decisions``: from single decisions (PPO)."""

    def __post_init__(self) -> None:
        refuse_impossible(self)

    def build(self) -> PolicyGradient:
        """Build the objective."""
        return PolicyGradient(self)


def refuse_impossible(config: PolicyGradientConfig) -> None:
    """Combinations that mean nothing.

    Raises:
        ConfigError: says what to change.
    """
    needs_critic = getattr(config.advantage, "needs_critic", False)
    if needs_critic and config.critic.source == "none":
        raise ConfigError(
            f"objective.advantage {type(config.advantage).__name__} needs a critic, and objective.critic.source is "
            "'none': set it to 'separate', or to 'policy' for a policy with a value head; "
            "without a critic use GroupRelative"
        )
    if not needs_critic and config.critic.source != "none":
        raise ConfigError(
            f"objective.critic.source is {config.critic.source}, but {type(config.advantage).__name__} uses no values: "
            "set it to 'none', or objective.advantage to Gae"
        )
    if config.critic.uncertainty and config.critic.source != "separate":
        raise ConfigError(
            f"objective.critic.uncertainty weighs the separate network's norm, and objective.critic.source is "
            f"{config.critic.source!r}: set it to 'separate', or the uncertainty to 0"
        )
    whole = [name for name in ("needs_partition", "needs_outcome") if getattr(config.surrogate, name, False)]
    if whole and config.ratio.level != "trajectory":
        raise ConfigError(
            f"objective.surrogate {type(config.surrogate).__name__} is about whole trajectories: set "
            f"objective.ratio.level to 'trajectory', found {config.ratio.level!r}"
        )
    if config.minibatch_of not in ("episodes", "decisions"):
        raise ConfigError(f"objective.minibatch_of is {config.minibatch_of!r}; expected 'episodes' or 'decisions'")
    if config.minibatch_of == "decisions" and config.ratio.level in TRAJECTORY_LEVELS:
        raise ConfigError(
            f"objective.ratio.level {config.ratio.level} needs whole episodes, and objective.minibatch_of is "
            "'decisions': set it to 'episodes'"
        )
    if len(config.temperature) > 1:
        raise ConfigError("objective.temperature holds more than one schedule")
    external = config.demonstrations.mode == "external"
    if external and config.ratio.level != "token":
        raise ConfigError(
            "objective.demonstrations.mode 'external' weighs single tokens: set objective.ratio.level to 'token', "
            f"found {config.ratio.level}"
        )


class PolicyGradient(nn.Module):
    """The objective itself. What it owns and saves: critic, partition head, archives, the number of iterations."""

    def __init__(self, config: PolicyGradientConfig) -> None:
        super().__init__()
        self.config = config
        self.iteration = 0
        self.rate_scale = config.critic.rate_scale
        parts = (config.ratio, *config.masks, *config.regularisers)
        self.whole_minibatch = any(part.whole_minibatch for part in parts)
        self.foreign = ForeignEpisodes(config.replay, config.demonstrations)
        self.value = ValueFunction(config.critic) if config.critic.source != "none" else None
        self.bootstraps = self.value is not None
        self.partition: InputNetwork | None = None
        self._needs_reference = any(
            getattr(p, "needs_reference", False) for p in (config.surrogate, *config.regularisers)
        )
        self._stale = next((mask for mask in config.masks if isinstance(mask, StaleWeight)), None)
        self._seed = 0
        self._policies: list[TorchPolicy] = []  # [policy, frozen copy]; a list, so that they are not registered as ours

    def attach(self, policy: TorchPolicy, seed: int = 0) -> None:
        """Keep the policy, and a frozen copy of it where a reference is needed; ``seed`` is of own networks' weights.

        Raises:
            ConfigError: the critic is to be the policy's, and the policy has none.
        """
        self._policies, self._seed = [policy], seed
        if self.value is not None:
            self.value.attach(policy, seed)
        if self._needs_reference:
            self._policies.append(copy.deepcopy(policy))

    def add_demonstrations(self, batch: RolloutBatch) -> None:
        """Successful episodes of another policy, for ``objective.demonstrations``."""
        self.foreign.add_demonstrations(batch)

    def prepare(self, batch: RolloutBatch) -> tuple[RolloutBatch, dict[str, float]]:
        """Relabel, filter, estimate advantages, add episodes from elsewhere."""
        config = self.config
        for rule in config.relabel:
            batch = rule.apply(batch)
        chosen, active, metrics = config.groups.apply(batch)
        if len(chosen):
            if self.value is not None:
                metrics |= self.value.predict(chosen)
            advantages, more = config.advantage.estimate(chosen)
            metrics |= more
            if self.value is not None:
                self.value.take_in_returns(chosen)
            per_decision = (
                advantages[:, None].expand(chosen.decision_mask.shape) if advantages.dim() == 1 else advantages
            )
            if not active.all():
                per_decision = per_decision * active[:, None]
            chosen.advantages = per_decision[:, :, None, None] * chosen.token_mask
        elif chosen.advantages is None:
            chosen.advantages = torch.zeros_like(chosen.old_log_probs)
        if self.foreign.wanted:
            chosen, more = self.foreign.join(chosen, batch, self.iteration, self._log_probs)
            metrics |= more
        self._add_columns(chosen)
        self.iteration += 1
        return (chosen.split_decisions() if config.minibatch_of == "decisions" else chosen), metrics

    def token_weights(self, batch: RolloutBatch) -> Tensor:
        """``float32 [B, D, ...]`` in the shape of the units (tokens, for trajectory ratios)."""
        return self.config.aggregation.weights(self.config.ratio.unit_mask(batch.token_mask))

    def loss(self, log_probs: Tensor, entropies: Tensor, decisions: Decisions) -> LossOutput:
        """The sum in the module's docstring.

        Raises:
            NotFiniteError: names the trajectory, the term and the step.
        """
        config = self.config
        if self._stale is not None:
            decisions.columns["stale_log_ratio"] = self._stale_log_ratio(log_probs.detach(), decisions)
            decisions.old_log_probs = decisions.columns["proximal_log_probs"]
        if self.partition is not None:
            decisions.columns["log_partition"] = self.partition(
                {name.removeprefix("first_"): v for name, v in decisions.columns.items() if name.startswith("first_")}
            )
            decisions.columns = {k: v for k, v in decisions.columns.items() if not k.startswith("first_")}
        units = config.ratio.units(log_probs, decisions)
        ratio = units.log_ratio.detach().exp()
        losses = config.surrogate.losses(units)
        if config.masks:
            stopped = self._stopped(ratio, units.advantage)
            for mask in config.masks:
                losses = losses * mask.factors(units, stopped)
        if "demonstration" in units.columns:
            losses = torch.where(units.columns["demonstration"] > 0.5, config.demonstrations.losses(units), losses)
        loss = (losses * units.weights).sum()
        for regulariser in config.regularisers:
            loss = loss + regulariser.penalty(log_probs, entropies, decisions, units)
        sums = self._diagnostics(units, ratio, entropies, decisions)
        if self.value is not None:
            warming = self.iteration <= config.critic.warmup_iterations
            value_loss = self.value.loss(decisions, warming)
            sums["value_loss"] = value_loss.detach() * sums["tokens"]
            loss = config.critic.coefficient * value_loss + (0.0 if warming else loss)
        if not torch.isfinite(loss):
            explain_not_finite(loss, log_probs, decisions)
        return LossOutput(loss, sums)

    def get_extra_state(self) -> dict[str, Any]:
        """What is not a tensor of ours: part of ``state_dict``."""
        return {"iteration": self.iteration, "foreign": self.foreign.state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The inverse of ``get_extra_state``."""
        self.iteration = int(state["iteration"])
        self.foreign.load(state["foreign"])

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Make the networks that the saved run had made, then load."""
        for name, owner in (("value.network", self.value), ("partition", self)):
            mean = state_dict.get(f"{name}.moments.mean")
            if mean is not None:
                setattr(owner, name.rpartition(".")[2], InputNetwork(len(mean), self.config.critic.hidden))
        return super().load_state_dict(state_dict, strict, assign)

    # ---------------------------------------------------------------------------------------------- once per iteration

    def _add_columns(self, batch: RolloutBatch) -> None:
        """What the loss will need of each decision."""
        if not len(batch):
            return
        config, shape = self.config, batch.decision_mask.shape
        if getattr(config.surrogate, "needs_outcome", False):
            batch.columns["groups"] = batch.groups[:, None].expand(shape).float()
            batch.columns["succeeded"] = batch.succeeded[:, None].expand(shape).float()
        if self._needs_reference:
            batch.columns["reference_log_probs"] = self._log_probs(batch, self._policies[1])
        if self._stale is not None:
            if self._stale.proximal == "recompute":
                batch.columns["proximal_log_probs"] = self._log_probs(batch)
            elif batch.versions is not None:
                batch.columns["version"] = batch.versions.float()
        if getattr(config.surrogate, "needs_partition", False):
            starts = torch.cumsum(batch.decision_mask.sum(1), 0) - batch.decision_mask.sum(1)
            first = {name: value[starts] for name, value in batch.inputs.items() if value.is_floating_point()}
            if self.partition is None:
                features = pooled(first)
                self.partition = InputNetwork(features.shape[-1], config.critic.hidden, self._seed)
                self.partition.moments.update(features)
            batch.columns |= {
                f"first_{name}": value[:, None].expand(*shape, *value.shape[1:]) for name, value in first.items()
            }

    @torch.no_grad()
    def _log_probs(self, batch: RolloutBatch, policy: TorchPolicy | None = None) -> Tensor:
        """Log-probabilities ``float32 [B, D, C, T]`` of the batch's tokens under the present (or another) policy."""
        policy = policy or self._policies[0]
        valid = batch.decision_mask
        inputs, tokens = batch.inputs, batch.tokens[valid]
        temperature = batch.decision_temperatures()
        pieces = [slice(start, start + 64) for start in range(0, len(tokens), 64)]
        parts = [
            policy.evaluate({k: v[piece] for k, v in inputs.items()}, tokens[piece], temperature(piece))[0]
            for piece in pieces
        ]
        result = torch.zeros_like(batch.old_log_probs)
        result[valid] = torch.cat(parts)
        return result

    # -------------------------------------------------------------------------------------------- once per micro-batch

    def _stale_log_ratio(self, log_probs: Tensor, decisions: Decisions) -> Tensor:
        """``log pi_prox - log pi_behaviour`` per token."""
        behaviour = decisions.old_log_probs
        if "proximal_log_probs" not in decisions.columns:
            old = decisions.columns["version"][:, None, None]
            new = torch.full_like(old, float(self._policies[0].version))
            decisions.columns["proximal_log_probs"] = log_linear_proximal(log_probs, behaviour, new, old)
        return decisions.columns["proximal_log_probs"] - behaviour

    def _stopped(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Units to which the surrogate's clip leaves no gradient."""
        outside = self.config.surrogate.outside(ratio)
        return outside & (((ratio > 1) & (advantage > 0)) | ((ratio < 1) & (advantage < 0)))

    @torch.no_grad()
    def _diagnostics(self, units: Units, ratio: Tensor, entropies: Tensor, decisions: Decisions) -> dict[str, Tensor]:
        mask = units.mask.float()
        count, tokens = mask.sum(), decisions.mask.float()
        per_token = (entropies.detach() * tokens).sum() / tokens.sum().clamp(min=1.0)
        return {
            "tokens": count,
            "approx_kl": ((ratio - 1.0 - units.log_ratio.detach()) * mask).sum(),  # k3, never negative
            "clipfrac": (self.config.surrogate.outside(ratio).float() * mask).sum(),
            "entropy": per_token * count,
            "ratio": (ratio * mask).sum(),
        }


def explain_not_finite(loss: Tensor, log_probs: Tensor, decisions: Decisions) -> None:
    """Find out which term of a loss is to blame.

    Raises:
        NotFiniteError: always.
    """
    loss, log_probs = loss.detach(), log_probs.detach()
    terms = {
        "log-probability": log_probs,
        "old log-probability": decisions.old_log_probs,
        "advantage": decisions.advantages,
        **decisions.columns,
    }
    for name, values in terms.items():
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            place = bad[0].tolist()
            where = ", ".join(f"{n} {i}" for n, i in zip(("decision", "chunk step", "token"), place, strict=False))
            raise NotFiniteError(
                f"the loss is {float(loss)}: {name} is {float(values[tuple(place)])} at {where} of the micro-batch, in "
                f"trajectory {int(decisions.rows[place[0]])} of the mini-batch. The weights were not changed; the last "
                "checkpoint is intact. Lower --learner.learning-rate and resume."
            )
    raise NotFiniteError(
        f"the loss is {float(loss)} although all its terms are finite: a ratio overflows (largest log-ratio "
        f"{float((log_probs - decisions.old_log_probs).max()):.1f}). Lower --learner.learning-rate and resume."
    )
