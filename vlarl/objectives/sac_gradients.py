"""The gradients of SAC's two losses: by autograd for any policy, by hand where all networks are dense layers.

Both write the same numbers, but for rounding (tested), into ``grad`` of the parameters, which must be there; by hand it
takes a fraction of the time.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlarl.nn.dense import DenseNetwork
from vlarl.nn.dense_passes import DensePasses
from vlarl.nn.twin_critic import TwinCritic
from vlarl.objectives import sac_kernels
from vlarl.policies.distributions import SquashedGaussian
from vlarl.policies.mlp import MlpPolicy


class SacGradients(Protocol):
    """What ``SacLearner.step`` needs."""

    def targets(self, data: dict[str, Tensor], noise: Tensor, alpha: float) -> Tensor:
        """``y [N]``, with the next action drawn with ``noise``.

        Args:
            data: ``next_state``, ``reward`` and ``discount`` of transitions.
            noise: standard normal ``[N, A]``.
            alpha: entropy weight.
        """
        ...

    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[float, float]:
        """Set the critics' gradients; returns ``L_Q`` and the mean of both critics' values."""
        ...

    def policy(self, state: Tensor, noise: Tensor, alpha: float) -> tuple[float, float]:
        """Set the policy's gradients; returns ``L_pi`` and the mean of ``log pi(a|s)``."""
        ...


def make_gradients(policy: Any, critic: nn.Module, target: nn.Module) -> SacGradients:
    """By hand if all three are dense; to be made anew when one of them is another object."""
    by_hand = (
        isinstance(policy, MlpPolicy)
        and isinstance(policy.distribution, SquashedGaussian)
        and not policy.own_log_std
        and isinstance(critic, TwinCritic)
        and isinstance(target, TwinCritic)
    )
    return DenseGradients(policy, critic, target) if by_hand else AutogradGradients(policy, critic, target)


class AutogradGradients:
    """For any policy with ``draw`` and any critic.

    Args:
        policy: ``draw(state, noise)`` gives actions ``[N, A]`` and log-probabilities ``[N]``.
        critic: ``critic(state, action)`` gives ``[2, N]``.
        target: the same.
    """

    def __init__(self, policy: Any, critic: nn.Module, target: nn.Module) -> None:
        self._policy, self._critic, self._target = policy, critic, target

    @torch.no_grad()
    def targets(self, data: dict[str, Tensor], noise: Tensor, alpha: float) -> Tensor:
        """See ``SacGradients``."""
        action, log_prob = self._policy.draw(data["next_state"], noise)
        future = self._target(data["next_state"], action).amin(0) - alpha * log_prob
        return data["reward"] + data["discount"] * future

    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[float, float]:
        """See ``SacGradients``."""
        values = self._critic(state, action)
        loss = 0.5 * ((values - wanted) ** 2).mean(1).sum()
        _differentiate(loss, list(self._critic.parameters()))
        return loss.item(), values.mean().item()

    def policy(self, state: Tensor, noise: Tensor, alpha: float) -> tuple[float, float]:
        """See ``SacGradients``."""
        action, log_prob = self._policy.draw(state, noise)
        loss = (alpha * log_prob - self._critic(state, action).amin(0)).mean()
        _differentiate(loss, self._policy.trainable_parameters())
        return loss.item(), log_prob.mean().item()


def _differentiate(loss: Tensor, parameters: list[nn.Parameter]) -> None:
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        assert parameter.grad is not None
        parameter.grad.copy_(gradient)


class DenseGradients:
    """For ``MlpPolicy`` with a squashed Gaussian, and ``TwinCritic``; formulas at the kernels."""

    def __init__(self, policy: MlpPolicy, critic: TwinCritic, target: TwinCritic) -> None:
        self._normalised, self._size = policy.normalised, len(policy.config.low)
        self._actor = DensePasses(policy.dense)
        self._critics = [DensePasses(DenseNetwork(member)) for member in critic.members]
        self._targets = [DensePasses(DenseNetwork(member)) for member in target.members]

    def targets(self, data: dict[str, Tensor], noise: Tensor, alpha: float) -> Tensor:
        """See ``SacGradients``."""
        joined, log_prob, _, _ = self._draw(data["next_state"], noise)
        first, second = (network.forward(joined)[-1] for network in self._targets)
        future = torch.minimum(first, second).squeeze(1).sub_(log_prob, alpha=alpha)
        return future.mul_(data["discount"]).add_(data["reward"])

    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[float, float]:
        """See ``SacGradients``."""
        joined, losses = torch.cat((state, action), dim=1), []
        for network in self._critics:
            kept = network.forward(joined)
            gradient = torch.empty_like(kept[-1])
            losses.append(sac_kernels.squared_errors(kept[-1].numpy(), wanted.numpy(), gradient.numpy()))
            network.backward(kept, gradient)
        (first, first_mean), (second, second_mean) = losses
        return first + second, (first_mean + second_mean) / 2

    def policy(self, state: Tensor, noise: Tensor, alpha: float) -> tuple[float, float]:
        """See ``SacGradients``."""
        joined, _, mean, kept = self._draw(state, noise)
        passes = [network.forward(joined) for network in self._critics]
        shares = torch.empty((len(passes), len(state), 1))
        value = sac_kernels.choose_smaller(*(one[-1].numpy() for one in passes), shares.numpy())
        actions = slice(state.shape[1], None)
        slopes = [
            network.backward(one, share, weights=False).numpy()[:, actions]
            for network, one, share in zip(self._critics, passes, shares, strict=True)
        ]
        gradient, action = torch.empty_like(kept[-1]), joined.numpy()[:, actions]
        sac_kernels.policy_slopes(kept[-1].numpy(), noise.numpy(), self._size, action, *slopes, alpha, gradient.numpy())
        self._actor.backward(kept, gradient)
        return alpha * mean - value, mean

    def _draw(self, state: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, float, list[Tensor]]:
        """States with the policy's actions beside them, the actions' log-densities ``[N]``, their mean, the pass."""
        kept = self._actor.forward(self._normalised(state))
        joined = torch.empty((len(state), state.shape[1] + noise.shape[1]))
        joined[:, : state.shape[1]] = state
        log_prob = torch.empty(len(state))
        action = joined.numpy()[:, state.shape[1] :]
        mean = sac_kernels.draw(kept[-1].numpy(), noise.numpy(), self._size, action, log_prob.numpy())
        return joined, log_prob, mean, kept
