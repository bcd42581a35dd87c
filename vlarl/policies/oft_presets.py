"""Named sizes of the OpenVLA-OFT policy: compact ones that are trained from scratch on a CPU, and the published one.

Statistics are placeholders here (the identity on [-1, 1]); ``vlarl sft`` replaces them by those of its data.
"""

from __future__ import annotations

from dataclasses import replace

from vlarl.errors import ConfigError, unknown_name
from vlarl.policies.oft_config import (
    ImageConfig,
    LanguageConfig,
    OpenVlaOftConfig,
    PromptConfig,
    QuantileStatistics,
    TowerConfig,
    VisionConfig,
)

TEXT_PIECES = 256
NUM_BINS = 256


def compact(
    *,
    width: int = 128,
    layers: int = 4,
    heads: int = 4,
    intermediate: int = 256,
    tower: int = 64,
    stem: tuple[int, ...] = (32, 64, 64),
    rope_theta: float = 100.0,
) -> OpenVlaOftConfig:
    """A compact policy for two 128 px cameras and LIBERO's proprioception.

    Patches of 32 px keep the sequence short (about 105 tokens), which is what decides the cost on a CPU. With
    patches this large a linear embedding would have to learn every texture from a few demonstrations, hence the
    convolution stem. Rotary positions turn faster than in a text model (base 100 in place of 10000): they alone tell
    the 56 zeroed placeholders apart.
    """
    vision_tower = TowerConfig(
        hidden_size=tower, num_hidden_layers=2, num_attention_heads=max(1, tower // 32), intermediate_size=2 * tower
    )
    vocabulary = TEXT_PIECES + NUM_BINS
    return OpenVlaOftConfig(
        vision=VisionConfig(
            image_size=128, patch_size=32, dino=vision_tower, siglip=vision_tower, stem_channels=stem, feature_layer=-2
        ),
        language=LanguageConfig(
            hidden_size=width,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            vocab_size=vocabulary + 64,
            rope_theta=rope_theta,
        ),
        projector_hidden_size=2 * width,
        cameras=("agentview", "wrist"),
        action_statistics=QuantileStatistics(low=(-1.0,) * 7, high=(1.0,) * 7, mask=(True,) * 7),
        proprio_statistics=QuantileStatistics(low=(-1.0,) * 8, high=(1.0,) * 8),
        gripper="signed",
        image=ImageConfig(),
        prompt=PromptConfig(template="{instruction}?", max_tokens=32, stop_id=2, pad_id=vocabulary),
    )


def published_7b(cameras: tuple[str, ...] = ("agentview",)) -> OpenVlaOftConfig:
    """OpenVLA-OFT as published: DINOv2-L and SigLIP so400m on 224 px, Llama-2-7B, one third-person camera."""
    dino = TowerConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, num_register_tokens=4
    )
    siglip = TowerConfig(hidden_size=1152, num_hidden_layers=27, num_attention_heads=16, intermediate_size=4304)
    vision = VisionConfig(image_size=224, patch_size=14, dino=dino, siglip=siglip)
    return OpenVlaOftConfig(
        vision=vision,
        language=LanguageConfig(
            hidden_size=4096,
            intermediate_size=11008,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=32,
            vocab_size=32064,
        ),
        projector_hidden_size=4 * vision.feature_size,
        cameras=cameras,
        action_statistics=QuantileStatistics(low=(-1.0,) * 7, high=(1.0,) * 7, mask=(True,) * 6 + (False,)),
        proprio_statistics=None,
        image=ImageConfig(mirror=True, jpeg_quality=95, lanczos_resize=True, crop_area=0.9, camera_size=256),
    )


PRESETS = {
    "small": compact(width=96, heads=3, intermediate=192, stem=(24, 48, 64)),
    "medium": compact(),
    "7b": published_7b(),
    "tiny": replace(compact(width=32, layers=3, heads=2, intermediate=64, tower=16, stem=(8, 16, 16))),
}


def preset(name: str) -> OpenVlaOftConfig:
    """The configuration of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in PRESETS:
        raise ConfigError(unknown_name("policy configuration", name, PRESETS))
    return PRESETS[name]
