"""Several Q networks evaluated as one: their weights are stacked, so that a layer is one batched product."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


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
