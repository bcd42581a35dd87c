"""DINOv2 and SigLIP patch features side by side (or SigLIP's alone), built from transformers' own vision modules.

Source: OpenVLA's ``PrismaticVisionBackbone``: both towers see the same image under their own normalisation, the
output of the second-to-last block is taken without the final norm, class and register tokens are dropped, and the
two features of a patch are concatenated (DINOv2 first).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel, SiglipVisionConfig, SiglipVisionModel

from vlarl.policies.oft_config import TowerConfig, VisionConfig


class ConvolutionStem(nn.Module):
    """Strided convolutions in place of a linear patch embedding: same input, same output ``[N, D, grid, grid]``.

    The first convolution takes disjoint 4 x 4 pixels, each further one halves the side, so ``patch_size`` must be
    ``4 * 2 ** len(channels)``.
    """

    def __init__(self, channels: tuple[int, ...], hidden_size: int, patch_size: int) -> None:
        super().__init__()
        if patch_size != 4 * 2 ** len(channels):
            raise ValueError(
                f"vision.stem_channels: {len(channels)} widths make patches of {4 * 2 ** len(channels)} px; "
                f"vision.patch_size is {patch_size}"
            )
        layers: list[nn.Module] = []
        width = 3
        for i, out in enumerate(channels):
            layers.append(nn.Conv2d(width, out, 4, stride=4) if i == 0 else nn.Conv2d(width, out, 3, 2, padding=1))
            layers += [nn.GroupNorm(8, out), nn.GELU()]
            width = out
        layers.append(nn.Conv2d(width, hidden_size, 3, stride=2, padding=1))
        self.layers = nn.Sequential(*layers)

    @property
    def weight(self) -> Tensor:
        """The first convolution's weight: transformers reads the dtype of a patch embedding from it."""
        return self.layers[0].weight  # pyrefly: ignore

    def forward(self, pixels: Tensor) -> Tensor:
        """``[N, 3, size, size]`` to ``[N, D, grid, grid]``."""
        return self.layers(pixels)


def output_of(result: Tensor | tuple[Tensor, ...]) -> Tensor:
    """A transformer layer's hidden states: older transformers return them inside a tuple."""
    return result[0] if isinstance(result, tuple) else result


class DinoTower(nn.Module):
    """DINOv2 with registers."""

    def __init__(self, config: VisionConfig, tower: TowerConfig) -> None:
        super().__init__()
        self.model = Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(
                hidden_size=tower.hidden_size,
                num_hidden_layers=tower.num_hidden_layers,
                num_attention_heads=tower.num_attention_heads,
                mlp_ratio=tower.intermediate_size // tower.hidden_size,
                num_register_tokens=tower.num_register_tokens,
                hidden_act=tower.hidden_act,
                layer_norm_eps=tower.layer_norm_eps,
                image_size=config.image_size,
                patch_size=config.patch_size,
                attn_implementation="sdpa",  # pyrefly: ignore[unexpected-keyword]
            )
        )
        if config.stem_channels:
            self.model.embeddings.patch_embeddings.projection = ConvolutionStem(  # pyrefly: ignore
                config.stem_channels, tower.hidden_size, config.patch_size
            )
        self.num_prefix_tokens = 1 + tower.num_register_tokens
        self.blocks_used = tower.num_hidden_layers + 1 + config.feature_layer

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised ``[N, 3, size, size]`` to ``[N, patches, hidden_size]``."""
        hidden = self.model.embeddings(pixels)
        for block in list(self.model.encoder.layer)[: self.blocks_used]:
            hidden = output_of(block(hidden))
        return hidden[:, self.num_prefix_tokens :]


class SiglipTower(nn.Module):
    """SigLIP's vision transformer."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        tower = config.siglip
        self.model = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=tower.hidden_size,
                num_hidden_layers=tower.num_hidden_layers,
                num_attention_heads=tower.num_attention_heads,
                intermediate_size=tower.intermediate_size,
                hidden_act=tower.hidden_act,
                layer_norm_eps=tower.layer_norm_eps,
                image_size=config.image_size,
                patch_size=config.patch_size,
                vision_use_head=False,
                attn_implementation="sdpa",  # pyrefly: ignore[unexpected-keyword]
            )
        )
        if config.stem_channels:
            stem = ConvolutionStem(config.stem_channels, tower.hidden_size, config.patch_size)
            self.transformer.embeddings.patch_embedding = stem
        self.blocks_used = tower.num_hidden_layers + 1 + config.feature_layer

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised ``[N, 3, size, size]`` to ``[N, patches, hidden_size]``."""
        hidden = self.transformer.embeddings(pixels)
        for block in list(self.transformer.encoder.layers)[: self.blocks_used]:
            hidden = output_of(block(hidden, attention_mask=None))
        return hidden

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.transformer.post_layernorm.weight.dtype

    @property
    def transformer(self) -> Any:
        """Embeddings and encoder; transformers 4 wraps them once more."""
        return getattr(self.model, "vision_model", self.model)


class FusedVision(nn.Module):
    """The towers side by side on ``uint8`` images; SigLIP alone where the configuration has no DINOv2.

    Example::

        features = FusedVision(config)(torch.zeros(2, 128, 128, 3, dtype=torch.uint8))  # [2, 16, 128]
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        towers = {"siglip": config.siglip} if config.dino is None else {"dino": config.dino, "siglip": config.siglip}
        if config.dino is not None:
            self.dino = DinoTower(config, config.dino)
        self.siglip = SiglipTower(config)
        self.names = tuple(towers)
        for name, tower in towers.items():
            self.register_buffer(f"{name}_scale", _column([1 / (255 * s) for s in tower.pixel_std]), persistent=False)
            shift = [-m / s for m, s in zip(tower.pixel_mean, tower.pixel_std, strict=True)]
            self.register_buffer(f"{name}_shift", _column(shift), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the towers are."""
        return self.siglip_scale.device

    def forward(self, images: Tensor) -> Tensor:
        """``uint8`` or float 0..255 ``[N, size, size, 3]`` to ``[N, patches, feature_size]``, DINOv2 first.

        Pixels are normalised in single precision, then cast to the type of the towers' weights.
        """
        pixels = images.permute(0, 3, 1, 2).contiguous().float()
        towers = [getattr(self, name)(self.normalised(pixels, name).to(self.siglip.dtype)) for name in self.names]
        return torch.cat(towers, dim=-1)

    def normalised(self, pixels: Tensor, name: str) -> Tensor:
        """``float32 [N, 3, size, size]`` in 0..255 as the tower ``name`` was trained to see it."""
        return torch.addcmul(getattr(self, f"{name}_shift"), pixels, getattr(self, f"{name}_scale"))


def _column(values: list[float]) -> Tensor:
    """Three numbers as ``[1, 3, 1, 1]``."""
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)
