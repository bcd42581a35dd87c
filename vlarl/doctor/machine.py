"""Processor, memory, disk, GPU and video codecs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vlarl.doctor.finding import Finding, ok, problem, warning

WORKER_GIGABYTES = 1.1
"""Private memory of a simulator process with one built LIBERO task, as measured."""
MAIN_GIGABYTES = 1.5
"""The main process with torch and a compact policy."""
MIN_DISK_GIGABYTES = 3.0
"""A run with checkpoints and videos, with room to spare."""


def examine_machine(folder: str | Path = ".") -> list[Finding]:
    """Everything about the machine that decides what runs and how fast."""
    return [examine_cpu(), examine_memory(), examine_disk(folder), *examine_gpu(), examine_video()]


def examine_cpu(cpuinfo: str | None = None) -> Finding:
    """Usable cores and the instruction sets that matter."""
    cores = usable_cores()
    text = _read("/proc/cpuinfo") if cpuinfo is None else cpuinfo
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    flags = set(line.group(1).split()) if line else set()
    sets = [name for flag, name in _INSTRUCTION_SETS.items() if flag in flags]
    bf16 = "bf16 in hardware" if flags & {"avx512_bf16", "amx_bf16", "bf16"} else "no bf16 in hardware"
    found = f"{cores} usable cores, {', '.join(sets) or 'no vector extensions known'}, {bf16}"
    if flags and "avx2" not in flags and "asimd" not in flags:
        return warning("processor", f"{found}: without AVX2 the policy is several times slower")
    return (
        warning("processor", f"{found}: simulators and policy share one core") if cores < 2 else ok("processor", found)
    )


_INSTRUCTION_SETS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX", "asimd": "NEON", "sve": "SVE"}


def usable_cores() -> int:
    """Cores that this process may use, counting a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def available_gigabytes() -> float:
    """Memory that can be used now without swapping, counting a container's limit [GB]."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo"))
    available = int(found.group(1)) * 1024 / 1e9 if found else float("inf")
    limit, used = _read("/sys/fs/cgroup/memory.max").strip(), _read("/sys/fs/cgroup/memory.current").strip()
    if limit.isdigit() and used.isdigit():
        available = min(available, (int(limit) - int(used)) / 1e9)
    return available


def examine_memory(available: float | None = None) -> Finding:
    """For how many simulator processes the memory does."""
    available = available_gigabytes() if available is None else available
    workers = int((available - MAIN_GIGABYTES) / WORKER_GIGABYTES)
    found = (
        f"{available:.1f} GB free: room for about {max(workers, 0)} simulator processes ({WORKER_GIGABYTES} GB each)"
    )
    if workers < 1:
        return problem(
            "memory", found, f"close other programs until {MAIN_GIGABYTES + WORKER_GIGABYTES:.1f} GB are free"
        )
    if workers < usable_cores():
        return warning("memory", f"{found}, fewer than cores", f"vlarl train ... --rollout.workers {workers}")
    return ok("memory", found)


def examine_disk(folder: str | Path, free: float | None = None) -> Finding:
    """Free space where runs are written, and whether one can write there."""
    path = Path(folder).resolve()
    free = shutil.disk_usage(path).free / 1e9 if free is None else free
    found = f"{free:.1f} GB free at {path}"
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return problem(
            "disk", f"nothing can be written at {path}: {error.strerror}", "cd to a folder that you may write to"
        )
    if free < MIN_DISK_GIGABYTES:
        return problem(
            "disk", f"{found}, a run needs up to {MIN_DISK_GIGABYTES:.0f} GB", f"du -sh {path}/runs/*  # then delete"
        )
    return ok("disk", found)


def examine_gpu() -> list[Finding]:
    """Whether torch loads, and whether it uses the GPU that the machine has."""
    code = (
        "import torch; cuda = torch.cuda.is_available(); "
        "print(torch.__version__, torch.cuda.get_device_name(0) if cuda else '-', sep='|')"
    )
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        return [problem("torch", "importing torch did not end within 120 s", "tools/setup.sh --force")]
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return [problem("torch", f"torch cannot be imported: {reason}", "tools/setup.sh --force")]
    version, device = done.stdout.strip().splitlines()[-1].split("|")
    findings = [ok("torch", f"{version} loads")]
    cards = _nvidia_cards()
    if device != "-":
        findings.append(ok("GPU", f"{device}, used by torch"))
    elif cards:
        build = "is a CPU build" if "+cpu" in version else "does not see it (driver too old?)"
        fix = "pip install --force-reinstall torch==" + version.split("+")[0]
        findings.append(warning("GPU", f"there is {cards}, but torch {version} {build}", fix))
    else:
        findings.append(ok("GPU", "none; compact policies train on the processor"))
    return findings


def examine_video() -> Finding:
    """Whether H.264 can be written and read back."""
    if importlib.util.find_spec("av") is None:
        return problem("video", "the package 'av' is not installed", f"{sys.executable} -m pip install av")
    import av
    import numpy as np

    from vlarl.media import ENCODINGS, Quality, read_video, write_video

    missing = sorted({encoding.codec for encoding in ENCODINGS.values()} - av.codecs_available)
    if missing:
        fix = f"{sys.executable} -m pip install --force-reinstall --only-binary :all: av"
        return problem("video", f"PyAV {av.__version__} lacks {', '.join(missing)}", fix)
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    qualities: list[Quality] = ["playable", "near_lossless", "lossless"]
    with tempfile.TemporaryDirectory() as folder:
        for quality in qualities:
            if read_video(write_video(Path(folder) / f"{quality}.mp4", frames, 20, quality)).shape != frames.shape:
                return problem("video", f"{quality} mp4 does not read back", f"{sys.executable} -m pip install -U av")
    return ok("video", f"PyAV {av.__version__} writes and reads H.264 mp4")


def _nvidia_cards() -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return ", ".join(done.stdout.split("\n")).strip(", ") if done.returncode == 0 else ""
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
