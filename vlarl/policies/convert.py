"""Between our layout and the published one, both ways, without losing a bit of a weight.

Published to ours: every tensor keeps its type; what no forward pass reads (SigLIP's attention pool) and the small files
of the published folder go into ``published/`` beside our ``config.json``, so that the way back gives them again.
Ours to published: what upstream's ``config.json`` has no field for is kept under its key ``vlarl``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from vlarl.errors import CheckpointError, UserError
from vlarl.files import atomic_write_bytes, atomic_write_json, atomic_write_text, read_json
from vlarl.nn.adapters import adapters
from vlarl.policies.adapter_files import is_adapter_folder, save_adapter
from vlarl.policies.checkpoint_files import CARD_FILE, CONFIG_FILE, PUBLISHED_TYPE, model_card, read_policy_files
from vlarl.policies.oft_config import OpenVlaOftConfig
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policies.prompt_tokenizer import TOKENIZER_FILE
from vlarl.policies.published_config import EXTRA_KEY, config_to_published
from vlarl.policies.published_files import PREPROCESSOR_FILE, STATISTICS_FILE
from vlarl.policies.published_layout import UNUSED, PublishedNames
from vlarl.policies.tensor_files import INDEX_FILE, WEIGHTS_FILE, TensorFiles, find_tensor_files
from vlarl.policy import DEFAULT_LOAD, LoadConfig

KEPT = "published"
"""Folder inside ours with what only the published layout has."""
UNUSED_FILE = "unused.safetensors"
SHARD_BYTES = 5_000_000_000


def convert(source: Path, target: Path, load: LoadConfig, *, merge: bool = False) -> str:
    """Convert ``source`` to the other layout; returns which one was written: ``ours`` or ``published``.

    Raises:
        CheckpointError: ``source`` is damaged or no policy folder.
        UserError: ``target`` holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target} holds something already; name a folder that does not exist yet")
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target} lies inside {source}, whose files are never changed; name another folder")
    if is_adapter_folder(source) or _is_published(source):
        to_ours(source, target, load)
        return "ours"
    to_published(source, target, merge=merge)
    return "published"


def to_ours(source: Path, target: Path, load: LoadConfig = DEFAULT_LOAD) -> None:
    """A published folder (or an adapter and its base, merged) in our layout.

    Raises:
        CheckpointError: see ``read_published``.
    """
    OpenVlaOft.from_pretrained(source, load=load)  # every check, the attention probe included, before a byte is written
    files = read_policy_files(source, load)
    state = {tensor.name: tensor.value for tensor in files.tensors}
    _write(target / WEIGHTS_FILE, state)
    atomic_write_json(target / CONFIG_FILE, files.config.to_json())
    atomic_write_text(target / TOKENIZER_FILE, files.tokenizer.to_str(pretty=False) + "\n")
    atomic_write_text(target / CARD_FILE, model_card(files.config, state, {"converted_from": source.name}))
    if is_adapter_folder(source):
        return
    shards = find_tensor_files(source)
    unused = {name: tensor for _, name, tensor in shards if UNUSED.fullmatch(name)}
    if unused:
        _write(target / KEPT / UNUSED_FILE, unused)
    for path in sorted(source.glob("*.json")):
        if path.name not in (INDEX_FILE, TOKENIZER_FILE):
            (target / KEPT).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / KEPT / path.name)


def to_published(source: Path, target: Path, *, merge: bool = False, shard_bytes: int = SHARD_BYTES) -> None:
    """Our folder in the published layout, in shards of about ``shard_bytes``.

    Args:
        source: our layout.
        target: written to.
        merge: add low-rank adapters to their weights; else they are written as a peft folder, ``lora_adapter/``.
        shard_bytes: size from which a new file is begun.

    Raises:
        CheckpointError: ``source`` is no folder in our layout.
    """
    if _is_published(source):
        raise CheckpointError(f"{source} is in the published layout already")
    files = read_policy_files(source, DEFAULT_LOAD)
    policy = OpenVlaOft.from_pretrained(source, load=LoadConfig(device="cpu"))
    types = {tensor.name: tensor.value.dtype for tensor in files.tensors}
    state = {name: tensor.to(types[name]) for name, tensor in policy.state_dict().items()}
    config, names = files.config, PublishedNames(files.config.vision)
    if config.adapter is not None:
        for name, layer in adapters(policy):
            weight = state[f"{name}.weight"]
            state[f"{name}.weight"] = layer.merged_weight().to(weight.dtype) if merge else weight
        state = {name: tensor for name, tensor in state.items() if ".lora_" not in name}
        if not merge:
            save_adapter(target / "lora_adapter", policy, names, base="..")
    published = names.to_published(state)
    kept = source / KEPT
    if (kept / UNUSED_FILE).is_file():
        published |= {name: tensor for _, name, tensor in TensorFiles({kept / UNUSED_FILE: None})}
    _write_shards(target, published, shard_bytes)
    _write_small_files(target, kept, _without_adapter(config))
    shutil.copyfile(source / TOKENIZER_FILE, target / TOKENIZER_FILE)


def _without_adapter(config: OpenVlaOftConfig) -> OpenVlaOftConfig:
    import dataclasses

    return dataclasses.replace(config, adapter=None)


def _write_small_files(target: Path, kept: Path, config: OpenVlaOftConfig) -> None:
    """The JSON files: those the folder came with, or new ones; either way with our configuration inside."""
    contents: dict[str, Any]
    if (kept / CONFIG_FILE).is_file():
        contents = {path.name: read_json(path) for path in sorted(kept.glob("*.json"))}
        contents[CONFIG_FILE][EXTRA_KEY] = config.to_json()
    else:
        published, preprocessor, statistics = config_to_published(config, "vlarl")
        contents = {CONFIG_FILE: published, PREPROCESSOR_FILE: preprocessor, STATISTICS_FILE: statistics}
    for name, content in contents.items():
        atomic_write_json(target / name, content)


def _write_shards(target: Path, tensors: Mapping[str, Tensor], shard_bytes: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    if len(shards) == 1:
        _write(target / WEIGHTS_FILE, shards[0])
        return
    places = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write(target / file, shard)
        places |= dict.fromkeys(shard, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    atomic_write_json(target / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": places})


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    atomic_write_bytes(path, save(plain, metadata={"format": "pt"}))


def _is_published(folder: Path) -> bool:
    content = read_json(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
    return isinstance(content, dict) and content.get("model_type") == PUBLISHED_TYPE
