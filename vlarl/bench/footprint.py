"""What a pool of simulators holds on to: descriptors, processes, shared memory, memory. Linux's ``/proc`` tells."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vlarl.worker_pool import WorkerPool


@dataclass(frozen=True, slots=True)
class Footprint:
    """Counts and bytes at one moment."""

    descriptors: int
    """Open files of this process."""
    processes: int
    """Living descendants of this process."""
    mappings: int
    """Regions of anonymous shared memory that this process maps."""
    named_segments: int
    """Entries of ``/dev/shm``, whoever made them."""
    main_bytes: int
    """Resident memory of this process."""
    simulator_bytes: int
    """Proportional memory of nursery and workers; 0 without a pool."""


def footprint(pool: WorkerPool | None = None) -> Footprint:
    """Look now."""
    maps = Path("/proc/self/maps").read_text()
    status = Path("/proc/self/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    shared = Path("/dev/shm")
    return Footprint(
        descriptors=len(os.listdir("/proc/self/fd")),
        processes=len(descendants(os.getpid())),
        mappings=maps.count("/memfd:vlarl-frames"),
        named_segments=len(os.listdir(shared)) if shared.is_dir() else 0,
        main_bytes=int(resident.group(1)) * 1024 if resident else 0,
        simulator_bytes=pool.memory_bytes() if pool is not None else 0,
    )


def descendants(pid: int) -> list[int]:
    """Living (not zombie) processes below ``pid``."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (state := process_state(int(entry))) is not None and state[0] not in "ZX":
            children.setdefault(state[1], []).append(int(entry))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def process_state(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def growth(before: Footprint, after: Footprint) -> dict[str, int]:
    """What there is more of, by name."""
    first, last = asdict(before), asdict(after)
    return {name: last[name] - first[name] for name in first}


def slope(counts: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Least-squares slope of ``values [n]`` over ``counts [n]``."""
    x = counts - counts.mean()
    return float((x * (values - values.mean())).sum() / (x * x).sum())
