"""Two Q networks."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from vlarl.nn.low_rank import FactoredLinear

MEMBERS = 2


class TwinCritic(nn.Module):
    """``Q_i(s, a)`` for i in 0, 1, ReLU layers.

    Args:
        inputs: state size plus action size.
        hidden: layer widths.
        generator: of the initial weights (uniform in ``+- 1 / sqrt(inputs of the layer)``, torch's default for linear
            layers).
        factored: whether weights between two hidden layers are products of factors.
        rank: of the factors at most; 0: as many as there are directions.
    """

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        generator: torch.Generator,
        *,
        factored: bool = False,
        rank: int = 0,
    ) -> None:
        super().__init__()
        layers: list[list[nn.Module]] = [[] for _ in range(MEMBERS)]
        sizes = [inputs, *hidden, 1]
        for index, (before, after) in enumerate(itertools.pairwise(sizes)):
            weights = (torch.rand((MEMBERS, before, after), generator=generator) * 2.0 - 1.0) / before**0.5
            biases = (torch.rand((MEMBERS, after), generator=generator) * 2.0 - 1.0) / before**0.5
            for member, weight, bias in zip(layers, weights, biases, strict=True):
                if factored and 0 < index < len(hidden):
                    member.append(FactoredLinear(weight.mT, bias, rank or None))
                else:
                    member.append(_linear(weight.mT, bias))
                member.append(nn.ReLU())
        self.members = nn.ModuleList([nn.Sequential(*member[:-1]) for member in layers])

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """``float32 [2, N]``."""
        joined = torch.cat((state, action), dim=-1)
        return torch.stack([member(joined).squeeze(-1) for member in self.members])


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
