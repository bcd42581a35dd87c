"""What a policy needs to run and to train, counted on a network without memory, for any size of GPU.

Weights, gradients and optimiser moments follow from the number of parameters. Activations are counted, not estimated:
one forward and backward pass of the real code is run on tensors that have shapes and no memory, and the bytes alive at
once are added up (``vlarl.nn.live_memory``). What the count leaves out is what the device itself takes (CUDA context,
allocator rounding, kernels' scratch space): ``RESERVE_GB``. A test compares the count with the memory that the
operating system says a process took.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vlarl.nn.live_memory import LiveBytes, gigabytes, parameter_bytes
from vlarl.nn.openvla_network import OpenVlaNetwork
from vlarl.policies.action_tokens import log_probs_and_entropy
from vlarl.policies.oft_config import AdapterConfig, OpenVlaOftConfig
from vlarl.policies.weights import parameters_on_meta

RESERVE_GB = 2.0
"""Left free for the CUDA context, allocator rounding and kernels' scratch space [GB]; an assumption, not measured."""
PROMPT_TOKENS = 35
"""Length of LIBERO's longer prompts."""
MICRO_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
ADAM_MOMENTS = 2
LARGE_BATCHES = (128, 256)
"""Batches in which activations outweigh everything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMode:
    """One way to train."""

    name: str
    adapter_rank: int = 0
    recompute: bool = False
    precision: torch.dtype = torch.bfloat16


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Bytes by purpose for one way to train."""

    mode: TrainingMode
    weights: int
    gradients: int
    optimizer: int
    activations: dict[int, int]
    """Decisions per micro-batch -> bytes alive at once beside the above: activations and the gradients it makes."""

    @property
    def fixed(self) -> int:
        """What does not depend on the micro-batch."""
        return self.weights + self.gradients + self.optimizer

    def largest(self, budget_gb: float) -> int:
        """Most decisions per micro-batch within a budget, 0 for none of those counted."""
        fitting = [n for n, b in self.activations.items() if gigabytes(self.fixed + b) + RESERVE_GB <= budget_gb]
        return max(fitting, default=0)


def training_modes(adapter_rank: int) -> list[TrainingMode]:
    """The ways that are compared: adapters and full fine-tuning, each with and without recomputed layers."""
    return [
        TrainingMode(name=f"LoRA rank {adapter_rank}", adapter_rank=adapter_rank),
        TrainingMode(name=f"LoRA rank {adapter_rank}, recompute", adapter_rank=adapter_rank, recompute=True),
        TrainingMode(name="full fine-tuning", adapter_rank=0),
        TrainingMode(name="full fine-tuning, recompute", recompute=True),
    ]


def plan(config: OpenVlaOftConfig, mode: TrainingMode, sizes: Sequence[int] = MICRO_BATCHES) -> MemoryPlan:
    """Count one way to train, for each of ``sizes`` decisions per micro-batch."""
    if mode.adapter_rank:
        config = dataclasses.replace(config, adapter=AdapterConfig(rank=mode.adapter_rank, alpha=16.0))
    with FakeTensorMode() as fake:
        network = fake_network(config, mode, fake)
        weights = parameter_bytes(network, lambda _: True)
        trained = parameter_bytes(network, network.is_trained)
        count = peak_by_size(lambda size: activation_bytes(network, size))
    return MemoryPlan(
        mode=mode,
        weights=weights,
        gradients=trained,
        optimizer=ADAM_MOMENTS * trained,
        activations={size: count(size) for size in sizes},
    )


def inference_bytes(
    config: OpenVlaOftConfig, precision: torch.dtype, sizes: Sequence[int]
) -> tuple[int, dict[int, int]]:
    """Bytes of the weights, and for each batch size those alive at once during a rollout's forward pass."""
    with FakeTensorMode() as fake, torch.no_grad():
        network = fake_network(config, TrainingMode(name="inference", precision=precision), fake)
        for parameter in network.parameters():
            parameter.data = parameter.data.to(precision)
        weights = parameter_bytes(network, lambda _: True)
        count = peak_by_size(lambda size: forward_bytes(network, size))
    return weights, {size: count(size) for size in sizes}


