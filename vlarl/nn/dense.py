"""Small networks of dense layers, run forwards and backwards by hand.

With two layers of 64 units the arithmetic of a pass is less work than what autograd and ``nn.Module`` do around it.
Off-policy learners make one update per control step, so that is most of their time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vlarl.nn.low_rank import FactoredLinear

Activation = Literal["none", "relu", "tanh"]


@dataclass(frozen=True)
class _Layer:
    owner: nn.Module
    weight_name: str
    bias_name: str
    """Empty: there is none."""
    activation: Activation

    @property
    def weight(self) -> Tensor:
        """``[out, in]``, as it is now: a cut brings other parameters."""
        return getattr(self.owner, self.weight_name)

    @property
    def bias(self) -> Tensor | None:
        """``[out]``."""
        return getattr(self.owner, self.bias_name) if self.bias_name else None


class DenseNetwork:
    """The layers of some modules, in order; their parameters are used where they are, not copied.

    Args:
        parts: ``nn.Linear``, ``FactoredLinear``, ``nn.ReLU``, ``nn.Tanh``, or ``nn.Sequential`` of these.

    Raises:
        TypeError: a module of another kind.
    """

    def __init__(self, *parts: nn.Module) -> None:
        self.layers: list[_Layer] = []
        for part in parts:
            self._append(part)

    def _append(self, part: nn.Module) -> None:
        if isinstance(part, nn.Sequential):
            for inner in part:
                self._append(inner)
        elif isinstance(part, nn.Linear):
            self.layers.append(_Layer(part, "weight", "" if part.bias is None else "bias", "none"))
        elif isinstance(part, FactoredLinear):
            self.layers += [_Layer(part, "second", "", "none"), _Layer(part, "first", "bias", "none")]
        elif isinstance(part, nn.ReLU | nn.Tanh) and self.layers and self.layers[-1].activation == "none":
            activation = "relu" if isinstance(part, nn.ReLU) else "tanh"
            self.layers[-1] = replace(self.layers[-1], activation=activation)
        else:
            raise TypeError(f"a dense network of linear layers, ReLU and tanh has no place for {part}")

    @torch.no_grad()
    def forward(self, values: Tensor) -> list[Tensor]:
        """The inputs ``[N, in]`` and what every layer makes of them, the outputs last."""
        kept = [values]
        for layer in self.layers:
            bias, weight = layer.bias, layer.weight.t()
            values = torch.mm(values, weight) if bias is None else torch.addmm(bias, values, weight)
            if layer.activation == "relu":
                values = values.relu_()
            elif layer.activation == "tanh":
                values = values.tanh_()
            kept.append(values)
        return kept

    @torch.no_grad()
    def backward(self, kept: list[Tensor], gradient: Tensor, *, weights: bool = True) -> Tensor:
        """The chain rule.

        Args:
            kept: what ``forward`` gave.
            gradient: of the outputs ``[N, out]``.
            weights: write the gradients of all parameters into their ``grad``, which must be there; otherwise leave
                them alone.

        Returns:
            The gradient of the inputs ``[N, in]``; with ``weights``, that of the first layer's outputs.
        """
        for index in reversed(range(len(self.layers))):
            layer, result = self.layers[index], kept[index + 1]
            if layer.activation == "relu":
                gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
            elif layer.activation == "tanh":
                gradient = torch.ops.aten.tanh_backward(gradient, result)
            if weights:
                torch.mm(gradient.t(), kept[index], out=layer.weight.grad)
                bias = layer.bias
                if bias is not None:
                    torch.sum(gradient, 0, out=bias.grad)
            if index or not weights:
                gradient = torch.mm(gradient, layer.weight)
        return gradient

    def row(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs ``[out]`` for one row of inputs ``[in]``, by numpy, whose calls cost least."""
        result: Any = values
        for layer in self.layers:
            bias, result = layer.bias, layer.weight.detach().numpy() @ result
            if bias is not None:
                result += bias.detach().numpy()
            if layer.activation == "relu":
                np.maximum(result, 0.0, out=result)
            elif layer.activation == "tanh":
                np.tanh(result, out=result)
        return result
