"""Passes forwards and backwards through small dense networks by hand.

With two layers of 64 units the arithmetic of a pass is less work than what autograd and ``nn.Module`` do around it.
Off-policy learners make one update per control step, so that is most of their time. Products are torch's; what lies
between them is compiled (numba), one call per layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, mm
from torch import addmm as biased_mm

from vlarl.nn.dense import ACTIVATIONS, DenseNetwork

RELU, TANH = ACTIVATIONS.index("relu"), ACTIVATIONS.index("tanh")


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _differentiate(gradient: Any, result: Any, activation: int, sums: Any) -> None:
    """Make a gradient of activations one of what went into them, in place; ``sums [out]`` gets its column sums."""
    rows, columns = gradient.shape
    sums[:] = 0.0
    for row in range(rows):
        if activation == RELU:
            for column in range(columns):
                gradient[row, column] = gradient[row, column] if result[row, column] > 0 else np.float32(0.0)
        elif activation == TANH:
            for column in range(columns):
                gradient[row, column] *= np.float32(1.0) - result[row, column] * result[row, column]
        for column in range(columns):
            sums[column] += gradient[row, column]


@dataclass(frozen=True)
class _Layer:
    weight: Tensor
    """``[out, in]``."""
    transposed: Tensor
    bias: Tensor | None
    activation: int
    weight_gradient: Tensor
    bias_gradient: NDArray[np.float32]
    scratch: NDArray[np.float32]
    """``[out]``."""


class DensePasses:
    """A network's passes with the parameters that it has now, which are used where they are.

    Make it anew when parameters are exchanged for others (a cut of their rank, ``flatten``).

    Args:
        network: whose parameters have a ``grad``.
    """

    def __init__(self, network: DenseNetwork) -> None:
        self.layers: list[_Layer] = []
        for layer in network.layers:
            weight, bias = layer.weight, layer.bias
            scratch = np.empty(len(weight), dtype=np.float32)
            gradient, by_bias = weight.grad, None if bias is None else bias.grad
            assert gradient is not None and (bias is None or by_bias is not None)
            self.layers.append(
                _Layer(
                    weight=weight.detach(),
                    transposed=weight.detach().t(),
                    bias=None if bias is None else bias.detach(),
                    activation=ACTIVATIONS.index(layer.activation),
                    weight_gradient=gradient,
                    bias_gradient=scratch if by_bias is None else by_bias.numpy(),
                    scratch=scratch,
                )
            )

    def forward(self, values: Tensor) -> list[Tensor]:
        """The inputs ``float32 [N, in]`` and what every layer makes of them, the outputs last."""
        kept = [values]
        for layer in self.layers:
            bias, weight = layer.bias, layer.transposed
            values = mm(values, weight) if bias is None else biased_mm(bias, values, weight)
            if layer.activation == RELU:
                values.relu_()
            elif layer.activation == TANH:
                values.tanh_()
            kept.append(values)
        return kept

    def backward(self, kept: list[Tensor], gradient: Tensor, *, weights: bool = True) -> Tensor:
        """The chain rule.

        Args:
            kept: what ``forward`` gave.
            gradient: of the outputs ``float32 [N, out]``; overwritten.
            weights: write the gradients of all parameters into their ``grad``; otherwise leave them alone.

        Returns:
            The gradient of the inputs ``[N, in]``; with ``weights``, that of the first layer's outputs.
        """
        for index in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[index]
            if layer.activation or (weights and layer.bias is not None):
                sums = layer.bias_gradient if weights else layer.scratch
                _differentiate(gradient.numpy(), kept[index + 1].numpy(), layer.activation, sums)
            if weights:
                mm(gradient.t(), kept[index], out=layer.weight_gradient)
            if index or not weights:
                gradient = mm(gradient, layer.weight)
        return gradient
