"""Small networks of dense layers without ``nn.Module`` around them, which costs more than their arithmetic.

One row goes through them here; many rows, and the way back, in ``vlarl/nn/dense_passes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vlarl.nn.low_rank import FactoredLinear

Activation = Literal["none", "relu", "tanh"]
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "tanh")


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
