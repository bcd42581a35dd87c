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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlarl.errors import ConfigError, NotFiniteError
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

    def build_learner(self, policy: TorchPolicy, config: Any) -> SacLearner:
        """What the trainer uses in place of the on-policy learner; ``config`` is a ``LearnerConfig``."""
        return SacLearner(policy, self, learning_rate=config.learning_rate)


class SacLearner:
    """Updates ``policy`` in place.

    Args:
        policy: with ``draw``.
        config: constants.
        learning_rate: of all three optimisers.

    Raises:
        ConfigError: the policy cannot draw differentiable actions.
    """

    bootstraps = True

    def __init__(self, policy: Any, config: SacConfig, *, learning_rate: float) -> None:
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
        generator = torch.Generator().manual_seed(0)
        inputs = policy.config.state_size + self.action_size
        self.critic = self.make_critic(inputs, generator)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_alpha = torch.tensor(float(np.log(config.alpha)), requires_grad=True)
        self.make_optimizers()
        self.num_updates = 0
        self.num_steps = 0
        self.debt = 0.0

    def make_critic(self, inputs: int, generator: torch.Generator) -> nn.Module:
        """Two Q networks: ``critic(state, action)`` gives ``[2, N]``."""
        return TwinCritic(inputs, self.config.hidden, generator)

    def make_optimizers(self) -> None:
        """Fresh Adam states (after the shapes of weights have changed, too)."""

        def adam(parameters: list[Any]) -> torch.optim.Adam:
            return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)

        self.optimizers = {
            "critic": adam(list(self.critic.parameters())),
            "policy": adam(self.policy.trainable_parameters()),
            "alpha": adam([self.log_alpha]),
        }

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The newest weights are what is evaluated."""
        yield

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float = 0.0) -> dict[str, float]:
        """Put an iteration's transitions into the buffer, then update once per control step."""
        started = time.perf_counter()
        self.remember(batch)
        totals: dict[str, Tensor] = {}
        generator = stream("replay", seed, iteration)
        count = int(self.debt) if self.num_steps >= self.config.learning_starts else 0
        self.debt = self.debt - count if count else min(self.debt, 1.0)
        for _ in range(count):
            for name, value in self.step(generator).items():
                totals[name] = totals.get(name, torch.zeros(())) + value
        metrics = {name: float(value) / max(count, 1) for name, value in totals.items()}
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

    def step(self, generator: np.random.Generator) -> dict[str, Tensor]:
        """One update of critics, policy, entropy weight and targets; returns losses."""
        config, number = self.config, self.config.batch_size
        data = self.buffer.sample(generator, number)
        noise = torch.from_numpy(generator.standard_normal((2, number, self.action_size), dtype=np.float32))
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            action, log_prob = self.policy.draw(data["next_state"], noise[0])
            future = self.target(data["next_state"], action).amin(0) - alpha * log_prob
            wanted = data["reward"] + data["discount"] * future
        values = self.critic(data["state"], data["action"])
        critic_loss = 0.5 * ((values - wanted) ** 2).mean(1).sum()
        self._apply("critic", self._penalised(critic_loss, self.critic))
        action, log_prob = self.policy.draw(data["state"], noise[1])
        policy_loss = (alpha * log_prob - self.critic(data["state"], action).amin(0)).mean()
        self._apply("policy", self._penalised(policy_loss, self.policy))
        entropy = -log_prob.detach().mean()
        self._apply("alpha", self.log_alpha * (entropy - self.target_entropy))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.target.parameters()), list(self.critic.parameters()), config.tau)
        self.num_updates += 1
        self.policy.version = self.num_updates
        return {
            "critic_loss": critic_loss.detach(),
            "policy_loss": policy_loss.detach(),
            "entropy": entropy,
            "alpha": alpha,
            "value": values.detach().mean(),
        }

    def _apply(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        parameters = optimizer.param_groups[0]["params"]
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()

    def _penalised(self, loss: Tensor, network: nn.Module) -> Tensor:
        """The loss with Parseval's penalty over a network's square hidden layers."""
        if not self.config.parseval:
            return loss
        square = [w for w in network.parameters() if w.dim() >= 2 and w.shape[-2] == w.shape[-1] > 1]
        return loss + self.config.parseval * sum((parseval_penalty(weight) for weight in square), torch.zeros(()))

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


def parseval_penalty(weight: Tensor, scale: float = 2.0) -> Tensor:
    """``(64 / width)^2 ||W W^T - scale I||_F^2`` of ``[..., width, width]``, added up over leading dimensions.

    Parseval regularisation as coded by Chung et al. (arXiv 2412.07224); scale is the square of the layer's gain.
    """
    width = weight.shape[-1]
    distance = weight @ weight.mT - scale * torch.eye(weight.shape[-2])
    return (64.0 / width) ** 2 * (distance**2).sum()
