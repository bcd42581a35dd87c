"""Action tokens: 256 bins over [-1, 1] at the end of the vocabulary, and the ways to choose among them.

Source: ``prismatic/vla/action_tokenizer.py`` of OpenVLA. Edges are ``linspace(-1, 1, 256)``, so there are 255
intervals and 255 centres; token id ``V - i`` stands for ``digitize`` index ``i`` in 1..256, and the two ids at the
top of the scale decode to the same centre. We number tokens from 0 in the order of their ids: token 0 is id
``V - 256`` and means about +0.996, token 255 is id ``V - 1`` and means about -0.996.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ActionTokens:
    """The bins of one policy.

    Args:
        num_bins: number of tokens (256 in every published checkpoint).
    """

    def __init__(self, num_bins: int = 256) -> None:
        self.num_bins = num_bins
        self.edges: NDArray[np.float64] = np.linspace(-1.0, 1.0, num_bins)
        centers = (self.edges[:-1] + self.edges[1:]) / 2
        # Value of token 0 .. num_bins - 1: falling, and the first two share the highest centre.
        self.values: NDArray[np.float64] = centers[np.clip(num_bins - 1 - np.arange(num_bins), 0, num_bins - 2)]

    def encode(self, normalised: NDArray[np.floating]) -> NDArray[np.int16]:
        """Tokens of actions in [-1, 1] (clipped), any shape."""
        index = np.digitize(np.clip(normalised, -1.0, 1.0), self.edges)
        return (self.num_bins - index).astype(np.int16)

    def decode(self, tokens: NDArray[np.integer]) -> NDArray[np.float64]:
        """Bin centres of tokens, any shape."""
        return self.values[tokens]

    def soft_targets(self, normalised: Tensor, sigma: float) -> Tensor:
        """Smoothed labels for imitation: a Gaussian of ``sigma`` bins around each action, ``[..., num_bins]``.

        The mass of neighbouring bins falls with their distance to the action itself, not to its bin, so the
        expectation of the targets is the action up to the width of a bin. ``sigma`` 0 gives the plain label.
        """
        values = torch.as_tensor(self.values, dtype=torch.float32, device=normalised.device)
        width = 2.0 / (self.num_bins - 1)
        distance = (values - normalised.clamp(-1.0, 1.0).unsqueeze(-1)) / width
        # The highest centre belongs to two tokens; encode() gives the first to +1 alone, so leave it out here.
        distance[..., 0] = float("inf")
        if sigma <= 0:
            return torch.nn.functional.one_hot(distance.abs().argmin(-1), self.num_bins).float()
        return torch.softmax(-0.5 * (distance / sigma) ** 2, dim=-1)


def sample_tokens(logits: Tensor, noise: Tensor, temperature: float) -> Tensor:
    """Inverse-CDF sampling: the token whose cumulative probability first exceeds ``noise``.

    Args:
        logits: ``float32 [..., bins]``.
        noise: uniform in (0, 1), ``float32 [...]``.
        temperature: divides the logits.

    Returns:
        ``int64 [...]``; the same logits and noise give the same tokens whatever else is in the batch.
    """
    cumulative = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
    threshold = noise.double().unsqueeze(-1) * cumulative[..., -1:]
    return (cumulative <= threshold).sum(dim=-1).clamp(max=logits.shape[-1] - 1)


def expected_values(logits: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Probability-weighted mean of the bin centres, and for the last entry the more probable sign.

    Args:
        logits: ``float32 [..., chunk, action_dim, bins]``.
        values: centres ``float64 [bins]``.
        temperature: divides the logits.

    Returns:
        ``float64 [..., chunk, action_dim]`` in [-1, 1]; the last entry (the gripper) is -1 or +1.
    """
    probabilities = torch.softmax(logits.double() / temperature, dim=-1)
    mean = probabilities @ values
    positive = (probabilities * (values > 0)).sum(dim=-1)
    negative = (probabilities * (values < 0)).sum(dim=-1)
    mean[..., -1] = torch.where(positive >= negative, 1.0, -1.0)[..., -1]
    return mean


def log_probs_of(logits: Tensor, tokens: Tensor, temperature: float | Tensor) -> Tensor:
    """Log-probability of ``tokens int64 [...]`` under ``softmax(logits / T)``, ``float32 [...]``."""
    return _gather(torch.log_softmax(logits.float() / temperature, dim=-1), tokens)


def log_probs_and_entropy(logits: Tensor, tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """``log_probs_of``, bit for bit, and the entropy of ``softmax(logits / T)``, ``float32 [...]``."""
    log_softmax = torch.log_softmax(logits.float() / temperature, dim=-1)
    return _gather(log_softmax, tokens), -(log_softmax.exp() * log_softmax).sum(dim=-1)


def _gather(log_softmax: Tensor, tokens: Tensor) -> Tensor:
    return log_softmax.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
