"""Several Q networks evaluated as one: their weights are stacked, so that a layer is one batched product."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from vlarl.nn.low_rank import FactoredLinear


class TwinCritic(nn.Module):
    """``Q_i(s, a)`` for i in 0 .. members - 1, ReLU layers.

    Args:
        inputs: state size plus action size.
        hidden: layer widths.
        members: number of networks.
        generator: of the initial weights (uniform in ``+- 1 / sqrt(inputs of the layer)``, torch's default for linear
            layers).
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], generator: torch.Generator, members: int = 2) -> None:
        super().__init__()
        sizes = [inputs, *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in itertools.pairwise(sizes):
            for parameters, shape in ((self.weights, (members, before, after)), (self.biases, (members, 1, after))):
                uniform = torch.rand(shape, generator=generator) * 2.0 - 1.0
                parameters.append(nn.Parameter(uniform / before**0.5))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """``float32 [members, N]``."""
        joined = torch.cat((state, action), dim=-1)
        values = joined.expand(len(self.weights[0]), -1, -1)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values, weight)
            if index < len(self.weights) - 1:
                values = torch.relu(values)
        return values.squeeze(-1)


class FactoredCritic(nn.Module):
    """Two separate Q networks whose hidden weights after the first layer are products of factors.

    Args:
        inputs: state size plus action size.
        hidden: layer widths.
        generator: of the initial weights.
        rank: of the factors at most; 0: as many as there are directions.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], generator: torch.Generator, rank: int = 0) -> None:
        super().__init__()
        plain = TwinCritic(inputs, hidden, generator)
        self.members = nn.ModuleList()
        for member in range(2):
            layers: list[nn.Module] = []
            for index, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
                matrix, vector = weight[member].mT.detach(), bias[member, 0].detach()
                if 0 < index < len(plain.weights) - 1:
                    layers.append(FactoredLinear(matrix, vector, rank or None))
                else:
                    linear = nn.Linear(matrix.shape[1], matrix.shape[0])
                    with torch.no_grad():
                        linear.weight.copy_(matrix)
                        linear.bias.copy_(vector)
                    layers.append(linear)
                layers.append(nn.ReLU())
            self.members.append(nn.Sequential(*layers[:-1]))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        """``float32 [2, N]``."""
        joined = torch.cat((state, action), dim=-1)
        return torch.stack([member(joined).squeeze(-1) for member in self.members])
