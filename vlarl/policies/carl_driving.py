"""CaRL's driving policy, made small: a bird's-eye view and a few measurements to Beta-distributed steer and pedal.

CaRL's network (arXiv 2504.17838, "roach_ln2", about 2 M parameters) looks at 256 x 256 pixels. What is kept: strided
convolutions with a normalisation after each, measurements through layers of their own, both joined, a policy and a
value head of two layers, further measurements for the value alone (an asymmetric critic), Beta distributions with
shapes above 1. What is scaled down, by these rules:

* 64 x 64 pixels at 1 per metre: the same density of things per pixel at which a lane is still 3 pixels wide; a quarter
  of CaRL's area, so its first two convolutions go;
* the remaining ones (24/5s2, 32/5s2, 64/3s2, 128/3, 256/3) become 16/4s4, 32/3s2, 32/3, 64/3: patches in place of
  overlapping windows, and about a seventh of the multiplications, so that a pass costs as much as the world's step;
* dense layers are half as wide;
* layers are normalised over channels and places as there, but with one scale per channel (group normalisation with one
  group), which keeps channels last in memory.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from vlarl.env_protocol import EnvConfig, Float32Array, Observation
from vlarl.errors import ConfigError
from vlarl.policies.block_acting import act_in_blocks
from vlarl.policies.distributions import Beta
from vlarl.policies.plain_files import load_plain, save_plain
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput


@dataclass(frozen=True, kw_only=True)
class CarlDrivingConfig:
    """Sizes."""

    side: int = 64
    """Pixels per side of the view."""
    metres: float = 64.0
    """Metres per side of the view."""
    channels: int = 10
    measured: int = 8
    """Numbers at the start of ``state`` that the policy sees."""
    privileged: int = 11
    """Numbers after them that only the value head sees."""
    convolutions: tuple[tuple[int, int, int], ...] = ((16, 4, 4), (32, 3, 2), (32, 3, 1), (64, 3, 1))
    """Channels, kernel and stride of each."""
    measured_layers: tuple[int, ...] = (128, 128)
    joint_layers: tuple[int, ...] = (256, 128)
    head_layers: tuple[int, ...] = (128, 128)
    """Of the policy head and of the value head each."""


class CarlDriving(nn.Module):
    """The policy.

    Args:
        config: sizes.
        seed: of the initial weights.
    """

    def __init__(self, config: CarlDrivingConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or CarlDrivingConfig()
        self.version = 0
        self.distribution = Beta(2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.image = _convolutions(config)
            seen = _features_seen(config)
            self.measurements = _dense(config.measured, config.measured_layers)
            self.joint = _dense(seen + config.measured_layers[-1], config.joint_layers, normalised=True)
            width = config.joint_layers[-1]
            self.actions = _dense(width, config.head_layers)
            self.actions.append(_linear(config.head_layers[-1], self.distribution.num_parameters, 0.01))
            self.value = _dense(width + config.privileged, config.head_layers)
            self.value.append(_linear(config.head_layers[-1], 1, 1.0))
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    def for_env(cls, env: EnvConfig, *, seed: int = 0, **changes: Any) -> Self:
        """A fresh policy for the view that ``env`` is set to.

        Raises:
            ConfigError: the environment gives no ten-channel view.
        """
        side, metres = getattr(env, "layers", 0), getattr(env, "layers_metres", 0.0)
        if not side:
            raise ConfigError(
                f"{cls.__name__} looks at images['layers'], which {type(env).__name__} does not give as it is set: "
                "take the driving world with --env.layers 64"
            )
        return cls(CarlDrivingConfig(side=side, metres=metres, **changes), seed=seed)

    def fit_env(self, env: EnvConfig) -> EnvConfig:
        """``env`` with the view that this policy was trained on.

        Raises:
            ConfigError: it is not a driving world.
        """
        settings: Any = env
        if not hasattr(env, "layers"):
            raise ConfigError(f"{type(self).__name__} drives; {type(env).__name__} has no ten-channel view for it")
        return dataclasses.replace(settings, layers=self.config.side, layers_metres=self.config.metres)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One uniform number for steer, one for pedal."""
        return (1, self.distribution.num_tokens)

    def trainable_parameters(self) -> list[nn.Parameter]:
        """Everything."""
        return list(self.parameters())

    @torch.inference_mode()
    def act(
        self, observations: Sequence[Observation], noise: Sequence[Float32Array], decoding: Decoding
    ) -> list[PolicyOutput]:
        """Decide; ``expectation`` is as ``greedy``: the mode."""
        rows = [
            {"layers": torch.from_numpy(seen.images["layers"]), "state": torch.from_numpy(seen.state)}
            for seen in observations
        ]
        return act_in_blocks(
            rows,
            noise,
            decoding,
            distribution=self.distribution,
            parameters=lambda inputs: self._shapes(self._features(inputs)),
            version=self.version,
        )

    def evaluate(self, inputs: dict[str, Tensor], tokens: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies ``float32 [N, 1, 2]``."""
        features = self._features(inputs)
        if torch.is_grad_enabled():  # the critic's loss asks for values of the same inputs next
            self._kept[threading.get_ident()] = (inputs["layers"], features)
        return self.distribution.log_probs(self._shapes(features), tokens, temperature)

    def values(self, inputs: dict[str, Tensor], *, head_only: bool = False) -> Tensor:
        """Value ``float32 [N]``, from the privileged measurements too; ``head_only``: no gradient to shared layers."""
        layers, features = self._kept.pop(threading.get_ident(), (None, None))
        if layers is not inputs["layers"] or features is None:
            features = self._features(inputs)
        if head_only:
            features = features.detach()
        hidden = inputs["state"][:, self.config.measured :]
        return self.value(torch.cat((features, hidden), dim=1)).squeeze(-1)

    def save_pretrained(self, folder: str | Path, card: dict[str, Any] | None = None) -> None:
        """Write ``config.json`` and ``model.safetensors``."""
        save_plain(folder, self, "vlarl.policies.carl_driving:CarlDriving", self.config, card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load.

        Raises:
            CheckpointError: a field or tensor does not fit.
        """
        return load_plain(folder, CarlDrivingConfig, cls, "a CarlDriving policy")

    def _features(self, inputs: dict[str, Tensor]) -> Tensor:
        """``float32 [N, F]`` of ``layers uint8 [N, H, W, C]`` and ``state``."""
        view = inputs["layers"].float().mul_(1.0 / 255.0).permute(0, 3, 1, 2)  # channels stay last in memory
        seen = self.image(view).flatten(1)
        return self.joint(torch.cat((seen, self.measurements(inputs["state"][:, : self.config.measured])), dim=1))

    def _shapes(self, features: Tensor) -> Tensor:
        """Of the distributions, ``[N, 1, 4]``."""
        return self.actions(features)[:, None]


def _convolutions(config: CarlDrivingConfig) -> nn.Sequential:
    layers, channels = [], config.channels
    for width, kernel, stride in config.convolutions:
        convolution = nn.Conv2d(channels, width, kernel, stride)
        nn.init.orthogonal_(convolution.weight, 2**0.5)
        nn.init.zeros_(convolution.bias)
        layers += [convolution, nn.GroupNorm(1, width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def _features_seen(config: CarlDrivingConfig) -> int:
    """Numbers that the convolutions make of a view.

    Raises:
        ConfigError: they make nothing of one so small.
    """
    side, smallest = config.side, 1
    for _, kernel, stride in config.convolutions:
        side = (side - kernel) // stride + 1
    if side < 1:
        for _, kernel, stride in reversed(config.convolutions):
            smallest = (smallest - 1) * stride + kernel
        raise ConfigError(
            f"a view of {config.side} pixels is too small; these convolutions work from {smallest} pixels on"
        )
    return config.convolutions[-1][0] * side * side


def _dense(size: int, widths: Sequence[int], *, normalised: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(_linear(size, width, 2**0.5))
        if normalised:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.ReLU())
        size = width
    return nn.Sequential(*layers)


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
