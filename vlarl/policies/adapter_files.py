"""LoRA adapter folders in peft's format, read without peft: ``adapter_config.json``, ``adapter_model.safetensors``.

An adapter is merged into the weights as they are read, ``W + (alpha / rank) B A`` in single precision; rank and alpha
may differ by layer (peft's ``rank_pattern`` and ``alpha_pattern``). Its names are
those of the published layout under ``base_model.model.``; a fused ``qkv`` matrix has one A and a B three times as
tall, which is cut like the matrix itself.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from vlarl.errors import CheckpointError
from vlarl.files import atomic_write_bytes, atomic_write_json, read_json
from vlarl.nn.adapters import adapters
from vlarl.policies.published_layout import PublishedNames
from vlarl.policies.tensor_files import TensorFiles
from vlarl.policies.weights import NamedTensor

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_NAME = re.compile(re.escape(_PREFIX) + r"(?P<layer>.+)\.lora_(?P<which>[AB])\.weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """The low-rank factors of one folder, by our names of the weights they belong to."""

    file: Path
    factors: dict[str, tuple[Tensor, Tensor, float]]
    """Our name of the weight -> A ``[rank, in]``, B ``[out, rank]`` and what their product is multiplied by."""

    def merge(self, tensors: Iterable[NamedTensor]) -> Iterator[NamedTensor]:
        """The tensors, those that have factors with these added.

        Raises:
            CheckpointError: factors of another shape than their weight, or of a weight that never came by.
        """
        waiting = set(self.factors)
        for tensor in tensors:
            if tensor.name in waiting:
                waiting.remove(tensor.name)
                a, b, scale = self.factors[tensor.name]
                if tuple(tensor.value.shape) != (b.shape[0], a.shape[1]) or a.shape[0] != b.shape[1]:
                    raise CheckpointError(
                        f"{self.file}: the adapter of {tensor.stored!r} has shapes {list(b.shape)} and "
                        f"{list(a.shape)}; the weight in {tensor.file} has {list(tensor.value.shape)}: it belongs to "
                        "another base model"
                    )
                merged = (tensor.value.float() + scale * (b.float() @ a.float())).to(tensor.value.dtype)
                tensor = NamedTensor(tensor.file, tensor.stored, tensor.name, merged)
            yield tensor
        if waiting:
            raise CheckpointError(f"{self.file}: {sorted(waiting)[0]!r} is adapted but the base model does not have it")


def is_adapter_folder(folder: Path) -> bool:
    """Whether ``folder`` holds an adapter alone."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def base_folder(folder: Path, wanted: str) -> Path:
    """Where the weights lie that an adapter belongs to: ``wanted``, or what the adapter itself names if that is there.

    Raises:
        CheckpointError: neither is a folder on this machine.
    """
    named = str(read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    for candidate in (Path(wanted) if wanted else None, Path(named) if named else None, folder / named):
        if candidate is not None and (candidate / "config.json").is_file():
            return candidate
    raise CheckpointError(
        f"{folder} holds a LoRA adapter alone; its base model is {wanted or named or 'not named'!r}, which is no "
        "checkpoint folder here. "
        "Download the base model and name its folder: --load.base FOLDER"
    )


@dataclass(frozen=True, slots=True)
class AdapterSizes:
    """Rank and alpha of every layer, as ``adapter_config.json`` has them."""

    file: Path
    rank: int
    alpha: float
    ranks: dict[str, int]
    """``rank_pattern``: the end of a layer's name, as a regular expression -> its rank."""
    alphas: dict[str, float]
    """``alpha_pattern``, likewise."""
    stabilised: bool
    """Scaled by ``alpha / sqrt(rank)`` in place of ``alpha / rank``."""

    @classmethod
    def read(cls, path: Path) -> AdapterSizes:
        """Read and check the file.

        Raises:
            CheckpointError: it is no LoRA, or a variant that is not a plain sum.
        """
        config = read_json(path)
        rank, alpha = config.get("r"), config.get("lora_alpha")
        plain: list[tuple[str, Any, tuple[Any, ...]]] = [
            ("peft_type", config.get("peft_type", "LORA"), ("LORA",)),
            ("use_dora", config.get("use_dora"), (None, False)),
            ("modules_to_save", config.get("modules_to_save"), (None, [])),
            ("fan_in_fan_out", config.get("fan_in_fan_out"), (None, False)),
            ("bias", config.get("bias", "none"), ("none",)),
        ]
        for field, found, allowed in plain:
            if found not in allowed:
                expected = f"expected {allowed[-1]!r}: plain LoRA alone"
                raise CheckpointError(f"{path}: field {field!r} is {found!r}; {expected}")
        if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
            raise CheckpointError(
                f"{path}: fields 'r' and 'lora_alpha' are {rank!r} and {alpha!r}; expected two numbers"
            )
        ranks, alphas = (_pattern(path, config, field) for field in ("rank_pattern", "alpha_pattern"))
        if not all(isinstance(value, int) and value >= 1 for value in ranks.values()):
            raise CheckpointError(f"{path}: field 'rank_pattern' is {ranks!r}; expected ranks of at least 1")
        return cls(path, rank, float(alpha), ranks, alphas, bool(config.get("use_rslora")))

    def rank_of(self, layer: str) -> int:
        """The rank of a layer."""
        return _matching(self.ranks, layer, self.rank)

    def scale_of(self, layer: str) -> float:
        """What the layer's product ``B A`` is multiplied by."""
        rank, alpha = self.rank_of(layer), _matching(self.alphas, layer, self.alpha)
        return alpha / (rank**0.5 if self.stabilised else rank)


def _pattern(path: Path, config: dict[str, Any], field: str) -> dict[str, Any]:
    found = config.get(field) or {}
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        raise CheckpointError(f"{path}: field {field!r} is {found!r}; expected layer names with a number each")
    for key in found:
        try:
            re.compile(key)
        except re.error as error:
            raise CheckpointError(f"{path}: field {field!r}: {key!r} is no regular expression: {error}") from error
    return found


def _matching(patterns: dict[str, Any], layer: str, default: Any) -> Any:
    """The first pattern that is a layer's name or the end of it, from a dot on: peft's rule."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", layer)), default)


def read_adapter(folder: Path, names: PublishedNames) -> Adapter:
    """The factors of an adapter folder.

    Raises:
        CheckpointError: it is no LoRA, uses a variant that is not a plain sum, or its files do not fit together.
    """
    sizes = AdapterSizes.read(folder / ADAPTER_CONFIG)
    weights = folder / ADAPTER_WEIGHTS
    if not weights.is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir()))
        raise CheckpointError(f"{weights} is missing (the folder holds {there}); a pickled adapter is not opened")
    halves: dict[str, dict[str, Tensor]] = {}
    for file, name, tensor in TensorFiles({weights: None}):
        match = _NAME.fullmatch(name)
        if match is None:
            raise CheckpointError(f"{file}: tensor {name!r} is no LoRA factor; expected {_PREFIX}<layer>.lora_A.weight")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{file}: tensor {name!r} holds NaN or infinity")
        halves.setdefault(match["layer"], {})[match["which"]] = tensor
    factors: dict[str, tuple[Tensor, Tensor, float]] = {}
    for layer, pair in halves.items():
        if set(pair) != {"A", "B"}:
            raise CheckpointError(f"{weights}: layer {layer!r} has factor {', '.join(pair)} alone; expected A and B")
        if len(pair["A"]) != sizes.rank_of(layer):
            raise CheckpointError(
                f"{weights}: layer {layer!r} has factors of rank {len(pair['A'])}; {sizes.file} says "
                f"{sizes.rank_of(layer)} (fields 'r' and 'rank_pattern')"
            )
        try:
            parts = names.to_ours(f"{layer}.weight", pair["B"])
        except KeyError as error:
            raise CheckpointError(f"{weights}: {layer!r} is not a layer of an OpenVLA network") from error
        factors |= {name: (pair["A"], part, sizes.scale_of(layer)) for name, part in parts.items()}
    return Adapter(weights, factors)


def save_adapter(folder: str | Path, module: torch.nn.Module, names: PublishedNames, base: str) -> None:
    """Write the adapters inside ``module`` as a peft folder.

    ``r`` is the rank that most layers have; those of another one are named in ``rank_pattern`` and ``alpha_pattern``
    (peft divides a layer's alpha by its own rank, so alpha is the constant scale times the rank).

    Args:
        folder: written to.
        module: a policy with adapters.
        names: of its architecture.
        base: the folder or hub name of the weights without the adapter, for the reader.
    """
    folder, tensors = Path(folder), {}
    layers = {names.name(f"{name}.weight").removesuffix(".weight"): layer for name, layer in adapters(module)}
    for published, layer in layers.items():
        tensors[f"{_PREFIX}{published}.lora_A.weight"] = layer.lora_a.detach().cpu().contiguous()
        tensors[f"{_PREFIX}{published}.lora_B.weight"] = layer.lora_b.detach().cpu().contiguous()
    usual = statistics.mode(layer.rank for layer in layers.values())
    alpha = next(layer.scale * usual for layer in layers.values())
    others = {name: layer for name, layer in sorted(layers.items()) if layer.rank != usual}
    atomic_write_bytes(folder / ADAPTER_WEIGHTS, save(tensors, metadata={"format": "pt"}))
    atomic_write_json(
        folder / ADAPTER_CONFIG,
        {
            "peft_type": "LORA",
            "base_model_name_or_path": base,
            "r": usual,
            "lora_alpha": alpha,
            "rank_pattern": {name: layer.rank for name, layer in others.items()},
            "alpha_pattern": {name: layer.scale * layer.rank for name, layer in others.items()},
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(layers),
        },
    )
