"""Reading and writing the folder of an OpenVLA-OFT policy, with errors that name file and field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor, nn

from vlarl.errors import CheckpointError
from vlarl.files import atomic_write_bytes, atomic_write_json, atomic_write_text, json_text
from vlarl.policies.oft_config import OpenVlaOftConfig
from vlarl.policies.prompt_tokenizer import TOKENIZER_FILE, load_tokenizer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
STORAGE_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors of one file, loaded into a module with a check of every name and shape."""

    path: Path
    tensors: dict[str, Tensor]

    def load_into(self, module: nn.Module) -> None:
        """Copy into ``module``.

        Raises:
            CheckpointError: a tensor is missing, superfluous, of another shape, or not finite.
        """
        expected = module.state_dict()
        for name, target in expected.items():
            if name not in self.tensors:
                raise CheckpointError(f"{self.path}: tensor {name!r} is missing; expected shape {list(target.shape)}")
            tensor = self.tensors[name]
            if tensor.shape != target.shape:
                raise CheckpointError(
                    f"{self.path}: tensor {name!r} has shape {list(tensor.shape)}; {CONFIG_FILE} beside it "
                    f"describes {list(target.shape)}"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise CheckpointError(
                    f"{self.path}: tensor {name!r} holds NaN or infinity; the file is no usable policy"
                )
        extra = sorted(set(self.tensors) - set(expected))
        if extra:
            raise CheckpointError(
                f"{self.path}: {len(extra)} tensors that the architecture in {CONFIG_FILE} does not have, "
                f"first {extra[0]!r}"
            )
        module.load_state_dict({name: self.tensors[name].to(target.dtype) for name, target in expected.items()})


def load_policy_files(folder: str | Path) -> tuple[OpenVlaOftConfig, Weights, Tokenizer]:
    """Read configuration, weights and tokenizer of a folder; nothing is written and no code from it is run.

    Raises:
        CheckpointError: what is missing or wrong, in which file, and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; expected a policy with {CONFIG_FILE} and {WEIGHTS_FILE}")
    heads = sorted(p.name for p in folder.glob("action_head--*"))
    if heads:
        raise CheckpointError(
            f"{folder}: {heads[0]} is there, so this checkpoint was trained with a continuous (L1 or diffusion) action "
            "head and its language head never learned chunks of action tokens: sampling them would be noise, and "
            "reinforcement learning on them would see no reward. Take a checkpoint trained with discrete action tokens."
        )
    config_path, weights_path = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    for path in (config_path, weights_path):
        if not path.is_file():
            there = sorted(p.name for p in folder.iterdir())
            raise CheckpointError(
                f"{folder}: {path.name} is missing (the folder holds {', '.join(there) or 'nothing'})"
            )
    config = OpenVlaOftConfig.load(config_path)
    tokenizer = load_tokenizer(folder)
    if tokenizer.get_vocab_size() > config.language.vocab_size:
        raise CheckpointError(
            f"{folder / TOKENIZER_FILE}: {tokenizer.get_vocab_size()} pieces; {CONFIG_FILE} has room for "
            f"language.vocab_size = {config.language.vocab_size}"
        )
    return config, read_weights(weights_path), tokenizer


def read_weights(path: Path) -> Weights:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: the file is truncated or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return Weights(path, {name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file: {error}") from error


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
    lines = [
        "---",
        "library_name: vlarl",
        "pipeline_tag: robotics",
        "license: mit",
        "---",
        "",
        f"# {card.get('title', 'OpenVLA-OFT policy')}",
        "",
        f"OpenVLA-OFT with discrete action tokens, {count / 1e6:.2f} M parameters: DINOv2 + SigLIP towers of width "
        f"{vision.dino.hidden_size} + {vision.siglip.hidden_size} on {vision.image_size} px images "
        f"({vision.num_patches} patches, cameras {', '.join(config.cameras)}), Llama of width {language.hidden_size} "
        f"and {language.num_hidden_layers} layers with bidirectional attention, chunks of {config.chunk} actions.",
        "",
        "Load it with `vlarl.policies.openvla_oft.OpenVlaOft.from_pretrained(folder)`, or name the folder on the "
        "command line: `vlarl eval FOLDER --suite libero_object`.",
        "",
        "## How it was made",
        "",
    ]
    for key, value in card.items():
        if key == "title":
            continue
        text = value if isinstance(value, str | int | float) else json_text(value, indent=None)
        lines.append(f"- **{key.replace('_', ' ')}**: {text}")
    if len(card) == 0:
        lines.append("Nothing was recorded.")
    return "\n".join(lines) + "\n"
