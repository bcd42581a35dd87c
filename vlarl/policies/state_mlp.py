"""A small token policy over the proprioceptive state alone: the loop's test subject, and a template to copy.

``state [S]`` -> two tanh layers -> logits ``[chunk, action_dim, bins]``; bins divide [-1, 1] evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from vlarl.env_protocol import Float32Array, Observation
from vlarl.policies.action_tokens import log_probs_and_entropy, sample_tokens
from vlarl.policies.plain_files import load_plain, save_plain
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput


@dataclass(frozen=True, kw_only=True)
class StateMlpConfig:
    """Sizes; the defaults fit the toy environment."""

    state_size: int = 4
    chunk: int = 4
    action_dim: int = 2
    bins: int = 9
    hidden: int = 32


class StateMlp(nn.Module):
    """The policy.

    Args:
        config: sizes.
        seed: of the initial weights.
    """

    def __init__(self, config: StateMlpConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config or StateMlpConfig()
        self.version = 0
        outputs = self.config.chunk * self.config.action_dim * self.config.bins
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = nn.Sequential(
                nn.Linear(self.config.state_size, self.config.hidden),
                nn.Tanh(),
                nn.Linear(self.config.hidden, self.config.hidden),
                nn.Tanh(),
                nn.Linear(self.config.hidden, outputs),
            )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One uniform number per action token."""
        return (self.config.chunk, self.config.action_dim)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Everything."""
        return list(self.parameters())

    @torch.inference_mode()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide row by row: so small a network gains nothing from batching, and rows stay independent bit for bit."""
        centres = np.linspace(-1.0, 1.0, self.config.bins, dtype=np.float32)
        outputs = []
        for observation, uniform in zip(observations, noise, strict=True):
            state = torch.from_numpy(observation.state)
            logits = self._logits(state[None])
            if decoding.mode == "sample":
                tokens = sample_tokens(logits, torch.from_numpy(uniform)[None], decoding.temperature)
            else:
                tokens = logits.argmax(-1)
            log_probs, _ = log_probs_and_entropy(logits, tokens, decoding.temperature)
            actions = centres[tokens[0].numpy()]
            if decoding.mode == "expectation":
                weights = torch.softmax(logits[0] / decoding.temperature, -1).numpy()
                actions = (weights * centres).sum(-1)
            outputs.append(
                PolicyOutput(
                    actions=actions,
                    tokens=tokens[0].numpy().astype(np.int16),
                    log_probs=log_probs[0].numpy(),
                    inputs={"state": state},
                    temperature=decoding.temperature,
                    version=self.version,
                )
            )
        return outputs

    def evaluate(self, inputs: dict[str, Tensor], tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``float32 [N, chunk, action_dim]``."""
        return log_probs_and_entropy(self._logits(inputs["state"]), tokens, temperature)

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_plain(folder, self, "vlarl.policies.state_mlp:StateMlp", self.config, card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load.

        Raises:
            CheckpointError: a field or tensor does not fit.
        """
        return load_plain(folder, StateMlpConfig, cls, "a StateMlp")

    def _logits(self, state: Tensor) -> Tensor:
        return self.net(state).view(-1, self.config.chunk, self.config.action_dim, self.config.bins)
