"""Names and shapes of the published OpenVLA checkpoints, translated to ours: the only place that knows both.

The published vision towers are timm's: fused ``qkv`` matrices, LayerScale as ``scale_factor``, position embeddings
without a row for the class token. Ours are transformers': separate matrices, ``lambda1``, and a row for the class
token (zero here, which is what "no row" means).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vlarl.policies.oft_config import (
    ImageConfig,
    LanguageConfig,
    OpenVlaOftConfig,
    PromptConfig,
    QuantileStatistics,
    TowerConfig,
    VisionConfig,
)

EMPTY_PIECE = 29871
"""Llama's piece for a lone space: upstream appends it to every prompt that does not end with it."""

_BLOCK_NAMES = {
    "norm1": ("norm1", "layer_norm1"),
    "norm2": ("norm2", "layer_norm2"),
    "attn.proj": ("attention.o_proj", "self_attn.out_proj"),
    "mlp.fc1": ("mlp.fc1", "mlp.fc1"),
    "mlp.fc2": ("mlp.fc2", "mlp.fc2"),
}
"""timm's name within a block -> DINOv2's and SigLIP's name in transformers."""


def state_from_published(tensors: Mapping[str, Tensor], vision_prefix: str) -> dict[str, Tensor]:
    """Our ``state_dict`` from the tensors of a published checkpoint with a fused backbone.

    Args:
        tensors: all of its shards, and the proprio projector's as ``proprio_projector.*`` where there is one.
        vision_prefix: where SigLIP's transformer sits in this version of transformers ("" or "vision_model.").

    The attention pool of the SigLIP tower is left out: no OpenVLA forward pass reads it.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("language_model."):
            state[name.replace("language_model.", "language_model.model.", 1)] = tensor
        elif name.startswith("vision_backbone.featurizer."):
            rest = name.removeprefix("vision_backbone.featurizer.")
            state |= {f"vision_backbone.dino.model.{k}": v for k, v in _dino(rest, tensor).items()}
        elif name.startswith("vision_backbone.fused_featurizer."):
            rest = name.removeprefix("vision_backbone.fused_featurizer.")
            state |= {f"vision_backbone.siglip.model.{vision_prefix}{k}": v for k, v in _siglip(rest, tensor).items()}
        else:
            state[name] = tensor
    width = state["vision_backbone.dino.model.embeddings.cls_token"].shape[-1]
    state["vision_backbone.dino.model.embeddings.mask_token"] = torch.zeros(1, width)
    return state


def _dino(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One tensor of the DINOv2 tower; a fused one becomes three."""
    whole = {
        "cls_token": "embeddings.cls_token",
        "reg_token": "embeddings.register_tokens",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    if name in whole:
        return {whole[name]: tensor}
    if name == "pos_embed":
        return {"embeddings.position_embeddings": torch.cat((torch.zeros_like(tensor[:, :1]), tensor), dim=1)}
    number, inner = _block(name)
    scale = re.fullmatch(r"ls([12])\.(?:scale_factor|gamma)", inner)
    if scale:
        return {f"encoder.layer.{number}.layer_scale{scale[1]}.lambda1": tensor}
    return {f"encoder.layer.{number}.{k}": v for k, v in _inside_block(inner, tensor, 0, "attention").items()}


def _siglip(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """One tensor of the SigLIP tower; the attention pool gives none."""
    if name.startswith("attn_pool."):
        return {}
    whole = {
        "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
        "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
        "norm.weight": "post_layernorm.weight",
        "norm.bias": "post_layernorm.bias",
    }
    if name in whole:
        return {whole[name]: tensor}
    if name == "pos_embed":
        return {"embeddings.position_embedding.weight": tensor[0]}
    number, inner = _block(name)
    return {f"encoder.layers.{number}.{k}": v for k, v in _inside_block(inner, tensor, 1, "self_attn").items()}


def _block(name: str) -> tuple[str, str]:
    match = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if match is None:
        raise KeyError(name)
    return match[1], match[2]


def _inside_block(name: str, tensor: Tensor, tower: int, attention: str) -> dict[str, Tensor]:
    """Norms, attention and MLP of a block; ``attn.qkv`` is cut into query, key and value."""
    stem, _, kind = name.rpartition(".")
    if stem == "attn.qkv":
        parts = zip("qkv", tensor.chunk(3, dim=0), strict=True)
        return {f"{attention}.{letter}_proj.{kind}": part.contiguous() for letter, part in parts}
    return {f"{_BLOCK_NAMES[stem][tower]}.{kind}": tensor}


def config_from_published(
    config: Mapping[str, Any],
    preprocessor: Mapping[str, Any],
    statistics: Mapping[str, Any],
    vision: tuple[TowerConfig, TowerConfig],
    *,
    cameras: tuple[str, ...],
    use_proprio: bool,
    patch_size: int = 14,
) -> OpenVlaOftConfig:
    """Our configuration from a published ``config.json``, ``preprocessor_config.json`` and one statistics entry.

    Args:
        config: as parsed.
        preprocessor: as parsed.
        statistics: the entry of the chosen ``unnorm_key``, with ``action`` and ``proprio``.
        vision: dimensions of DINOv2 and SigLIP; their pixel constants are taken from ``preprocessor``, whose
            ``tvf_normalize_params`` win over ``means`` and ``stds``, as they do upstream.
        cameras: which the checkpoint was trained with.
        use_proprio: whether it takes proprioception.
        patch_size: of both towers.
    """
    text = config["text_config"]
    normalise = preprocessor["tvf_normalize_params"]
    dino, siglip = (
        TowerConfig(
            hidden_size=tower.hidden_size,
            num_hidden_layers=tower.num_hidden_layers,
            num_attention_heads=tower.num_attention_heads,
            intermediate_size=tower.intermediate_size,
            num_register_tokens=tower.num_register_tokens,
            pixel_mean=tuple(params["mean"]),
            pixel_std=tuple(params["std"]),
        )
        for tower, params in zip(vision, normalise, strict=True)
    )
    action = statistics["action"]
    vision_config = VisionConfig(image_size=config["image_sizes"][0], patch_size=patch_size, dino=dino, siglip=siglip)
    return OpenVlaOftConfig(
        vision=vision_config,
        language=LanguageConfig(
            hidden_size=text["hidden_size"],
            intermediate_size=text["intermediate_size"],
            num_hidden_layers=text["num_hidden_layers"],
            num_attention_heads=text["num_attention_heads"],
            num_key_value_heads=text.get("num_key_value_heads", text["num_attention_heads"]),
            vocab_size=text["vocab_size"],
            pad_to_multiple_of=config["pad_to_multiple_of"],
            rms_norm_eps=text.get("rms_norm_eps", 1e-6),
            rope_theta=text.get("rope_theta", 10000.0),
        ),
        projector_hidden_size=4 * vision_config.feature_size,
        cameras=cameras,
        action_statistics=_quantiles(action),
        proprio_statistics=_quantiles(statistics["proprio"]) if use_proprio else None,
        gripper="openvla",
        image=ImageConfig(mirror=True, jpeg_quality=95, lanczos_resize=True, crop_area=0.9),
        prompt=PromptConfig(suffix_ids=(EMPTY_PIECE,), pad_id=config["pad_token_id"]),
    )


def _quantiles(entry: Mapping[str, Any]) -> QuantileStatistics:
    mask = entry.get("mask")
    return QuantileStatistics(
        low=tuple(entry["q01"]), high=tuple(entry["q99"]), mask=None if mask is None else tuple(mask)
    )
