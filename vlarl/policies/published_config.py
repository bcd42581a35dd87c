"""The JSON files of a published OpenVLA folder, translated to our configuration and back.

``config.json`` of a published checkpoint says nothing about cameras, proprioception, chunk length or the way of
decoding: those come from the files beside it and from ``LoadConfig`` (see ``published_files``). What our configuration
holds and upstream's has no place for is written under one extra key, ``vlarl``, when we write that layout.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from vlarl.errors import CheckpointError, unknown_name
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
EXTRA_KEY = "vlarl"
"""Where a ``config.json`` that we write in the published layout keeps our whole configuration."""
VICUNA_TEMPLATE = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions. USER: What action should the robot take to {instruction}? ASSISTANT:"
)
"""OpenVLA v0.1 only."""
LONGEST_PROMPT = 128
PROJECTORS = {True: "no-align+fused-gelu-mlp", False: "no-align+gelu-mlp"}
"""Whether the backbone is fused -> ``arch_specifier``."""
TIMM_TOWERS: dict[str, dict[str, Any]] = {
    "vit_large_patch14_reg4_dinov2": {
        "embed_dim": 1024,
        "depth": 24,
        "num_heads": 16,
        "patch_size": 14,
        "reg_tokens": 4,
    },
    "vit_so400m_patch14_siglip_224": {
        "embed_dim": 1152,
        "depth": 27,
        "num_heads": 16,
        "patch_size": 14,
        "mlp_ratio": 3.7362,
    },
}
"""timm's name (before the dot) -> the arguments of its vision transformer."""
CHUNKS = {7: 8, 14: 25}
"""Action width -> chunk length that upstream's constants pair it with (LIBERO, ALOHA)."""


