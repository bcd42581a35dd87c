"""Low-rank adapters (LoRA): ``y = W x + (alpha / rank) B A x`` with W frozen.

Source: "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685). A starts Gaussian with standard
deviation ``1 / rank`` (OpenVLA's ``init_lora_weights="gaussian"``), B at zero, so a fresh adapter changes nothing.
Without dropout: a rollout and its update must compute the same probabilities.

Ranks may differ by layer and change as training goes on. The scale stays what it was at first, so that cutting a
product whose rank is small anyway changes nothing; in peft's terms a layer's alpha is ``scale * rank``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlarl.errors import ConfigError, unknown_name


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

    @property
    def rank(self) -> int:
        """Directions that there are now."""
        return self.lora_a.shape[0]

    def factors(self) -> tuple[Tensor, Tensor]:
        """B ``[out, rank]`` and A ``[rank, in]``, detached; see ``vlarl.nn.low_rank.Factored``."""
        return self.lora_b.detach(), self.lora_a.detach()

    def set_factors(self, first: Tensor, second: Tensor) -> None:
        """Take this B and A, of any rank.

        The parameters stay the same objects, so that an optimiser keeps them; losses that were computed before can no
        longer be differentiated.
        """
        for parameter, value in ((self.lora_b, first), (self.lora_a, second)):
            parameter.grad = None
            parameter.data = value.detach().contiguous()

    def make_room(self, rank: int) -> None:
        """Factors of this rank, with nothing in them yet."""
        if rank != self.rank:
            b, a = self.factors()
            self.set_factors(b.new_empty(b.shape[0], rank), a.new_empty(rank, a.shape[1]))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take over the rank of what is loaded."""
        saved = state_dict.get(f"{prefix}lora_a")
        if saved is not None:
            self.make_room(len(saved))
        super()._load_from_state_dict(state_dict, prefix, *rest)

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


def set_ranks(module: nn.Module, ranks: Mapping[str, int]) -> None:
    """Make room in the named adapters for factors of these ranks; what is in them then means nothing.

    Raises:
        ConfigError: a layer without an adapter; the nearest name.
    """
    layers = dict(adapters(module))
    for name, rank in ranks.items():
        if name not in layers:
            raise ConfigError(unknown_name("adapted layer", name, layers))
        layers[name].make_room(rank)
