"""A small policy over a state vector: Gaussian, squashed Gaussian, Beta or categorical actions.

``state [S]`` (normalised by running moments) -> layers -> parameters of a distribution per chunk step. With
``value_head`` the same layers also give a value (``--objective.critic.source policy``). Sizes follow the environment:
``policy="vlarl.policies.mlp:MlpPolicy"``, or ``:SquashedMlp``, ``:BetaMlp`` for the other continuous ones; discrete
actions are categorical.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from vlarl.env_protocol import EnvConfig, Float32Array, Observation
from vlarl.errors import ConfigError
from vlarl.nn.dense import DenseNetwork
from vlarl.nn.low_rank import FactoredLinear
from vlarl.nn.running_moments import RunningMoments
from vlarl.policies.block_acting import act_in_blocks
from vlarl.policies.distributions import Beta, Categorical, Distribution, Gaussian, SquashedGaussian
from vlarl.policies.plain_files import load_plain, save_plain
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput

Kind = Literal["gaussian", "squashed", "beta", "categorical"]


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """Sizes."""

    state_size: int = 4
    low: tuple[float, ...] = (-1.0, -1.0)
    """Smallest action per dimension, in environment units."""
    high: tuple[float, ...] = (1.0, 1.0)
    """Largest action per dimension."""
    choices: int = 0
    """Number of discrete actions; 0: actions are continuous."""
    distribution: Kind = "gaussian"
    chunk: int = 1
    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    log_std: float = 0.0
    """Log deviation at the start."""
    state_dependent_std: bool = False
    """Whether the network gives the deviation too (SAC), or it is a parameter of its own (PPO)."""
    normalise: bool = True
    """Normalise states by the moments of all training states so far."""
    value_head: bool = False
    rank: int = 0
    """Hidden weights after the first layer are products of factors of this rank at most; 0: plain weights."""

    def build_distribution(self) -> Distribution:
        """The distribution object."""
        if self.distribution == "categorical":
            return Categorical(self.choices)
        return {"gaussian": Gaussian, "squashed": SquashedGaussian, "beta": Beta}[self.distribution](len(self.low))


class MlpPolicy(nn.Module):
    """The policy.

    Args:
        config: sizes.
        seed: of the initial weights.
    """

    defaults: dict[str, Any] = {}  # noqa: RUF012 - read only; subclasses name other defaults
    """Fields that ``for_env`` sets besides the sizes."""

    def __init__(self, config: MlpConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or MlpConfig()
        self.version = 0
        self.distribution = config.build_distribution()
        self.own_log_std = config.distribution in ("gaussian", "squashed") and not config.state_dependent_std
        outputs = config.chunk * self.distribution.num_parameters // (2 if self.own_log_std else 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width, layers = config.state_size, []
            for index, size in enumerate(config.hidden):
                layer: nn.Module = _linear(width, size, 2**0.5)
                if config.rank and index:
                    layer = FactoredLinear(layer.weight, layer.bias, config.rank)
                layers += [layer, nn.Tanh() if config.activation == "tanh" else nn.ReLU()]
                width = size
            self.body = nn.Sequential(*layers)
            self.head = _linear(width, outputs, 0.01)
            self.value = _linear(width, 1, 1.0) if config.value_head else None
        self.dense = DenseNetwork(self.body, self.head)
        """From normalised states to parameters of the actions, for passes by hand."""
        self.log_std = nn.Parameter(torch.full((config.chunk, len(config.low)), config.log_std), self.own_log_std)
        self.moments = RunningMoments(config.state_size)
        self.centre = (np.array(config.high) + np.array(config.low)) / 2
        self.half_range = (np.array(config.high) - np.array(config.low)) / 2

    @classmethod
    def for_env(cls, env: EnvConfig, *, seed: int = 0, **changes: Any) -> Self:
        """A fresh policy whose sizes follow ``env.spaces()``.

        Raises:
            ConfigError: the environment does not tell its sizes.
        """
        if not hasattr(env, "spaces"):
            raise ConfigError(
                f"{cls.__name__} needs to know the environment's sizes, and {type(env).__name__} has no spaces(): "
                "name a checkpoint folder, or a function that builds the policy"
            )
        spaces = env.spaces()
        config = MlpConfig(**spaces)
        if config.choices:
            return cls(replace(config, distribution="categorical", **changes), seed=seed)
        return cls(replace(config, **(cls.defaults | changes)), seed=seed)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One uniform number per token."""
        return (self.config.chunk, self.distribution.num_tokens)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Everything that has a gradient."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @torch.inference_mode()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide row by row: so small a network gains little from batching, and rows stay independent bit for bit."""
        outputs = []
        for observation, uniform in zip(observations, noise, strict=True):
            state = torch.from_numpy(observation.state)
            seen = self.moments.normalise_row(observation.state) if self.config.normalise else observation.state
            parameters = self._shaped(torch.from_numpy(self.dense.row(seen))[None])
            if decoding.mode == "sample":
                tokens = self.distribution.sample(parameters, torch.from_numpy(uniform)[None], decoding.temperature)
            else:
                tokens = self.distribution.mode(parameters)
            log_probs, _ = self.distribution.log_probs(parameters, tokens, decoding.temperature)
            kind = np.int16 if self.config.choices else np.float32
            outputs.append(
                PolicyOutput(
                    actions=self._in_environment_units(self.distribution.actions(tokens)[0]),
                    tokens=tokens[0].numpy().astype(kind),
                    log_probs=log_probs[0].numpy(),
                    inputs={"state": state},
                    temperature=decoding.temperature,
                    version=self.version,
                )
            )
        return outputs

    def evaluate(self, inputs: dict[str, Tensor], tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``float32 [N, chunk, token]``."""
        return self.distribution.log_probs(self._action_parameters(inputs["state"]), tokens, temperature)

    def values(self, inputs: dict[str, Tensor], *, head_only: bool = False) -> Tensor:
        """Value ``float32 [N]`` from the layers that actions are decided with.

        Args:
            inputs: as ``evaluate`` takes them.
            head_only: the gradient reaches the value head, and not those layers.

        Raises:
            ConfigError: the policy was built without a value head.
        """
        if self.value is None:
            raise ConfigError("this policy has no value head: build it with value_head=True, or use a separate critic")
        hidden = self.body(self.normalised(inputs["state"]))
        return self.value(hidden.detach() if head_only else hidden).squeeze(-1)

    def draw(self, state: Tensor, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Actions ``[N, chunk * action_dim]`` in (-1, 1) and log-probabilities ``[N]``, differentiable (for SAC).

        Args:
            state: ``float32 [N, S]``.
            normal: standard normal noise ``[N, chunk * action_dim]``.

        Raises:
            ConfigError: not a squashed Gaussian.
        """
        if not isinstance(self.distribution, SquashedGaussian):
            raise ConfigError(f"SAC needs a squashed Gaussian, found {self.config.distribution}: use SquashedMlp")
        parameters = self._action_parameters(state)
        mean, log_std = self.distribution.split(parameters, 1.0)
        tokens = mean + log_std.exp() * normal.view_as(mean)
        log_probs, _ = self.distribution.log_probs(parameters, tokens, 1.0)
        return tokens.tanh().flatten(1), log_probs.flatten(1).sum(1)

    def learn_moments(self, inputs: dict[str, Tensor]) -> None:
        """Take new training states into the moments (called once per iteration, after the update)."""
        if self.config.normalise:
            self.moments.update(inputs["state"])

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_plain(folder, self, "vlarl.policies.mlp:MlpPolicy", self.config, card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load.

        Raises:
            CheckpointError: a field or tensor does not fit.
        """
        return load_plain(folder, MlpConfig, cls, "an MlpPolicy")

    def normalised(self, state: Tensor) -> Tensor:
        """States as the network gets them."""
        return self.moments.normalise(state) if self.config.normalise else state

    def _action_parameters(self, state: Tensor) -> Tensor:
        """``[N, chunk, P]``."""
        return self._shaped(self.head(self.body(self.normalised(state))))

    def _shaped(self, outputs: Tensor) -> Tensor:
        """Outputs of the network ``[N, ...]`` per chunk step, own deviations added: ``[N, chunk, P]``."""
        outputs = outputs.view(len(outputs), self.config.chunk, -1)
        if self.own_log_std:
            outputs = torch.cat((outputs, self.log_std.expand_as(outputs)), dim=-1)
        return outputs

    def _in_environment_units(self, actions: Tensor) -> Float32Array:
        values = actions.numpy()
        if self.config.choices:
            return values.astype(np.float32)
        return (self.centre + self.half_range * values).astype(np.float32)


class SquashedMlp(MlpPolicy):
    """SAC's policy: tanh of a Gaussian whose deviation depends on the state, ReLU layers, raw states."""

    defaults = {  # noqa: RUF012
        "distribution": "squashed",
        "hidden": (256, 256),
        "activation": "relu",
        "state_dependent_std": True,
        "normalise": False,
    }


class FactoredMlp(MlpPolicy):
    """``SquashedMlp`` with two layers of 64, the second one in factors whose rank AdaRL cuts."""

    defaults = {**SquashedMlp.defaults, "hidden": (64, 64), "rank": 64}  # noqa: RUF012


class BetaMlp(MlpPolicy):
    """Beta-distributed actions: bounded without clipping."""

    defaults = {"distribution": "beta"}  # noqa: RUF012


class DrivingMlp(BetaMlp):
    """For the vectors of ``envs/drive.py``: wider, with a value head, many episodes' decisions in one pass."""

    defaults = {"distribution": "beta", "hidden": (256, 256), "value_head": True}  # noqa: RUF012

    @torch.inference_mode()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide block by block."""
        return act_in_blocks(
            [{"state": torch.from_numpy(seen.state)} for seen in observations],
            noise,
            decoding,
            distribution=self.distribution,
            parameters=lambda inputs: self._action_parameters(inputs["state"]),
            version=self.version,
        )

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_plain(folder, self, "vlarl.policies.mlp:DrivingMlp", self.config, card)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.constant_(layer.bias, 0.0)
    return layer