class PublishedConfig:
    """A parsed ``config.json`` of model type ``openvla`` and its neighbours.

    Args:
        folder: for messages.
        config: parsed ``config.json``.
        preprocessor: parsed ``preprocessor_config.json``.
        statistics: dataset -> statistics, ``dataset_statistics.json`` over ``norm_stats``.
        own_statistics: the keys that ``dataset_statistics.json`` itself holds.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        preprocessor: Mapping[str, Any],
        statistics: Mapping[str, Any],
        own_statistics: tuple[str, ...],
    ) -> None:
        self.folder, self.config, self.preprocessor = folder, config, preprocessor
        self.statistics, self.own_statistics = statistics, own_statistics
        self.fused = len(self._field(config, "timm_model_ids", list)) == 2
        self._check_fork()

    def vision(self) -> VisionConfig:
        """The towers: dimensions by timm's name, pixel constants from the preprocessor.

        ``tvf_normalize_params`` win over ``means`` and ``stds``, as they do upstream; they are rounded to bfloat16
        in published files, which moves logits by 0.2.
        """
        config = self.config
        names = self._field(config, "timm_model_ids", list)
        arguments = config.get("timm_model_kwargs") or [None] * len(names)
        pixels = self._pixel_constants(len(names))
        towers, patches = [], set()
        for name, given, (mean, std) in zip(names, arguments, pixels, strict=True):
            known = TIMM_TOWERS.get(str(name).partition(".")[0])
            values = given or known
            if values is None:
                self._fail("timm_model_ids", name, " or ".join(TIMM_TOWERS), "other backbones are not supported")
            width = values["embed_dim"]
            patches.add(values["patch_size"])
            towers.append(
                TowerConfig(
                    hidden_size=width,
                    num_hidden_layers=values["depth"],
                    num_attention_heads=values["num_heads"],
                    intermediate_size=int(width * values.get("mlp_ratio", 4.0)),
                    num_register_tokens=values.get("reg_tokens", 0),
                    pixel_mean=mean,
                    pixel_std=std,
                )
            )
        size = self._field(config, "image_sizes", list)[0]
        return VisionConfig(
            image_size=size, patch_size=patches.pop(), dino=towers[0] if self.fused else None, siglip=towers[-1]
        )

    def language(self) -> LanguageConfig:
        """The Llama; what ``text_config`` leaves out is transformers' default, as it was upstream."""
        text = self._field(self.config, "text_config", dict)
        sizes = {
            name: self._field(text, name, int, "text_config.")
            for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
        }
        return LanguageConfig(
            **sizes,
            num_key_value_heads=text.get("num_key_value_heads") or sizes["num_attention_heads"],
            pad_to_multiple_of=self._field(self.config, "pad_to_multiple_of", int),
            rms_norm_eps=text.get("rms_norm_eps", 1e-6),
            rope_theta=text.get("rope_theta", 10000.0),
            max_position_embeddings=text.get("max_position_embeddings", 2048),
        )

    def choose_statistics(self, wanted: str) -> tuple[str, Mapping[str, Any]]:
        """The entry named ``wanted`` (or ``wanted`` + ``_no_noops``, as upstream's evaluation falls back), or the one.

        Raises:
            CheckpointError: there is no such entry, or several and none was chosen; all keys are listed.
        """
        keys = list(self.statistics)
        where = f"{self.folder}: "
        if wanted:
            for key in (wanted, f"{wanted}_no_noops"):
                if key in self.statistics:
                    return key, self.statistics[key]
            raise CheckpointError(where + unknown_name("unnorm_key", wanted, keys, "Choose with --load.unnorm-key."))
        if not keys:
            raise CheckpointError(
                f"{where}no action statistics: neither dataset_statistics.json nor field 'norm_stats' of config.json. "
                "Without them actions have no scale; copy dataset_statistics.json from the training run."
            )
        candidates = self.own_statistics if len(self.own_statistics) == 1 else keys
        if len(candidates) == 1:
            return candidates[0], self.statistics[candidates[0]]
        raise CheckpointError(
            f"{where}statistics of {len(keys)} datasets; choose one with --load.unnorm-key KEY. "
            f"There are: {', '.join(sorted(keys))}."
        )

    def policy(
        self,
        key: str,
        statistics: Mapping[str, Any],
        *,
        cameras: tuple[str, ...],
        use_proprio: bool,
        decoding: Literal["parallel", "autoregressive"],
        head: Literal["tokens", "l1"],
    ) -> OpenVlaOftConfig:
        """Our configuration of this checkpoint with one dataset's statistics."""
        vision = self.vision()
        kind = "minmax" if self._width(statistics) == 14 else "quantiles"
        action = self._quantiles(key, "action", statistics, kind)
        width = len(action.low)
        is_vicuna = str(self.config.get("llm_backbone_id", "")).startswith("vicuna")
        template = PromptConfig().template if not is_vicuna else VICUNA_TEMPLATE
        parallel = decoding == "parallel"
        return OpenVlaOftConfig(
            vision=vision,
            language=self.language(),
            projector_hidden_size=4 * vision.feature_size if self.fused else 0,
            cameras=cameras,
            action_statistics=action,
            proprio_statistics=self._quantiles(key, "proprio", statistics, kind) if use_proprio else None,
            decoding=decoding,
            head=head,
            chunk=CHUNKS.get(width, 1) if parallel else 1,
            action_dim=width,
            num_bins=self._field(self.config, "n_action_bins", int),
            epsilon=1e-8 if parallel else 0.0,
            gripper="openvla" if width == 7 else "signed",
            action_space=f"as in the dataset {key!r} that the checkpoint was trained on",
            image=ImageConfig(mirror=True, jpeg_quality=95, lanczos_resize=True, crop_area=0.9, camera_size=256),
            prompt=PromptConfig(
                template=template,
                suffix_ids=(EMPTY_PIECE,),
                max_tokens=LONGEST_PROMPT,
                pad_id=self._field(self.config, "pad_token_id", int),
            ),
        )

    def _check_fork(self) -> None:
        """Refuse what our network does not compute, before a weight is read."""
        config = self.config
        text = self._field(config, "text_config", dict)
        fixed: list[tuple[str, Any, Any]] = [
            ("use_fused_vision_backbone", config.get("use_fused_vision_backbone", self.fused), self.fused),
            ("arch_specifier", config.get("arch_specifier", PROJECTORS[self.fused]), PROJECTORS[self.fused]),
            ("image_resize_strategy", config.get("image_resize_strategy", "resize-naive"), "resize-naive"),
            ("use_film", config.get("use_film", False), False),
            ("text_config.model_type", text.get("model_type", "llama"), "llama"),
            ("text_config.hidden_act", text.get("hidden_act", "silu"), "silu"),
            ("text_config.attention_bias", text.get("attention_bias", False), False),
            ("text_config.mlp_bias", text.get("mlp_bias", False), False),
            ("text_config.rope_scaling", text.get("rope_scaling"), None),
            ("text_config.tie_word_embeddings", text.get("tie_word_embeddings", False), False),
            *(("timm_override_act_layers", act, None) for act in config.get("timm_override_act_layers") or []),
            *(
                ("architectures", name, "OpenVLAForActionPrediction")
                for name in config.get("architectures") or ["OpenVLAForActionPrediction"]
            ),
        ]
        for field, found, expected in fixed:
            if found != expected:
                self._fail(field, found, repr(expected), "this is a fork's network, which we would compute wrongly")

    def _pixel_constants(self, count: int) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
        """Mean and standard deviation per tower."""
        preprocessor, file = self.preprocessor, self.folder / "preprocessor_config.json"
        params = preprocessor.get("tvf_normalize_params")
        if params is None:
            params = [{"mean": m, "std": s} for m, s in zip(preprocessor["means"], preprocessor["stds"], strict=True)]
        if len(params) != count or any(len(p["mean"]) != 3 or len(p["std"]) != 3 for p in params):
            raise CheckpointError(
                f"{file}: field 'tvf_normalize_params' has {len(params)} entries; expected mean and std of 3 channels "
                f"for each of {count} vision towers"
            )
        return [(tuple(map(float, p["mean"])), tuple(map(float, p["std"]))) for p in params]

    def _width(self, statistics: Mapping[str, Any]) -> int:
        action = statistics.get("action")
        return len(action.get("q01") or action.get("min") or ()) if isinstance(action, dict) else 0

    def _quantiles(self, key: str, part: str, statistics: Mapping[str, Any], kind: str) -> QuantileStatistics:
        """``q01`` and ``q99`` (14-dimensional ALOHA sets: ``min`` and ``max``) of ``action`` or ``proprio``."""
        where = f"{self.folder}: statistics {key!r}, field '{part}"
        entry = statistics.get(part)
        if not isinstance(entry, dict):
            raise CheckpointError(f"{where}' is {entry!r:.40}; expected an object with q01, q99 and mask")
        low_name, high_name = ("min", "max") if kind == "minmax" else ("q01", "q99")
        low, high, mask = entry.get(low_name), entry.get(high_name), entry.get("mask")
        for name, values in ((low_name, low), (high_name, high)):
            if not isinstance(values, list) or not values or not all(_is_finite(v) for v in values):
                raise CheckpointError(f"{where}.{name}' is {values!r:.60}; expected a list of finite numbers")
        assert isinstance(low, list) and isinstance(high, list)
        if len(low) != len(high):
            raise CheckpointError(f"{where}.{high_name}' has {len(high)} entries; {low_name} beside it has {len(low)}")
        if mask is not None and (len(mask) != len(low) or not all(isinstance(m, bool) for m in mask)):
            raise CheckpointError(
                f"{where}.mask' has {len(mask)} entries ({mask!r:.60}); expected {len(low)} of true or false, one per "
                f"entry of {low_name}. Upstream's end-effector sets have {len(low) - 1} times true, then false."
            )
        if mask is None and part == "action" and kind == "quantiles":
            warnings.warn(
                f"{where}.mask' is missing: every entry is un-normalised, the gripper too, as upstream does. "
                "Where the gripper is 0 or 1 in the data, add a mask that ends with false.",
                stacklevel=2,
            )
        return QuantileStatistics(low=tuple(low), high=tuple(high), mask=None if mask is None else tuple(mask))

    def _field(self, mapping: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> Any:
        value = mapping.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is list and not value):
            self._fail(prefix + name, value, kind.__name__, "the folder is no complete OpenVLA checkpoint")
        return value

    def _fail(self, field: str, found: Any, expected: str, why: str) -> Any:
        raise CheckpointError(
            f"{self.folder / 'config.json'}: field {field!r} is {found!r:.80}; expected {expected} ({why})"
        )


