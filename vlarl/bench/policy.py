"""Measure a policy alone: decisions and updates per second, and what part of the time is matrix products.

Example::

    vlarl bench policy --config small --batch 1,8,32 --json policy.json
    vlarl bench policy --checkpoint assets/openvla_oft_compact_object --batch 16
    vlarl bench policy --config 7b --batch 1,8,32,128 --precision bfloat16 --adapter-rank 32

Without a checkpoint the weights are random: speed does not depend on them. 'act' is a rollout's decision from camera
image to action, 'update' a forward and backward pass over as many decisions. 'floor' is the time of the matrix products
alone at the rate that large ones reach on the same device in the same run: 2 x parameters x tokens for 'act', three
times that for 'update' (recomputed layers a fourth).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlarl.bench.measure import Table, print_rows

if TYPE_CHECKING:
    from vlarl.env_protocol import Observation
    from vlarl.policies.openvla_oft import OpenVlaOft


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench policy``."""

    config: str = "small"
    """A named size: small, medium, tiny, 7b."""
    checkpoint: Path | None = None
    """This policy instead of random weights."""
    batch: tuple[int, ...] = (1, 8, 32)
    """Decisions at once."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What is computed in."""
    adapter_rank: int = 0
    """Train low-rank adapters; 0: the weights."""
    recompute: bool = False
    """Gradient checkpointing."""
    device: str = "auto"
    """cpu, cuda; auto: the GPU for large policies."""
    repeats: int = 5
    """How often everything is measured, interleaved."""
    json: Path | None = None
    """Write the result to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    import torch

    torch.set_num_threads(1)  # as the loop runs it on a CPU
    policy = make_policy(options)
    if policy.device.type != "cuda" and sum(p.numel() for p in policy.parameters()) > 1_000_000_000:
        print("no GPU is at hand: a 7B policy is measured on a GPU; on this processor one decision takes minutes")
        return 1
    table = Table()
    work = [Measured(policy, size) for size in options.batch]
    for measured in work:
        measured.once()  # warm-up
    for _ in range(options.repeats):
        rate = matmul_rate(policy)
        table.add("large matrix product", "GFLOP/s", rate / 1e9)
        for measured in work:
            measured.record(table, rate)
    shares = {}
    if policy.device.type == "cpu":
        for measured in work:
            shares |= measured.matmul_shares()
    for name, share in shares.items():
        table.add(name, "share of the CPU time", share)
    if policy.device.type == "cuda":
        table.add("peak memory", "GB", torch.cuda.max_memory_allocated() / 1e9)
    print_rows(f"policy on {device_name(policy)}, {options.precision}", table.rows(), {})
    if options.json is not None:
        write(options, table, policy)
    return 0


def make_policy(options: Options) -> OpenVlaOft:
    """The checkpoint, or a policy of the named size with random weights."""
    import dataclasses

    import torch

    from vlarl.policies.loading import PRECISIONS, choose_device
    from vlarl.policies.oft_config import AdapterConfig
    from vlarl.policies.oft_presets import preset
    from vlarl.policies.openvla_oft import OpenVlaOft
    from vlarl.policies.prompt_tokenizer import build_tokenizer
    from vlarl.policies.weights import parameters_on_meta
    from vlarl.policy import LoadConfig

    if options.checkpoint is not None:
        load = LoadConfig(
            precision=options.precision,
            adapter_rank=options.adapter_rank,
            recompute=options.recompute,
            device=options.device,
        )
        return OpenVlaOft.from_pretrained(options.checkpoint, load=load)
    config = preset(options.config)
    if options.adapter_rank:
        config = dataclasses.replace(config, adapter=AdapterConfig(rank=options.adapter_rank, alpha=16.0))
    with parameters_on_meta():
        policy = OpenVlaOft(config, build_tokenizer(config.language.token_vocab_size))
    device = choose_device(options.device, policy)
    if device.type == "cpu" and sum(p.numel() for p in policy.parameters()) > 1_000_000_000:
        return policy
    frozen = PRECISIONS[options.precision]
    for name, parameter in list(policy.named_parameters()):
        owner: Any = policy.get_submodule(name.rpartition(".")[0])
        trained = policy.is_trained(name)
        made = torch.empty(parameter.shape, dtype=torch.float32 if trained else frozen, device=device)
        made = torch.ones_like(made) if "norm" in name else made.normal_(std=0.02)
        last = name.rpartition(".")[2]
        owner._parameters[last] = torch.nn.Parameter(made, requires_grad=trained or not options.adapter_rank)
    policy.to(device)
    policy.precision = frozen
    policy.language_model.recompute = options.recompute
    return policy.eval()


class Measured:
    """One batch size: a rollout's decision and an update's gradient."""

    def __init__(self, policy: OpenVlaOft, size: int) -> None:
        import torch

        from vlarl.policy import Decoding

        self.policy, self.size = policy, size
        self.decoding = Decoding(temperature=1.6)
        self.observations = [made_observation(policy, index) for index in range(size)]
        generator = np.random.default_rng(0)
        self.noise = [generator.random(policy.noise_shape, dtype=np.float32) for _ in range(size)]
        outputs = policy.act(self.observations, self.noise, self.decoding)
        self.inputs = {name: torch.stack([o.inputs[name] for o in outputs]) for name in outputs[0].inputs}
        self.tokens = torch.from_numpy(np.stack([o.tokens for o in outputs]).astype(np.int64))
        self.parameters = policy.trainable_parameters()

    def act(self) -> None:
        """Decide."""
        self.policy.act(self.observations, self.noise, self.decoding)

    def update(self) -> None:
        """Forward and backward."""
        import torch

        log_probs, _ = self.policy.evaluate(self.inputs, self.tokens, self.decoding.temperature)
        torch.autograd.grad(log_probs.sum(), self.parameters, allow_unused=True)

    def once(self) -> dict[str, float]:
        """Seconds of each."""
        import torch

        seconds = {}
        for name, function in (("act", self.act), ("update", self.update)):
            if self.policy.device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            function()
            if self.policy.device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name] = time.perf_counter() - started
        return seconds

    def record(self, table: Table, rate: float) -> None:
        """Add one repeat's figures; ``rate`` is that of large matrix products [FLOP/s]."""
        seconds, floor = self.once(), self.floating_point_operations()
        chunk = self.policy.config.chunk
        for name, value in seconds.items():
            label = f"{name} batch {self.size}"
            table.add(label, "decisions/s", self.size / value)
            table.add(f"{label} env-steps", "env-steps/s", self.size * chunk / value)
            table.add(f"{label} floor", "share of the time", floor[name] / rate / value)

    def floating_point_operations(self) -> dict[str, float]:
        """Of the matrix products: 2 x parameters x tokens each time a parameter meets a token."""
        policy, vision = self.policy, self.policy.config.vision
        patches = len(policy.config.cameras) * vision.num_patches
        prompt = int(self.inputs["prompt_mask"].sum(1).max())
        tokens = prompt + patches + bool(policy.config.proprio_size) + policy.config.num_action_tokens + 1
        sizes = {name: p.numel() for name, p in policy.named_parameters()}
        seen = sum(n for name, n in sizes.items() if name.startswith("vision_backbone."))
        projected = sum(n for name, n in sizes.items() if name.startswith("projector."))
        read = sum(n for name, n in sizes.items() if ".layers." in name and name.startswith("language_model."))
        update = 2.0 * self.size * (projected * patches + read * tokens)
        frozen_share = 2.0 if policy.config.adapter is not None else 3.0  # no gradient of frozen weights
        factor = frozen_share + (1.0 if policy.language_model.recompute else 0.0)
        return {"act": update + 2.0 * self.size * seen * patches, "update": factor * update}

    def matmul_shares(self) -> dict[str, float]:
        """Share of the CPU time outside matrix products, by the profiler."""
        from torch.profiler import ProfilerActivity, profile

        shares = {}
        for name, function in (("act", self.act), ("update", self.update)):
            with profile(activities=[ProfilerActivity.CPU]) as profiled:
                function()
            times = {event.key: event.self_cpu_time_total for event in profiled.key_averages()}
            inside = sum(value for key, value in times.items() if key in MATRIX_PRODUCTS)
            shares[f"{name} batch {self.size} outside matrix products"] = 1.0 - inside / sum(times.values())
        return shares


