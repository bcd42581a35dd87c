"""Reading and writing the folder of a policy in our own layout, and telling it from a published one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from vlarl.errors import CheckpointError
from vlarl.files import atomic_write_bytes, atomic_write_json, atomic_write_text, json_text, read_json
from vlarl.policies.adapter_files import is_adapter_folder
from vlarl.policies.oft_config import OpenVlaOftConfig
from vlarl.policies.prompt_tokenizer import TOKENIZER_FILE, load_tokenizer
from vlarl.policies.published_files import PolicyFiles, read_published
from vlarl.policies.tensor_files import WEIGHTS_FILE, find_tensor_files
from vlarl.policies.weights import NamedTensor
from vlarl.policy import LoadConfig

CONFIG_FILE = "config.json"
PUBLISHED_TYPE = "openvla"
CARD_FILE = "README.md"
STORAGE_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def read_policy_files(folder: str | Path, load: LoadConfig) -> PolicyFiles:
    """Read a folder of either layout; nothing is written and no code from it is run.

    Raises:
        CheckpointError: what is missing or wrong, in which file, and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected a policy with {CONFIG_FILE} and {WEIGHTS_FILE}")
    if is_adapter_folder(folder):
        return read_published(folder, load)
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir()))
        raise CheckpointError(f"{folder}: {CONFIG_FILE} is missing (the folder holds {there or 'nothing'})")
    content = read_json(config_path)
    if isinstance(content, dict) and content.get("model_type") == PUBLISHED_TYPE:
        return read_published(folder, load)
    config = OpenVlaOftConfig.from_json(content, config_path)
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > config.language.vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER_FILE}: {tokenizer.get_vocab_size()} pieces; {CONFIG_FILE} has room for "
            f"language.vocab_size = {config.language.vocab_size}"
        )
    tensors = (NamedTensor(path, name, name, value) for path, name, value in find_tensor_files(folder))
    return PolicyFiles(folder, config, tokenizer, tensors, lambda name: name)


def save_policy_files(
    folder: str | Path,
    config: OpenVlaOftConfig,
    state: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    card: Mapping[str, Any],
) -> None:
    """Write the folder. ``card["storage"]`` may name a 16-bit type for the weights; the default is float32."""
    folder = Path(folder)
    storage = STORAGE_TYPES[str(card.get("storage", "float32"))]
    tensors = {name: tensor.detach().to("cpu", storage).contiguous() for name, tensor in state.items()}
    atomic_write_bytes(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    atomic_write_json(folder / CONFIG_FILE, config.to_json())
    atomic_write_text(folder / TOKENIZER_FILE, tokenizer.to_str(pretty=False) + "\n")
    atomic_write_text(folder / CARD_FILE, model_card(config, state, card))


def model_card(config: OpenVlaOftConfig, state: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """The model card: what it is, its size, and every entry of ``card`` (how it was trained)."""
    count = sum(tensor.numel() for tensor in state.values())
    vision, language = config.vision, config.language
    towers = [vision.siglip] if vision.dino is None else [vision.dino, vision.siglip]
    kind = "OpenVLA-OFT" if config.decoding == "parallel" else "OpenVLA"
    head = "discrete action tokens" if config.head == "tokens" else "an L1 regression head"
    attention = "bidirectional" if config.decoding == "parallel" else "causal"
    lines = [
        "---",
        "library_name: vlarl",
        "pipeline_tag: robotics",
        *([f"license: {card['license']}"] if "license" in card else []),
        "---",
        "",
        f"# {card.get('title', f'{kind} policy')}",
        "",
        f"{kind} with {head}, {count / 1e6:.2f} M parameters: {'DINOv2 + SigLIP' if vision.dino else 'SigLIP'} towers "
        f"of width {' + '.join(str(tower.hidden_size) for tower in towers)} on {vision.image_size} px images "
        f"({vision.num_patches} patches, cameras {', '.join(config.cameras)}), Llama of width {language.hidden_size} "
        f"and {language.num_hidden_layers} layers with {attention} attention, chunks of {config.chunk} actions.",
        "",
        "Load it with `vlarl.policies.openvla_oft.OpenVlaOft.from_pretrained(folder)`, or name the folder on the "
        "command line: `vlarl eval FOLDER --suite libero_object`.",
        "",
        "## How it was made",
        "",
    ]
    for key, value in card.items():
        if key in ("title", "license"):
            continue
        text = value if isinstance(value, str | int | float) else json_text(value, indent=None)
        lines.append(f"- **{key.replace('_', ' ')}**: {text}")
    if len(card) == 0:
        lines.append("Nothing was recorded.")
    return "\n".join(lines) + "\n"
