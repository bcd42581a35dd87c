"""The table that ``vlarl doctor --policy`` prints: what fits into a GPU."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vlarl.doctor.memory_plan import MICRO_BATCHES, RESERVE_GB, MemoryPlan, inference_bytes, plan, training_modes
from vlarl.nn.live_memory import gigabytes
from vlarl.policies.checkpoint_files import read_policy_files
from vlarl.policies.oft_config import OpenVlaOftConfig
from vlarl.policies.oft_presets import preset
from vlarl.policy import LoadConfig

if TYPE_CHECKING:
    from vlarl.commands.doctor import Options

ROLLOUT_BATCHES = (1, 64)


def config_of(policy: str, unnorm_key: str = "") -> OpenVlaOftConfig:
    """The configuration of a folder, read without its weights, or of a named size.

    Raises:
        CheckpointError: see ``read_policy_files``.
        ConfigError: neither a folder nor a named size; the nearest is named.
    """
    if not Path(policy).is_dir():
        return preset(policy)
    return read_policy_files(policy, LoadConfig(unnorm_key=unnorm_key, allow_pickle=True)).config


def show_plan(options: Options) -> int:
    """Print the table; status 1 where no way to train fits."""
    from rich.console import Console
    from rich.table import Table

    config = config_of(options.policy, options.unnorm_key)
    console = Console(highlight=False)
    with console.status("counting ..."):
        plans = [plan(config, mode) for mode in training_modes(options.adapter_rank)]
        weights, forward = inference_bytes(config, torch.bfloat16, ROLLOUT_BATCHES)
    table = Table(box=None, padding=(0, 1, 0, 0))
    headings = ("in bfloat16", "weights", "gradients", "moments", "batch 1", "batch 8", "fits")
    for heading in headings:
        first = heading == headings[0]
        table.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for row in plans:
        table.add_row(*_cells(row, options.gpu_memory))
    console.print(
        f"[bold]{options.policy}[/bold] on a GPU of {options.gpu_memory:g} GB (all figures in GB, 10^9 bytes)\n"
    )
    console.print(table)
    used = ", ".join(f"{gigabytes(weights + peak):.2f} at batch {size}" for size, peak in forward.items())
    console.print(f"\nrollout alone: {gigabytes(weights):.2f} weights; in all {used}")
    console.print(
        f"'fits': decisions per micro-batch (--learner.microbatch-decisions) with {RESERVE_GB:g} GB left for the "
        f"device itself, of {', '.join(map(str, MICRO_BATCHES))}. One prompt length; AdamW; frozen vision features are "
        "cached. The count agrees within 3 % with what an update takes from the operating system on a CPU; a GPU's "
        "allocator has not been measured."
    )
    if options.json is not None:
        _write(options, plans, weights, forward)
    return 0 if any(row.largest(options.gpu_memory) for row in plans) else 1


def _cells(row: MemoryPlan, budget: float) -> list[str]:
    figures = [row.weights, row.gradients, row.optimizer, row.activations[1], row.activations[8]]
    largest = row.largest(budget)
    fits = f"{largest}{'+' if largest == MICRO_BATCHES[-1] else ''}" if largest else "no"
    return [row.mode.name, *(f"{gigabytes(n):.2f}" for n in figures), fits]


def _write(options: Options, plans: list[MemoryPlan], weights: int, forward: dict[int, int]) -> None:
    from vlarl.results import result_header, write_result

    rows: list[dict[str, Any]] = []
    for row in plans:
        content = dataclasses.asdict(row)
        content["mode"] = row.mode.name
        rows.append(content | {"largest_microbatch": row.largest(options.gpu_memory)})
    words = ["vlarl", "doctor", "--policy", options.policy, "--gpu-memory", f"{options.gpu_memory:g}"]
    header = result_header(words, {"adapter_rank": options.adapter_rank, "reserve_gb": RESERVE_GB})
    assert options.json is not None
    write_result(options.json, header | {"plans": rows, "rollout": {"weights": weights, "activations": forward}})
