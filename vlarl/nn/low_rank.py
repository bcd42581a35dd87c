"""Weights as a product of two thin factors, and the rules by which their rank is chosen.

AdaRL (arXiv 2510.11899) replaces a hidden weight ``W [out, in]`` by ``W1 [out, r] W2 [r, in]`` without bias or
activation in between, and now and then cuts r to what the singular values ``sigma`` ask for:

========== ======================================================================= ====================
rule       rank                                                                    source
========== ======================================================================= ====================
eq14       ``max {l : sum_{i<=l} sigma_i / sum_i sigma_i <= beta}``, at least 1    AdaRL eq. 14, as run
eq16       ``min {l : sigma_l / sigma_1 <= beta}``, all of them if there is none   AdaRL eq. 16
min_energy ``min {l : sum_{i<=l} sigma_i >= beta * total}``                        ours
objective  ``argmin_r sqrt(sum_{i>r} sigma_i^2) + penalty r``, the smaller of two  AdaRL's upper level
========== ======================================================================= ====================

``eq14`` has no fixed point: with beta < 1 every use removes at least one direction, since all of them together exceed
beta. ``min_energy`` against the *initial* total has one: once what is left of the energy is needed, nothing is cut.

After a cut the factors are balanced: ``W1 = U_r sqrt(S_r)``, ``W2 = sqrt(S_r) V_r^T``, so both have the same norm. QR
of the thin factors comes first, so a cut costs ``O((out + in) r^2)`` and the product is never formed: LoRA factors
(``W1 = B``, ``W2 = A``, ``vlarl/nn/adapters.py``) of a large weight are cut the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlarl.errors import ConfigError

TOLERANCE = 1e-12
"""Ratios this near to beta count as equal to it."""


@dataclass(frozen=True, kw_only=True)
class RankRule:
    """How many directions are kept."""

    name: Literal["eq14", "eq16", "min_energy", "objective"] = "min_energy"
    beta: float = 0.98
    """Share of the energy (eq14, min_energy) or of the largest singular value (eq16)."""
    penalty: float = 0.01
    """Price of a direction (objective)."""
    minimum: int = 1
    """Never fewer."""

    def __post_init__(self) -> None:
        if not 0 < self.beta <= 1:
            raise ConfigError(f"beta of the rank rule is {self.beta}; expected more than 0 and at most 1")
        if self.minimum < 1 or self.penalty < 0:
            raise ConfigError(f"rank rule: minimum {self.minimum} and penalty {self.penalty}; expected 1.. and 0..")

    def rank(self, sigma: Tensor, total: float | None = None) -> int:
        """Directions to keep of singular values ``[r]``, largest first.

        Args:
            sigma: singular values.
            total: what counts as the whole energy (min_energy); None: their present sum.
        """
        sigma = sigma.double()
        count = len(sigma)
        energy = torch.cumsum(sigma, 0)
        whole = float(energy[-1])
        if whole <= 0:
            return min(self.minimum, count)
        if self.name == "eq14":
            found = int((energy / whole <= self.beta + TOLERANCE).sum())
        elif self.name == "eq16":
            below = (sigma / sigma[0] <= self.beta + TOLERANCE).nonzero()
            found = int(below[0]) + 1 if len(below) else count
        elif self.name == "min_energy":
            enough = (energy >= self.beta * (whole if total is None else total) - TOLERANCE).nonzero()
            found = int(enough[0]) + 1 if len(enough) else count
        else:
            tail = torch.cat((sigma.flip(0).square().cumsum(0).flip(0)[1:], torch.zeros(1, dtype=sigma.dtype))).sqrt()
            found = int(torch.argmin(tail + self.penalty * torch.arange(1, count + 1))) + 1
        return min(max(found, self.minimum), count)


def singular_values(first: Tensor, second: Tensor) -> Tensor:
    """Of ``first [out, r] @ second [r, in]``, largest first ``[r]``, without forming the product."""
    return _thin_svd(first, second)[1]


def truncate(first: Tensor, second: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Balanced factors ``[out, rank], [rank, in]`` of the best approximation of ``first @ second`` of that rank."""
    left, sigma, right = _thin_svd(first, second)
    root = sigma[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def resized(first: Tensor, second: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of another rank: cut (``truncate``), or with random directions that change nothing yet.

    New columns of ``first`` are orthogonal to its others; ``second`` is 0 there.
    """
    added = rank - first.shape[1]
    if added <= 0:
        return truncate(first, second, rank)
    new = torch.randn(first.shape[0], added, generator=torch.Generator().manual_seed(rank)).to(first)
    basis = torch.linalg.qr(first)[0]
    new = torch.linalg.qr(new - basis @ (basis.mT @ new))[0]
    return torch.cat((first, new), dim=1), torch.cat((second, second.new_zeros(added, second.shape[1])))


def _thin_svd(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    left, upper = torch.linalg.qr(first)
    right, lower = torch.linalg.qr(second.mT)
    u, sigma, vh = torch.linalg.svd(upper @ lower.mT, full_matrices=False)
    return left @ u, sigma, vh @ right.mT


class Factored(Protocol):
    """A layer with a weight, or a change of one, that is a product of two thin factors."""

    @property
    def rank(self) -> int:
        """Directions that there are now."""
        ...

    def factors(self) -> tuple[Tensor, Tensor]:
        """``[out, rank]`` and ``[rank, in]``, detached."""
        ...

    def set_factors(self, first: Tensor, second: Tensor) -> None:
        """Take these instead, of any rank."""
        ...


class FactoredLinear(nn.Module):
    """A linear layer whose weight is ``first @ second``.

    Args:
        weight: ``[out, in]`` to start from.
        bias: ``[out]``.
        rank: None: as many as there are directions.
    """

    def __init__(self, weight: Tensor, bias: Tensor, rank: int | None = None) -> None:
        super().__init__()
        full = min(weight.shape)
        rank = min(rank or full, full)
        u, sigma, vh = torch.linalg.svd(weight.detach(), full_matrices=False)
        root = sigma[:rank].sqrt()
        self.first = nn.Parameter(u[:, :rank] * root)
        self.second = nn.Parameter(root[:, None] * vh[:rank])
        self.bias = nn.Parameter(bias.detach().clone())

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Take over the rank of what is loaded."""
        for name in ("first", "second"):
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != getattr(self, name).shape:
                setattr(self, name, nn.Parameter(torch.empty_like(saved)))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def rank(self) -> int:
        """Directions that there are now."""
        return self.first.shape[1]

    def forward(self, values: Tensor) -> Tensor:
        """``values [..., in]`` to ``[..., out]``."""
        return F.linear(F.linear(values, self.second), self.first, self.bias)

    def factors(self) -> tuple[Tensor, Tensor]:
        """See ``Factored``."""
        return self.first.detach(), self.second.detach()

    def set_factors(self, first: Tensor, second: Tensor) -> None:
        """See ``Factored``; the parameters are new ones."""
        self.first, self.second = nn.Parameter(first.contiguous()), nn.Parameter(second.contiguous())

    @torch.no_grad()
    def set_rank(self, rank: int) -> None:
        """Cut to ``rank`` directions, or add random ones that change nothing yet (``second`` is 0 there)."""
        self.set_factors(*resized(self.first, self.second, rank))


class RankController:
    """Decides how far to cut, cuts, takes a cut back that costs too much, and gives directions back on request.

    A layer that is all zero has learned nothing yet (a fresh LoRA) and keeps its rank.

    Args:
        layers: what is cut.
        rule: how far.
        reference: what energies are compared with. ``current``: what a layer has now (faithful to the paper);
            ``initial``: what it had at first (has a fixed point, but a layer that has grown since may be left with one
            direction); ``peak``: the most it had at first or at any cut (has a fixed point too: a cut layer is cut
            again only after it has grown).
        tolerance: a cut is taken back if the score falls by more than this share of its size.
    """

    def __init__(
        self,
        layers: Sequence[Factored],
        rule: RankRule,
        *,
        reference: Literal["current", "initial", "peak"] = "initial",
        tolerance: float = 0.05,
    ) -> None:
        self.layers = list(layers)
        self.rule = rule
        self.reference = reference
        self.tolerance = tolerance
        self.totals = [float(singular_values(*layer.factors()).sum()) for layer in self.layers]
        self.history: list[dict[str, object]] = []
        self._saved: list[tuple[Tensor, Tensor]] = []

    def wanted(self) -> list[int]:
        """Rank of every layer under the rule; never more than it has."""
        found = []
        for index, layer in enumerate(self.layers):
            sigma = singular_values(*layer.factors())
            energy = float(sigma.sum())
            if self.reference == "peak":
                self.totals[index] = max(self.totals[index], energy)
            total = None if self.reference == "current" else self.totals[index]
            found.append(self.rule.rank(sigma, total) if energy > 0 else layer.rank)
        return found

    def would_cut(self) -> bool:
        """Whether the rule asks for fewer directions anywhere."""
        return any(rank < layer.rank for rank, layer in zip(self.wanted(), self.layers, strict=True))

    def cut(self, ranks: Sequence[int] | None = None) -> bool:
        """Cut every layer; whether anything changed (optimisers must then be made anew).

        Args:
            ranks: of the layers from now on, none more than it has; None: what the rule asks for.
        """
        before, after = [layer.rank for layer in self.layers], list(self.wanted() if ranks is None else ranks)
        self._saved = [(first.clone(), second.clone()) for first, second in (part.factors() for part in self.layers)]
        for layer, rank in zip(self.layers, after, strict=True):
            if rank < layer.rank:
                layer.set_factors(*truncate(*layer.factors(), rank))
        self.history.append({"before": before, "after": after, "reverted": False})
        return before != after

    def grow(self, directions: int) -> bool:
        """Add so many random directions that change nothing yet to every layer, up to full rank; whether any were."""
        before = [layer.rank for layer in self.layers]
        for layer in self.layers:
            first, second = layer.factors()
            rank = min(layer.rank + directions, first.shape[0], second.shape[1])
            if rank > layer.rank:
                layer.set_factors(*resized(first, second, rank))
        after = [layer.rank for layer in self.layers]
        if after != before:
            self.history.append({"before": before, "after": after, "reverted": False})
        return after != before

    def cut_as_far_as(self, before: float, score: Callable[[], float], attempts: int) -> bool:
        """Cut to what the rule asks for, or half as far where the score does not allow it, or half of that, ...

        Args:
            before: the score now.
            score: measures it again.
            attempts: cuts to try.

        Returns:
            Whether anything changed, a cut that was taken back included.
        """
        ranks, tried = self.wanted(), False
        for _ in range(attempts):
            if not self.cut(ranks):
                break
            tried = True
            if not self.revert_if_worse(before, score()):
                break
            ranks = [(layer.rank + rank + 1) // 2 for layer, rank in zip(self.layers, ranks, strict=True)]
        return tried

    def revert_if_worse(self, before: float, after: float) -> bool:
        """Take the last cut back if the score fell by more than the tolerance; returns whether it was."""
        if after >= before - self.tolerance * abs(before):
            return False
        for layer, (first, second) in zip(self.layers, self._saved, strict=True):
            layer.set_factors(first, second)
        self.history[-1]["reverted"] = True
        return True


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor of the learning rate after a cut: 0 at step 0, 1 at ``warmup``, then a cosine down to 0 at ``total``."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))
