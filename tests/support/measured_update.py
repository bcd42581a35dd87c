"""Measure the memory that one update takes from the operating system; prints bytes. Started by ``test_memory_plan``.

Usage: measured_update.py ROWS
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import sys
from pathlib import Path

import torch

from vlarl.doctor.memory_plan import _log_probs, fake_inputs
from vlarl.nn.openvla_network import OpenVlaNetwork
from vlarl.policies.oft_config import AdapterConfig, LanguageConfig, OpenVlaOftConfig
from vlarl.policies.oft_presets import compact

MODES = ((False, 0), (True, 0), (False, 32), (True, 32))
"""Recompute activations or not, rank of adapters (0: every weight is trained)."""


def config(adapter_rank: int = 0) -> OpenVlaOftConfig:
    """Large enough that its activations outweigh the process around it, small enough for a second on a CPU."""
    base = compact(width=256, layers=4, heads=4, intermediate=688)
    language = dataclasses.asdict(base.language) | {"vocab_size": 576}
    changed = dataclasses.replace(base, language=LanguageConfig(**language))
    if adapter_rank:
        changed = dataclasses.replace(changed, adapter=AdapterConfig(rank=adapter_rank, alpha=16.0))
    return changed


def resident(field: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process [bytes]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def main(rows: int) -> None:
    """Print a line ``[recompute, adapter rank, bytes]`` for each mode, each measured in a process of its own."""
    torch.set_num_threads(1)
    for mode in MODES:
        child = os.fork()  # libraries are imported once
        if child == 0:
            print(json.dumps([*mode, measure(rows, *mode)]), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def measure(rows: int, recompute: bool, adapter_rank: int) -> int:
    """Bytes that making a policy and one update of it take at the highest."""
    warm = OpenVlaNetwork(dataclasses.replace(config(adapter_rank), language=compact().language))
    update(warm, 2)  # what the libraries allocate once is not the policy's
    del warm
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
    network = OpenVlaNetwork(config(adapter_rank))
    network.language_model.recompute = recompute
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(network.is_trained(name))
    update(network, rows)
    return resident("VmHWM") - before


def update(network: OpenVlaNetwork, rows: int) -> None:
    """Two micro-batches, gradients added as the learner does, one AdamW step."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, foreach=False)
    for parameter in parameters:  # moments exist from the second step on
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    total = [parameter.grad for parameter in parameters]
    inputs = tuple(torch.zeros_like(tensor) for tensor in fake_inputs(network.config, rows))
    gradients = torch.autograd.grad(_log_probs(network, *inputs).sum(), parameters, allow_unused=True)
    for held, new in zip(total, gradients, strict=True):
        if held is not None and new is not None:
            held += new
    optimizer.step()


if __name__ == "__main__":
    main(int(sys.argv[1]))