MATRIX_PRODUCTS = (
    "aten::mm",
    "aten::addmm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::mkldnn_convolution",
    "aten::convolution_backward",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
)


def made_observation(policy: OpenVlaOft, index: int) -> Observation:
    """Noise images of the size that the policy asks for."""
    from vlarl.env_protocol import Observation

    generator = np.random.default_rng(index)
    size = policy.config.image.camera_size or policy.config.vision.image_size
    images = {c: generator.integers(0, 256, (size, size, 3), dtype=np.uint8) for c in policy.config.cameras}
    state = np.zeros(policy.config.proprio_size or 8, np.float32)
    return Observation(images=images, state=state, instruction="put the bowl on the plate", time=0.0)


def matmul_rate(policy: OpenVlaOft) -> float:
    """FLOP/s of large matrix products in the policy's precision on its device."""
    import torch

    size = 4096 if policy.device.type == "cuda" else 512
    one = torch.ones(size, size, dtype=policy.precision, device=policy.device)
    best = float("inf")
    for _ in range(4):
        if policy.device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        one @ one
        if policy.device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2.0 * size**3 / best


def device_name(policy: OpenVlaOft) -> str:
    """As it is reported."""
    import torch

    return torch.cuda.get_device_name(policy.device) if policy.device.type == "cuda" else "the CPU, one thread"


def write(options: Options, table: Table, policy: OpenVlaOft) -> None:
    """Write the result file."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "policy", "--config", options.config, "--batch", ",".join(map(str, options.batch))]
    words += ["--precision", options.precision, "--repeats", str(options.repeats)]
    protocol = {
        "policy": str(options.checkpoint or f"{options.config}, random weights"),
        "device": device_name(policy),
        "precision": options.precision,
        "adapter_rank": options.adapter_rank,
        "recompute": options.recompute,
        "parameters": sum(p.numel() for p in policy.parameters()),
        "interleaved": True,
    }
    assert options.json is not None
    write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": {}})
