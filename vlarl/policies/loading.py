"""From the files of a checkpoint to a policy that computes: memory, precision, new parts, and the attention probe."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import torch
from torch import nn

from vlarl.errors import CheckpointError, ConfigError
from vlarl.nn.action_llama import attention_probe
from vlarl.policies.oft_config import AdapterConfig
from vlarl.policies.published_files import PolicyFiles
from vlarl.policies.weights import fill, parameters_on_meta
from vlarl.policy import LoadConfig

LARGE = 100_000_000
"""Parameters from which a policy goes to the GPU by itself."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(policy_class: Any, files: PolicyFiles, load: LoadConfig, seed: int) -> Any:
    """The policy that ``files`` describe, in evaluation mode.

    Frozen weights are kept in ``load.precision``, trained ones in float32.

    Raises:
        CheckpointError: the weights do not fit, or attention is not what the policy needs.
        ConfigError: what ``load`` asks for cannot be had here.
    """
    if load.attention == "flash":
        raise ConfigError(flash_reason())
    config = files.config
    if load.adapter_rank:
        if config.adapter is not None and config.adapter.rank != load.adapter_rank:
            raise ConfigError(
                f"{files.folder} holds adapters of rank {config.adapter.rank}; --load.adapter-rank {load.adapter_rank} "
                "asks for another rank. Leave the flag away, or merge them first: vlarl convert FOLDER OUT --merge"
            )
        if config.adapter is None:
            # OpenVLA's fine-tuning scales by min(rank, 16) / rank.
            adapter = AdapterConfig(rank=load.adapter_rank, alpha=float(min(load.adapter_rank, 16)))
            config = dataclasses.replace(config, adapter=adapter)
    if load.value_head:
        config = dataclasses.replace(config, value_head=True)
    with parameters_on_meta():
        try:
            policy = policy_class(config, files.tokenizer, attention=load.attention)
        except ConfigError as error:
            raise CheckpointError(f"{files.folder / 'config.json'}: adapter.ranks: {error}") from error
    frozen_type = PRECISIONS[load.precision]
    new = fill(
        policy,
        files.tensors,
        source=files.folder,
        type_of=lambda name: torch.float32 if policy.is_trained(name) else frozen_type,
        may_be_new=lambda name: is_new_part(name, load),
        stored_name=files.stored_name,
    )
    initialise(policy, new, seed)
    policy.precision = frozen_type
    policy.language_model.recompute = load.recompute
    if config.adapter is not None:
        for name, parameter in policy.named_parameters():
            parameter.requires_grad_(policy.is_trained(name))
    policy.to(choose_device(load.device, policy))
    check_attention(policy, str(files.folder))
    return policy.eval()


def check_attention(policy: Any, where: str) -> None:
    """Prove that attention goes both ways where it must, and not where it must not.

    Raises:
        CheckpointError: it does not; what was measured.
    """
    llama = policy.language_model
    if len(llama.layers) < 1:
        return
    with torch.no_grad(), policy.computing():
        moved = attention_probe(llama)
    wanted = policy.config.decoding == "parallel"
    if (moved > 0) != wanted:
        raise CheckpointError(
            f"{where}: changing the last token moves the first position by {moved:.3g}, so attention is "
            f"{'causal' if wanted else 'bidirectional'}; this policy was trained with "
            f"{'bidirectional' if wanted else 'causal'} attention and would act wrongly. The installed transformers "
            "computes something else than was tested: pip install -c constraints.txt transformers"
        )


def flash_reason() -> str:
    """Why the flash-attn package is not used, on this machine and at all."""
    missing = [
        text
        for text, absent in (
            ("the package 'flash_attn' is not installed", importlib.util.find_spec("flash_attn") is None),
            ("torch sees no GPU", not torch.cuda.is_available()),
        )
        if absent
    ]
    here = f" ({' and '.join(missing)} here)" if missing else ""
    return (
        f"attention 'flash' is not offered{here}: transformers' flash-attn path decides on causality by itself, "
        "which is how OpenVLA-OFT checkpoints silently lose half of their success rate. Use --load.attention sdpa: on "
        "a GPU torch runs its own flash kernel wherever a batch needs no mask."
    )


def is_new_part(name: str, load: LoadConfig) -> bool:
    """Whether a parameter may be absent from the files because it was only now asked for."""
    return (bool(load.adapter_rank) and ".lora_" in name) or (load.value_head and name.startswith("value_head."))


@torch.no_grad()
def initialise(policy: nn.Module, names: list[str], seed: int) -> None:
    """Start values of new adapters and a new critic: an adapter adds nothing, a critic says 0."""
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        parameter = policy.get_parameter(name)
        if name.endswith("lora_a"):
            parameter.normal_(0.0, 1.0 / parameter.shape[0], generator=generator)
        elif name.startswith("value_head.fc3") or name.endswith(("lora_b", "bias")):
            parameter.zero_()
        else:
            parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)


def choose_device(wanted: str, policy: nn.Module) -> torch.device:
    """Where to compute.

    Raises:
        ConfigError: a GPU is asked for and torch sees none.
    """
    if wanted == "auto":
        large = sum(parameter.numel() for parameter in policy.parameters()) > LARGE
        return torch.device("cuda" if large and torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {wanted!r}: torch sees no GPU here; 'vlarl doctor' says why. Use --load.device cpu")
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(f"device {wanted!r} is none that torch knows; expected cpu, cuda or cuda:N") from error
