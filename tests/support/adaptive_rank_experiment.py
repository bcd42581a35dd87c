"""The toy with low-rank adapters whose ranks are cut while it learns: an experiment for ``vlarl train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from configs.toy_grpo import config as toy
from vlarl.config import TrainConfig
from vlarl.nn.adapter_ranks import AdapterRankConfig
from vlarl.nn.adapters import add_adapters
from vlarl.nn.low_rank import RankRule
from vlarl.policies.plain_files import load_plain, save_plain
from vlarl.policies.state_mlp import StateMlp, StateMlpConfig
from vlarl.policy import DEFAULT_LOAD, LoadConfig


class AdaptedMlp(StateMlp):
    """A ``StateMlp`` of which only low-rank adapters learn."""

    def __init__(self, config: StateMlpConfig | None = None, *, seed: int = 0, rank: int = 6) -> None:
        super().__init__(config, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_adapters(self.net, rank=rank, alpha=float(rank))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, load: LoadConfig = DEFAULT_LOAD, seed: int = 0) -> AdaptedMlp:
        """As it was saved, or its frozen weights with fresh adapters of another rank."""
        saved = load_plain(folder, StateMlpConfig, cls, "an AdaptedMlp")
        if load.adapter_rank == 0:
            return saved
        fresh = cls(saved.config, seed=seed, rank=load.adapter_rank)
        fresh.load_state_dict({n: v for n, v in saved.state_dict().items() if ".lora_" not in n}, strict=False)
        return fresh

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_plain(folder, self, f"{__name__}:AdaptedMlp", self.config, card)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The adapters."""
        return [parameter for name, parameter in self.named_parameters() if ".lora_" in name]


def config() -> TrainConfig:
    """Cuts after iterations 2, 4, 6, ..., taken back where success falls to a tenth."""
    base = toy()
    ranks = AdapterRankConfig(every=2, rule=RankRule(beta=0.8), warmup_updates=3, score_episodes=4, tolerance=0.9)
    return replace(
        base,
        name="adaptive_rank",
        policy="tests.support.adaptive_rank_experiment:AdaptedMlp",
        learner=replace(base.learner, learning_rate=2e-2, adapter_ranks=ranks),
    )
