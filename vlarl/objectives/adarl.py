"""AdaRL: SAC whose hidden weights are products of factors, the rank of which is cut as training goes on.

arXiv 2510.11899, a reimplementation: no code was published. As in the paper: SAC, hidden weights ``W1 W2``, an SVD
every ``every`` updates, a rank rule, balanced factors, fresh optimisers, learning rate from 0 over ``warmup`` updates
and then a cosine until the next event, actor and critics all cut and carried on. Two modes, both named:

``adarl_faithful``
    eq. 14 with beta .98 on the present singular values, as the paper runs it. It has no fixed point: every event
    removes at least one direction. lambda is not used, the ball is a sinusoid over body lengths, nothing is taken back.
``adarl_repaired``
    the least energy against the most that there ever was (which has a fixed point), and a cut that lowers the score on
    perturbed models by more than ``tolerance`` is taken back and tried again half as far. The score comes from whoever
    drives the training (``vlarl bench robust`` evaluates nominal and perturbed models); without one nothing is taken
    back. With ``regrow`` a policy whose score stalls at its fixed point gets directions back. Energies are not compared
    with the *initial* total: on Hopper-v5 weights had grown so much after 60,000 updates that the first direction alone
    had more than that.

Deviations in both: only weights between two hidden layers are factored, the input's and the output's are thin already;
an event at which nothing is cut restarts the learning rate's schedule too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vlarl.errors import ConfigError
from vlarl.nn.low_rank import FactoredLinear, RankController, RankRule, warmup_cosine
from vlarl.nn.twin_critic import TwinCritic
from vlarl.objectives.sac import SacConfig, SacLearner
from vlarl.policy import TorchPolicy


@dataclass(frozen=True, kw_only=True)
class AdaRlConfig(SacConfig):
    """Constants of AdaRL besides SAC's."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the Q networks' layers (the paper's)."""
    rank: int = 0
    """Rank of the critics' factors at the start; 0: full. The policy's is its own (``FactoredMlp``)."""
    rule: RankRule = field(default_factory=RankRule)
    reference: Literal["initial", "current", "peak"] = "peak"
    """What energies are compared with (``RankController``)."""
    every: int = 100_000
    """Updates between cuts; 0: the rank stays (the fixed-rank baseline)."""
    warmup: int = 2_000
    """Updates over which the learning rate rises after a cut."""
    tolerance: float = 0.05
    """A cut is taken back if the score falls by more than this share."""
    attempts: int = 1
    """Cuts to try at an event, each half as far as the one before it that was taken back."""
    regrow: int = 0
    """Directions that every layer gets back at an event where nothing is cut and the score has not risen by more than
    ``tolerance`` since the event before; 0: ranks never grow. Needs a score."""

    def build_learner(self, policy: TorchPolicy, config: Any, *, seed: int = 0) -> AdaRlLearner:
        """What the trainer uses in place of the on-policy learner; ``config`` is a ``LearnerConfig``."""
        return AdaRlLearner(policy, self, learning_rate=config.learning_rate, seed=seed)


def adarl_faithful(**changes: Any) -> AdaRlConfig:
    """The paper's rule as the paper runs it."""
    return AdaRlConfig(rule=RankRule(name="eq14", beta=0.98), reference="current", tolerance=float("inf"), **changes)


def adarl_repaired(**changes: Any) -> AdaRlConfig:
    """A rule with a fixed point, and cuts that are taken back where they hurt."""
    repaired: dict[str, Any] = {"rule": RankRule(name="min_energy", beta=0.9), "reference": "peak", "attempts": 4}
    return AdaRlConfig(**repaired | changes)


class AdaRlLearner(SacLearner):
    """SAC that cuts ranks.

    Args:
        policy: with factored layers (``FactoredMlp``).
        config: constants.
        learning_rate: of all optimisers, after warm-up.
        seed: of the critics' initial weights.

    Raises:
        ConfigError: the policy has no factored layer.
    """

    config: AdaRlConfig

    def __init__(self, policy: Any, config: AdaRlConfig, *, learning_rate: float, seed: int = 0) -> None:
        super().__init__(policy, config, learning_rate=learning_rate, seed=seed)
        if not factored_layers(policy):
            raise ConfigError(
                f"AdaRL cuts factored layers, and {type(policy).__name__} has none: set "
                "policy='vlarl.policies.mlp:FactoredMlp'"
            )
        self.last_cut = 0
        self.last_score: float | None = None
        self.evaluate: Callable[[], float] | None = None
        self._make_controller()

    def _make_controller(self) -> None:
        layers = [*factored_layers(self.policy), *factored_layers(self.critic)]
        config = self.config
        self.controller = RankController(layers, config.rule, reference=config.reference, tolerance=config.tolerance)

    def make_critic(self, inputs: int, generator: torch.Generator) -> nn.Module:
        """Two factored Q networks."""
        return TwinCritic(inputs, self.config.hidden, generator, factored=True, rank=self.config.rank)

    @property
    def ranks(self) -> list[int]:
        """Of the policy's layers, then of the critics'."""
        return [layer.rank for layer in self.controller.layers]

    def step(self, generator: np.random.Generator) -> dict[str, float]:
        """One update, and a cut when it is due."""
        config = self.config
        if config.every:
            since = self.num_updates - self.last_cut
            if since >= config.every:
                self.cut()
                since = 0
            if self.last_cut:
                factor = warmup_cosine(since, config.warmup, config.every)
                for optimizer in self.optimizers.values():
                    optimizer.learning_rate = self.learning_rate * factor
        losses = super().step(generator)
        for name, rank in zip(("policy", "critic"), (self.ranks[0], self.ranks[-1]), strict=True):
            losses[f"rank/{name}"] = float(rank)
        return losses

    def cut(self) -> None:
        """Cut all layers by the rule, or let them grow; fresh optimisers and targets; take back what the score says."""
        before = self.evaluate() if self.evaluate else None
        self.last_cut = self.num_updates
        earlier, self.last_score = self.last_score, before
        if before is None or self.evaluate is None:
            cut = self.controller.cut()
        else:
            cut = self.controller.cut_as_far_as(before, self.evaluate, self.config.attempts)
        if cut or (self._stalls(before, earlier) and self.controller.grow(self.config.regrow)):
            self._begin_anew()

    def _stalls(self, score: float | None, earlier: float | None) -> bool:
        """Whether the score has hardly risen since the event before."""
        if score is None or earlier is None:
            return False
        return score <= earlier + self.config.tolerance * abs(earlier)

    def _begin_anew(self) -> None:
        """Targets and optimisers for weights of other shapes."""
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.use_parameters()

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the policy's weights that a resumed run needs."""
        ranks = {
            "last_cut": self.last_cut,
            "last_score": self.last_score,
            "totals": self.controller.totals,
            "history": self.controller.history,
        }
        return super().state_dict() | {"ranks": ranks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; the policy must have been loaded before."""
        self.critic.load_state_dict(state["critic"])
        self.target.load_state_dict(state["target"])
        self.target.requires_grad_(False)
        self.use_parameters()  # for the shapes that were loaded
        super().load_state_dict(state)
        self._make_controller()
        self.last_cut = int(state["ranks"]["last_cut"])
        self.last_score = state["ranks"].get("last_score")
        self.controller.totals = list(state["ranks"]["totals"])
        self.controller.history = list(state["ranks"]["history"])


def factored_layers(module: nn.Module) -> list[FactoredLinear]:
    """All of them, in order."""
    return [part for part in module.modules() if isinstance(part, FactoredLinear)]
