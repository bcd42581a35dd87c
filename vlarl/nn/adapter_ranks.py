"""Ranks of low-rank adapters that follow what training needs: the rank controller of AdaRL, applied to LoRA.

Every few iterations the spectrum of each trained product ``B A`` is found from thin QR factors and the rank rule says
how many of its directions are kept (``vlarl.nn.low_rank``); a cut product is written back as balanced factors. AdaRL
(arXiv 2510.11899) does this to the hidden weights of small policies; here the weight is frozen and its change is cut.

A cut comes at the end of an iteration's update, so the next rollouts are played by the policy that is trained on them.
Adam's moments of the layers that were cut begin anew, since their factors have another basis, and so does the running
average of their weights; the learning rate of all parameters rises again from 0 over ``warmup_updates``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from vlarl.errors import ConfigError
from vlarl.nn.adapters import adapters
from vlarl.nn.low_rank import RankController, RankRule


@dataclass(frozen=True, kw_only=True)
class AdapterRankConfig:
    """When and how far the ranks of adapters (``load.adapter_rank``) are cut."""

    every: int = 0
    """Iterations between cuts; 0: ranks stay."""
    first: int = 0
    """Iterations before the first cut, since a spectrum means little before something was learned; 0: ``every``."""
    last: int = 0
    """No cut after this iteration, so that the policy recovers before the run ends; 0: none is the last."""
    rule: RankRule = field(default_factory=lambda: RankRule(beta=0.9))
    """How many directions are kept."""
    reference: Literal["peak", "current"] = "peak"
    """What energies are compared with: the most that a layer had at any cut (has a fixed point), or what it has now."""
    warmup_updates: int = 8
    """Optimiser steps over which the learning rate rises after a cut."""
    score_episodes: int = 0
    """Episodes from training starts that are played right before and right after a cut, alike; 0: none."""
    tolerance: float = 0.1
    """A cut is taken back if their success falls by more than this share of it."""

    def __post_init__(self) -> None:
        numbers = (self.every, self.first, self.last, self.warmup_updates, self.score_episodes, self.tolerance)
        if min(numbers) < 0:
            raise ConfigError(f"adapter_ranks: {self}; expected no number below 0")

    def is_due(self, iteration: int) -> bool:
        """Whether ranks are cut after this many finished iterations."""
        first = self.first or self.every
        if not self.every or iteration < first or (self.last and iteration > self.last):
            return False
        return (iteration - first) % self.every == 0


class AdapterRanks:
    """Cuts the adapters of a policy.

    Args:
        policy: with adapters (``vlarl.nn.adapters.LowRankLinear``).
        trained: parameters that learn; adapters without any of them keep their rank and are not counted.
        config: when and how far.

    Raises:
        ConfigError: no adapter is trained.
    """

    def __init__(self, policy: nn.Module, trained: Sequence[nn.Parameter], config: AdapterRankConfig) -> None:
        known = {id(parameter) for parameter in trained}
        self.layers = {name: layer for name, layer in adapters(policy) if id(layer.lora_a) in known}
        if not self.layers:
            raise ConfigError(
                f"adapter_ranks.every is {config.every}, but no low-rank adapter is trained: "
                "set --load.adapter-rank 16, or --learner.adapter-ranks.every 0"
            )
        self.config = config
        self.controller = RankController(
            list(self.layers.values()), config.rule, reference=config.reference, tolerance=config.tolerance
        )
        self.score: Callable[[], float] | None = None
        """Success of the policy as it is; set by whoever can play episodes."""
        self.last_cut = -1
        """Optimiser steps before the last cut; -1: none yet."""

    def cut_if_due(self, iteration: int, updates: int) -> list[nn.Parameter]:
        """Cut, where this many finished iterations ask for it; returns the parameters that are others now."""
        if not self.config.is_due(iteration):
            return []
        before = {name: layer.rank for name, layer in self.layers.items()}
        if not self._cut():
            return []
        self.last_cut = updates
        cut = [layer for name, layer in self.layers.items() if layer.rank != before[name]]
        return [parameter for layer in cut for parameter in (layer.lora_a, layer.lora_b)]

    def _cut(self) -> bool:
        """Cut, and take it back where the score says so; whether anything is changed."""
        with _one_thread():
            if not self.controller.would_cut():
                return False
        before = self.score() if self.score else 0.0
        with _one_thread():
            self.controller.cut()
        return not (self.score and self.controller.revert_if_worse(before, self.score()))

    def rate_factor(self, updates: int) -> float:
        """Factor of the learning rate at the optimiser step number ``updates`` (from 0)."""
        if self.last_cut < 0:
            return 1.0
        return min(1.0, (updates - self.last_cut + 1) / max(self.config.warmup_updates, 1))

    def metrics(self) -> dict[str, float]:
        """``rank_mean``, ``rank_min``, ``rank_max``, ``rank_reverts``, and ``rank/LAYER`` of every trained adapter."""
        ranks = {f"rank/{name}": float(layer.rank) for name, layer in self.layers.items()}
        values = list(ranks.values())
        summary = {"rank_mean": sum(values) / len(values), "rank_min": min(values), "rank_max": max(values)}
        reverts = sum(bool(event["reverted"]) for event in self.controller.history)
        return summary | {"rank_reverts": float(reverts)} | ranks

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the weights, whose shapes say the ranks."""
        controller = self.controller
        return {"last_cut": self.last_cut, "totals": controller.totals, "history": controller.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken; the policy must have been loaded before."""
        self.last_cut = int(state["last_cut"])
        self.controller.totals = list(state["totals"])
        self.controller.history = list(state["history"])


@contextmanager
def _one_thread() -> Iterator[None]:
    """The last bits of a decomposition depend on the number of threads, and a resumed run must find the same ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