def config_to_published(config: OpenVlaOftConfig, key: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """``config.json``, ``preprocessor_config.json`` and ``dataset_statistics.json`` that say what ``config`` says."""
    vision, language = config.vision, config.language
    towers = [vision.siglip] if vision.dino is None else [vision.dino, vision.siglip]
    fused = vision.dino is not None
    statistics: dict[str, Any] = {
        part: {"q01": list(values.low), "q99": list(values.high)}
        | ({} if values.mask is None else {"mask": list(values.mask)})
        for part, values in (("action", config.action_statistics), ("proprio", config.proprio_statistics))
        if values is not None
    }
    published = {
        "model_type": "openvla",
        "architectures": ["OpenVLAForActionPrediction"],
        "arch_specifier": PROJECTORS[fused],
        "use_fused_vision_backbone": fused,
        "timm_model_ids": [f"vlarl_{'dinov2' if t is vision.dino else 'siglip'}_{t.hidden_size}" for t in towers],
        "timm_model_kwargs": [
            {
                "embed_dim": t.hidden_size,
                "depth": t.num_hidden_layers,
                "num_heads": t.num_attention_heads,
                "patch_size": vision.patch_size,
                "mlp_ratio": t.intermediate_size / t.hidden_size,
                "reg_tokens": t.num_register_tokens,
            }
            for t in towers
        ],
        "timm_override_act_layers": [None] * len(towers),
        "image_sizes": [vision.image_size] * len(towers),
        "image_resize_strategy": "resize-naive",
        "n_action_bins": config.num_bins,
        "pad_token_id": config.prompt.pad_id,
        "pad_to_multiple_of": language.pad_to_multiple_of,
        "text_config": {
            "model_type": "llama",
            **{name: value for name, value in asdict(language).items() if name != "pad_to_multiple_of"},
        },
        "norm_stats": {key: statistics},
        EXTRA_KEY: config.to_json(),
    }
    params = [{"mean": list(t.pixel_mean), "std": list(t.pixel_std)} for t in towers]
    preprocessor = {
        "image_processor_type": "PrismaticImageProcessor",
        "use_fused_vision_backbone": fused,
        "tvf_normalize_params": params,
    }
    return published, preprocessor, {key: statistics}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value - value == 0
