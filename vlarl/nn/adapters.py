"""Low-rank adapters (LoRA): ``y = W x + (alpha / rank) B A x`` with W frozen.

Source: "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685). A starts Gaussian with standard
deviation ``1 / rank`` (OpenVLA's ``init_lora_weights="gaussian"``), B at zero, so a fresh adapter changes nothing.
Without dropout: a rollout and its update must compute the same probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRankLinear(nn.Linear):
    """A linear layer with an adapter beside its weight; the weight keeps its name in the ``state_dict``."""

    def __init__(self, in_features: int, out_features: int, bias: bool, rank: int, alpha: float) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(torch.empty(rank, in_features))
        self.lora_b = nn.Parameter(torch.zeros(out_features, rank))
        nn.init.normal_(self.lora_a, std=1.0 / rank)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., in]`` to ``[..., out]``; the adapter is kept in its own precision and cast to that of ``x``."""
        low = functional.linear(x, self.lora_a.to(x.dtype))
        return super().forward(x) + functional.linear(low, self.lora_b.to(x.dtype)) * self.scale

    @torch.no_grad()
    def merged_weight(self) -> Tensor:
        """``W + (alpha / rank) B A``, computed in single precision, in the type of W."""
        delta = self.lora_b.float() @ self.lora_a.float() * self.scale
        return (self.weight.float() + delta).to(self.weight.dtype)


def add_adapters(module: nn.Module, rank: int, alpha: float) -> None:
    """Replace every ``nn.Linear`` inside ``module`` by a ``LowRankLinear`` that shares its weight and bias."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                made = LowRankLinear(child.in_features, child.out_features, child.bias is not None, rank, alpha)
                made.weight, made.bias = child.weight, child.bias
                setattr(parent, name, made)


def adapters(module: nn.Module) -> Iterator[tuple[str, LowRankLinear]]:
    """Name and layer of every adapter in ``module``."""
    for name, child in module.named_modules():
        if isinstance(child, LowRankLinear):
            yield name, child
