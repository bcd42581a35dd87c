"""The gradients of SAC's two losses: by autograd for any policy, by hand where all networks are dense layers.

Both write the same numbers, but for rounding (tested), into ``grad`` of the parameters, which must be there; by hand it
takes a fraction of the time.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlarl.nn.dense import DenseNetwork
from vlarl.nn.twin_critic import TwinCritic
from vlarl.policies.distributions import LOG_STD_RANGE, SquashedGaussian
from vlarl.policies.mlp import MlpPolicy


class SacGradients(Protocol):
    """What ``SacLearner.step`` needs."""

    def future(self, state: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
        """``min_i Q'_i(s, a) - alpha log pi(a|s)`` of the action ``[N]`` drawn with ``noise``."""
        ...

    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Set the critics' gradients; returns ``L_Q`` and the values ``[2, N]``."""
        ...

    def policy(self, state: Tensor, noise: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Set the policy's gradients; returns ``L_pi`` and ``log pi(a|s) [N]``."""
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
    def future(self, state: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
        """See ``SacGradients``."""
        action, log_prob = self._policy.draw(state, noise)
        return self._target(state, action).amin(0) - alpha * log_prob

    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """See ``SacGradients``."""
        values = self._critic(state, action)
        loss = 0.5 * ((values - wanted) ** 2).mean(1).sum()
        _differentiate(loss, list(self._critic.parameters()))
        return loss.detach(), values.detach()

    def policy(self, state: Tensor, noise: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """See ``SacGradients``."""
        action, log_prob = self._policy.draw(state, noise)
        loss = (alpha * log_prob - self._critic(state, action).amin(0)).mean()
        _differentiate(loss, self._policy.trainable_parameters())
        return loss.detach(), log_prob.detach()


def _differentiate(loss: Tensor, parameters: list[nn.Parameter]) -> None:
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        assert parameter.grad is not None
        parameter.grad.copy_(gradient)


class DenseGradients:
    """For ``MlpPolicy`` with a squashed Gaussian, and ``TwinCritic``.

    With ``u = mean + std noise`` and ``a = tanh(u)``, per action dimension::

        dL_pi/du = (2 alpha a - (1 - a^2) dQ_min/da) / N,    as d log pi/du = 2 a
        dL_pi/dmean = dL_pi/du,    dL_pi/dlog_std = std noise dL_pi/du - alpha / N
    """

    def __init__(self, policy: MlpPolicy, critic: TwinCritic, target: TwinCritic) -> None:
        self._normalised, self._chunk = policy.normalised, policy.config.chunk
        self._actor = policy.dense
        self._critics = [DenseNetwork(member) for member in critic.members]
        self._targets = [DenseNetwork(member) for member in target.members]

    @torch.no_grad()
    def future(self, state: Tensor, noise: Tensor, alpha: Tensor) -> Tensor:
        """See ``SacGradients``."""
        mean, raw = self._split(self._actor.forward(self._normalised(state))[-1])
        log_std = raw.clamp(*LOG_STD_RANGE)
        token = torch.addcmul(mean, log_std.exp(), noise)
        joined = torch.cat((state, token.tanh()), dim=1)
        first, second = (network.forward(joined)[-1] for network in self._targets)
        log_prob = _log_prob(token, log_std, noise)
        return torch.minimum(first, second).squeeze(1) - alpha * log_prob

    @torch.no_grad()
    def critic(self, state: Tensor, action: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """See ``SacGradients``."""
        joined, found = torch.cat((state, action), dim=1), []
        for network in self._critics:
            kept = network.forward(joined)
            found.append(kept[-1].squeeze(1))
            network.backward(kept, (kept[-1] - wanted[:, None]).div_(len(wanted)))
        values = torch.stack(found)
        return 0.5 * (values - wanted).square_().mean(1).sum(), values

    @torch.no_grad()
    def policy(self, state: Tensor, noise: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """See ``SacGradients``."""
        number = len(state)
        kept = self._actor.forward(self._normalised(state))
        mean, raw = self._split(kept[-1])
        log_std = raw.clamp(*LOG_STD_RANGE)
        spread = log_std.exp().mul_(noise)
        token = mean + spread
        action = token.tanh()
        joined = torch.cat((state, action), dim=1)
        passes = [network.forward(joined) for network in self._critics]
        first, second = (one[-1] for one in passes)
        chosen = (first <= second).float()
        slope = torch.zeros_like(action)
        for network, one, share in zip(self._critics, passes, (chosen, 1.0 - chosen), strict=True):
            slope += network.backward(one, share, weights=False)[:, state.shape[1] :]
        by_token = torch.ops.aten.tanh_backward(slope, action).neg_().add_(2.0 * alpha * action).div_(number)
        by_log_std = (by_token * spread).sub_(alpha / number).mul_(raw == log_std)
        parts = (part.view(number, self._chunk, -1) for part in (by_token, by_log_std))
        self._actor.backward(kept, torch.cat(tuple(parts), dim=2).flatten(1))
        log_prob = _log_prob(token, log_std, noise)
        return (alpha * log_prob - torch.minimum(first, second).squeeze(1)).mean(), log_prob

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations ``[N, chunk * action_dim]`` of the policy network's outputs."""
        mean, log_std = outputs.view(len(outputs), self._chunk, -1).chunk(2, dim=2)
        return mean.flatten(1), log_std.flatten(1)


def _log_prob(token: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Log-density ``[N]`` of ``tanh(token)``; as ``SquashedGaussian.log_probs``, from the noise."""
    constant = 0.5 * math.log(2 * math.pi) + 2.0 * math.log(2.0)
    each = (noise.square().mul_(-0.5)).sub_(log_std).add_(token, alpha=2.0).add_(F.softplus(-2.0 * token), alpha=2.0)
    return each.sub_(constant).sum(1)
