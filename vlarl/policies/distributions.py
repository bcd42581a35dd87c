"""Action distributions of small policies: Gaussian, squashed Gaussian, Beta, categorical.

Each maps a network's parameters ``[..., C, P]`` (C chunk steps) to tokens ``[..., C, T]``: one real number per action
dimension, or one choice per step. Sampling is by inverse CDF from the episode's own uniform noise, so equal noise gives
equal tokens; a temperature T multiplies the spread (Gaussians), divides ``alpha - 1`` and ``beta - 1`` (Beta) or the
logits (categorical).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.nn import functional as F

from vlarl.policies.action_tokens import log_probs_and_entropy, sample_tokens

LOG_STD_RANGE = (-5.0, 2.0)
"""Bounds of a predicted log deviation."""
Temperature = float | Tensor


class Distribution(Protocol):
    """What ``MlpPolicy`` asks of a distribution."""

    @property
    def num_parameters(self) -> int:
        """P: outputs of the network per chunk step."""
        ...

    @property
    def num_tokens(self) -> int:
        """T: tokens per chunk step."""
        ...

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Tokens ``[..., C, T]`` for uniform ``noise [..., C, T]``."""
        ...

    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable tokens (for the squashed Gaussian: the median)."""
        ...

    def log_probs(self, parameters: Tensor, tokens: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``[..., C, T]``; ``temperature`` a number or ``[N, 1, 1, 1]``."""
        ...

    def actions(self, tokens: Tensor) -> Tensor:
        """``[..., C, A]`` in [-1, 1] (choices: their index)."""
        ...


@dataclass(frozen=True)
class PerDimension:
    """Two parameters and one token for every action dimension."""

    action_dim: int

    @property
    def num_parameters(self) -> int:
        """Mean and log deviation, or two shapes."""
        return 2 * self.action_dim

    @property
    def num_tokens(self) -> int:
        """One per dimension."""
        return self.action_dim


@dataclass(frozen=True)
class Gaussian(PerDimension):
    """Independent normal distributions; parameters are means and log deviations, tokens are unbounded actions."""

    def split(self, parameters: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Mean and log deviation, temperature included."""
        mean, log_std = parameters.chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        if isinstance(temperature, Tensor):
            return mean, log_std + temperature[..., 0].log()
        return mean, log_std + math.log(temperature)

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """``mean + std Phi^-1(noise)``."""
        mean, log_std = self.split(parameters, temperature)
        return mean + log_std.exp() * torch.special.ndtri(noise.double()).float()

    def mode(self, parameters: Tensor) -> Tensor:
        """The mean."""
        return parameters.chunk(2, dim=-1)[0]

    def log_probs(self, parameters: Tensor, tokens: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Normal density and its entropy."""
        mean, log_std = self.split(parameters, temperature)
        constant = 0.5 * math.log(2 * math.pi)
        log_probs = -0.5 * ((tokens - mean) * (-log_std).exp()) ** 2 - log_std - constant
        return log_probs, (log_std + 0.5 + constant).expand_as(log_probs)

    def actions(self, tokens: Tensor) -> Tensor:
        """Clipped; the density ignores the clip, as usual in PPO."""
        return tokens.clamp(-1.0, 1.0)


@dataclass(frozen=True)
class SquashedGaussian(Gaussian):
    """``tanh`` of a normal distribution (SAC); tokens are the values before ``tanh``."""

    def log_probs(self, parameters: Tensor, tokens: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Density of ``tanh(token)``; the entropy is the normal distribution's (the squashed one's has no formula)."""
        log_probs, entropy = super().log_probs(parameters, tokens, temperature)
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), stable for large |u|
        return log_probs - 2.0 * (math.log(2.0) - tokens - F.softplus(-2.0 * tokens)), entropy

    def actions(self, tokens: Tensor) -> Tensor:
        """``tanh``."""
        return tokens.tanh()


@dataclass(frozen=True)
class Beta(PerDimension):
    """Independent Beta distributions on the action range (Chou et al. 2017), both shapes above 1: one peak."""

    def split(self, parameters: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Both shapes."""
        above = F.softplus(parameters)
        above = above / (temperature[..., 0] if isinstance(temperature, Tensor) else temperature)
        alpha, beta = (1.0 + above).chunk(2, dim=-1)
        return alpha, beta

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Inverse of the regularised incomplete beta function, kept off the ends."""
        alpha, beta = self.split(parameters.detach(), temperature)
        values = betaincinv(alpha.double().numpy(), beta.double().numpy(), noise.double().numpy())
        return torch.from_numpy(values).float().clamp(1e-6, 1.0 - 1e-6)

    def mode(self, parameters: Tensor) -> Tensor:
        """``(alpha - 1) / (alpha + beta - 2)``."""
        alpha, beta = self.split(parameters, 1.0)
        return (alpha - 1.0) / (alpha + beta - 2.0)

    def log_probs(self, parameters: Tensor, tokens: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Density on (0, 1) and its entropy; a padded token (0) counts as one half."""
        alpha, beta = self.split(parameters, temperature)
        inside = (tokens > 0) & (tokens < 1)
        distribution = torch.distributions.Beta(alpha, beta, validate_args=False)
        return distribution.log_prob(torch.where(inside, tokens, 0.5)), distribution.entropy()

    def actions(self, tokens: Tensor) -> Tensor:
        """``2 x - 1``."""
        return 2.0 * tokens - 1.0


@dataclass(frozen=True)
class Categorical:
    """One of ``choices`` per control step."""

    choices: int

    @property
    def num_parameters(self) -> int:
        """One logit per choice."""
        return self.choices

    @property
    def num_tokens(self) -> int:
        """One."""
        return 1

    def sample(self, parameters: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Inverse CDF."""
        return sample_tokens(parameters[..., None, :], noise, temperature)

    def mode(self, parameters: Tensor) -> Tensor:
        """The largest logit."""
        return parameters.argmax(-1, keepdim=True)

    def log_probs(self, parameters: Tensor, tokens: Tensor, temperature: Temperature) -> tuple[Tensor, Tensor]:
        """Log-softmax."""
        return log_probs_and_entropy(parameters[..., None, :], tokens, temperature)

    def actions(self, tokens: Tensor) -> Tensor:
        """The index itself."""
        return tokens.float()
