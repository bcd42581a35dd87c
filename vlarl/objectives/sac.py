"""Soft actor-critic with replay: off-policy, for continuous actions (Haarnoja et al., arXiv 1812.05905).

::

    y = r + gamma (min_i Q'_i(s', a') - alpha log pi(a'|s')),    a' ~ pi(.|s')
    L_Q = sum_i (Q_i(s, a) - y)^2 / 2,   L_pi = alpha log pi(a|s) - min_i Q_i(s, a)
    L_alpha = -log alpha (log pi + target)

with ``target = -dim(A)`` and target networks that follow at ``tau``. One update per control step, done after each
iteration's episodes rather than after each step (the ``episode`` mode of Stable-Baselines3). Deviations: the first
steps are acted by the untrained policy, whose tanh of a unit Gaussian covers the range, not uniformly; a chunk is one
action.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from vlarl.errors import ConfigError, NotFiniteError
from vlarl.extras import missing_extra
from vlarl.nn.twin_critic import TwinCritic
from vlarl.objectives.replay_buffer import ReplayBuffer
from vlarl.policy import TorchPolicy
from vlarl.seeding import stream
from vlarl.types import RolloutBatch


@dataclass(frozen=True, kw_only=True)
class SacConfig:
    """Constants of SAC; the learning rate is ``learner.learning_rate``."""

    discount: float = 0.99
    """Per control step."""
    tau: float = 0.005
    """Share of the new weights in the target networks, per update."""
    batch_size: int = 256
    capacity: int = 1_000_000
    """Transitions kept."""
    learning_starts: int = 5_000
    """Control steps before the first update."""
    updates_per_step: float = 1.0
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the Q networks' layers."""
    alpha: float = 1.0
    """Entropy weight at the start; it is learned."""
    target_entropy: float = 0.0
    """0: minus the number of action dimensions."""
    parseval: float = 0.0
    """Weight of a penalty that keeps hidden layers of critics and policy near orthogonal (a robustness baseline);
    0: none. Deviation: square layers alone, so not the first one."""

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 1 or not 0 <= self.discount <= 1:
            raise ConfigError(f"tau {self.tau} and discount {self.discount}: expected (0, 1] and [0, 1]")
        if self.batch_size < 1 or self.capacity < self.batch_size:
            raise ConfigError(f"capacity {self.capacity} must hold a batch of {self.batch_size}")

    def build(self) -> Any:
        """There is no loss on a rollout batch to build.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("SAC learns from replay: build_learner, not build")

    def build_learner(self, policy: TorchPolicy, config: Any, *, seed: int = 0) -> SacLearner:
        """What the trainer uses in place of the on-policy learner; ``config`` is a ``LearnerConfig``."""
        return SacLearner(policy, self, learning_rate=config.learning_rate, seed=seed)


class SacLearner:
    """Updates ``policy`` in place.

    Args:
        policy: with ``draw``.
        config: constants.
        learning_rate: of both optimisers.
        seed: of the critics' initial weights.

    Raises:
        ConfigError: the policy cannot draw differentiable actions.
    """

    bootstraps = True

    def __init__(self, policy: Any, config: SacConfig, *, learning_rate: float, seed: int = 0) -> None:
        if not hasattr(policy, "draw"):
            raise ConfigError(
                f"SAC needs a policy with draw(state, noise), and {type(policy).__name__} has none: set "
                "policy='vlarl.policies.mlp:SquashedMlp'"
            )
        self.policy: Any = policy
        self.config = config
        self.buffer = ReplayBuffer(config.capacity)
        self.learning_rate = learning_rate
        self.action_size = int(np.prod(policy.noise_shape))
        self.target_entropy = config.target_entropy or -float(self.action_size)
        generator = torch.Generator().manual_seed(seed)
        inputs = policy.config.state_size + self.action_size
        self.critic = self.make_critic(inputs, generator)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = nn.Parameter(torch.tensor(float(np.log(config.alpha))))
        self.use_parameters()
        self.num_updates = 0
        self.num_steps = 0
        self.debt = 0.0

    def make_critic(self, inputs: int, generator: torch.Generator) -> nn.Module:
        """Two Q networks: ``critic(state, action)`` gives ``[2, N]``."""
        return TwinCritic(inputs, self.config.hidden, generator)

    def use_parameters(self) -> None:
        """Fresh Adam states for the parameters that there are now (some are new ones after a cut)."""
        try:
            from vlarl.nn.flat import FlatAdam, flatten
            from vlarl.objectives.sac_gradients import make_gradients
        except ModuleNotFoundError as error:
            raise missing_extra(error.name or "numba", "SAC", "mujoco") from error
        self.flat_critic = flatten(list(self.critic.parameters()))
        self.flat_target = flatten(list(self.target.parameters())).detach()
        flat_policy = flatten([*self.policy.trainable_parameters(), self.log_alpha])
        self.gradients = make_gradients(self.policy, self.critic, self.target)
        self.optimizers = {
            "critic": FlatAdam(self.flat_critic, self.learning_rate),
            "policy": FlatAdam(flat_policy, self.learning_rate),
        }

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The newest weights are what is evaluated."""
        yield

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float = 0.0) -> dict[str, float]:
        """Put an iteration's transitions into the buffer, then update once per control step."""
        started = time.perf_counter()
        self.remember(batch)
        totals: dict[str, float] = {}
        generator = stream("replay", seed, iteration)
        count = int(self.debt) if self.num_steps >= self.config.learning_starts else 0
        self.debt = self.debt - count if count else min(self.debt, 1.0)
        for _ in range(count):
            for name, value in self.step(generator).items():
                totals[name] = totals.get(name, 0.0) + value
        metrics = {name: value / max(count, 1) for name, value in totals.items()}
        for name, value in metrics.items():
            if not np.isfinite(value):
                raise NotFiniteError(
                    f"{name} is {value} after {self.num_updates} updates; the last checkpoint is intact"
                )
        return metrics | {
            "updates": float(self.num_updates),
            "replay_size": float(self.buffer.size),
            "learning_rate": self.learning_rate,
            "seconds/update": time.perf_counter() - started,
        }

    def remember(self, batch: RolloutBatch) -> None:
        """Append a batch to the buffer and note how many updates it is good for."""
        added = self.buffer.add(batch, batch.tokens.tanh().flatten(2), self.config.discount)
        self.num_steps += int(batch.token_mask[..., 0].sum())
        self.debt += added * self.config.updates_per_step

    def step(self, generator: np.random.Generator) -> dict[str, float]:
        """One update of critics, policy, entropy weight and targets; returns losses."""
        config, number = self.config, self.config.batch_size
        data = self.buffer.sample(generator, number)
        noise = torch.from_numpy(generator.standard_normal((2, number, self.action_size), dtype=np.float32))
        alpha = self.log_alpha.detach().exp().item()
        wanted = self.gradients.targets(data, noise[0], alpha)
        critic_loss, value = self.gradients.critic(data["state"], data["action"], wanted)
        self._apply("critic", self.critic)
        policy_loss, log_prob = self.gradients.policy(data["state"], noise[1], alpha)
        assert self.log_alpha.grad is not None
        self.log_alpha.grad.fill_(-log_prob - self.target_entropy)
        self._apply("policy", self.policy)
        self.flat_target.lerp_(self.flat_critic.detach(), config.tau)
        self.num_updates += 1
        self.policy.version = self.num_updates
        return {
            "critic_loss": critic_loss,
            "policy_loss": policy_loss,
            "entropy": -log_prob,
            "alpha": alpha,
            "value": value,
        }

    def _apply(self, name: str, module: nn.Module) -> None:
        """One step of an optimiser along the gradients that are set, and along Parseval's."""
        if self.config.parseval:
            add_parseval_gradients(module.parameters(), self.config.parseval)
        self.optimizers[name].step()

    def state_dict(self) -> dict[str, Any]:
        """Everything beside the policy's weights that a resumed run needs, the buffer included."""
        return {
            "critic": self.critic.state_dict(),
            "target": self.target.state_dict(),
            "log_alpha": self.log_alpha.detach(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "buffer": self.buffer.state_dict(),
            "counters": [self.num_updates, self.num_steps, self.debt],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.critic.load_state_dict(state["critic"])
        self.target.load_state_dict(state["target"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.buffer.load_state_dict(state["buffer"])
        updates, steps, self.debt = state["counters"]
        self.num_updates, self.num_steps = int(updates), int(steps)
        self.policy.version = self.num_updates


PARSEVAL_SCALE = 2.0
"""The square of a layer's gain."""


@torch.no_grad()
def add_parseval_gradients(parameters: Iterable[nn.Parameter], coefficient: float) -> None:
    """Add the gradient of ``coefficient (64 / width)^2 ||W W^T - scale I||_F^2`` to ``grad`` of square hidden weights.

    Parseval regularisation as coded by Chung et al. (arXiv 2412.07224).
    """
    for weight in parameters:
        if weight.dim() == 2 and weight.shape[0] == weight.shape[1] > 1 and weight.grad is not None:
            distance = weight @ weight.T - PARSEVAL_SCALE * torch.eye(len(weight))
            weight.grad.add_(distance @ weight, alpha=4.0 * coefficient * (64.0 / len(weight)) ** 2)