def peak_by_size(count: Callable[[int], int]) -> Callable[[int], int]:
    """Bytes at any batch size from three counts.

    With one row the gradients decide, with many the activations, which are proportional to the rows; a peak is the
    larger of the two.
    """
    one, many, twice = (count(size) for size in (1, *LARGE_BATCHES))
    low, high = LARGE_BATCHES
    slope = (twice - many) / (high - low)
    return lambda size: max(one, round(many + (size - low) * slope))


def fake_network(config: OpenVlaOftConfig, mode: TrainingMode, fake: FakeTensorMode) -> OpenVlaNetwork:
    """The network with parameters that have a shape, a type and no memory; call inside ``fake``."""
    with torch.utils._python_dispatch._disable_current_modes(), parameters_on_meta():
        network = OpenVlaNetwork(config)
    network.precision = mode.precision
    network.language_model.recompute = mode.recompute
    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = nn.Parameter(torch.empty(parameter.shape))
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = fake.from_tensor(buffer)
    for name, parameter in network.named_parameters():
        trained = network.is_trained(name)
        parameter.data = parameter.data.to(torch.float32 if trained else mode.precision)
        parameter.requires_grad_(trained)
    return network


def activation_bytes(network: OpenVlaNetwork, rows: int) -> int:
    """Bytes alive at once in a micro-batch of ``rows`` decisions.

    Activations, and the gradients it makes, which the learner then adds to those of the micro-batches before.
    """
    inputs = fake_inputs(network.config, rows)
    parameters = [p for p in network.parameters() if p.requires_grad]
    with LiveBytes() as live:
        live.ignore((list(network.parameters()), inputs))
        loss = _log_probs(network, *inputs).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        assert any(gradient is not None for gradient in gradients)
    return live.peak


def forward_bytes(network: OpenVlaNetwork, rows: int) -> int:
    """Bytes alive at once while ``rows`` decisions are made, images included."""
    config = network.config
    inputs = fake_inputs(config, rows)
    size = config.vision.image_size
    images = torch.empty(rows * len(config.cameras), size, size, 3, dtype=torch.uint8)
    with LiveBytes() as live, network.computing():
        network.vision_backbone(images)
        _log_probs(network, *inputs)
    return live.peak


def fake_inputs(config: OpenVlaOftConfig, rows: int) -> tuple[torch.Tensor, ...]:
    """Features, prompt, proprioception (empty without) and tokens of ``rows`` decisions."""
    vision = config.vision
    length = min(PROMPT_TOKENS, config.prompt.max_tokens)
    return (
        torch.empty(rows, len(config.cameras) * vision.num_patches, vision.feature_size, dtype=torch.float16),
        torch.empty(rows, length, dtype=torch.int64),
        torch.empty(rows, config.proprio_size),
        torch.empty(rows, config.chunk, config.action_dim, dtype=torch.int64),
    )


def _log_probs(network: OpenVlaNetwork, features: Any, ids: Any, proprio: Any, tokens: Any) -> torch.Tensor:
    """What ``evaluate`` computes for prompts of one length, without looking at values (fake tensors have none)."""
    config = network.config
    state = proprio if config.proprio_size else None
    with network.computing():
        if config.decoding == "autoregressive":
            hidden = network.forced_hidden(features, ids, state, tokens)
        else:
            sequence, _, _ = network.chunk_sequence(features, ids, None, state)
            end = sequence.shape[1] - 2
            hidden = network.language_model(sequence, slice(end - config.num_action_tokens, end))
        logits = network.action_logits(hidden)
    log_probs, entropies = log_probs_and_entropy(logits, tokens, 1.0)
    return log_probs + 0.0 * entropies.detach()
