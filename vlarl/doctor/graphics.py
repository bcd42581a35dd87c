"""Off-screen OpenGL: which back ends load and draw a test frame correctly, and which one is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vlarl.doctor.finding import Finding, ok, problem, warning

BACKENDS = {
    "osmesa": "apt-get install -y libosmesa6",
    "egl": "apt-get install -y libegl1 libgl1 libgles2",
}
"""Back end -> the command that brings it on Debian."""
DEFAULT_BACKEND = "osmesa"
"""What our environments choose where ``MUJOCO_GL`` is not set: it needs no device and draws the same everywhere."""
SECONDS = 90.0
_PROBE = "vlarl.doctor.gl_probe"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one back end did."""

    driver: str = ""
    milliseconds: float = 0.0
    """Per frame of 64 x 64."""
    wrong: str = ""
    """"" where it drew the frame correctly."""


def examine_graphics(environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Probe every back end side by side; the one in use must work, the others are told."""
    variables = dict(os.environ if environment is None else environment)
    chosen = (variables.get("MUJOCO_GL") or DEFAULT_BACKEND).lower()
    if chosen not in BACKENDS:
        found = f"MUJOCO_GL is {chosen!r}; off-screen rendering knows {' and '.join(BACKENDS)}"
        return [problem("rendering", found, f"export MUJOCO_GL={DEFAULT_BACKEND}")]
    with ThreadPoolExecutor(len(BACKENDS)) as pool:
        results = dict(zip(BACKENDS, pool.map(lambda name: probe(name, variables), BACKENDS), strict=True))
    findings = []
    for name, result in results.items():
        topic = f"rendering, {name}" + (" (in use)" if name == chosen else "")
        if not result.wrong:
            findings.append(
                ok(topic, f"draws correctly with {result.driver}, {result.milliseconds:.1f} ms per test frame")
            )
            continue
        working = [other for other, its in results.items() if not its.wrong]
        if name != chosen:
            findings.append(ok(topic, f"not available, not needed ({result.wrong})"))
        else:
            fix = BACKENDS[name] + (f"  (or: export MUJOCO_GL={working[0]})" if working else "")
            findings.append(problem(topic, result.wrong, fix))
    egl = results["egl"]
    if chosen == "osmesa" and not egl.wrong and "llvmpipe" not in egl.driver and "softpipe" not in egl.driver:
        found = f"frames are drawn by the processor although {egl.driver} works"
        findings.append(warning("rendering, choice", found, "export MUJOCO_GL=egl"))
    return findings


def probe(backend: str, environment: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Rendering:
    """Let a fresh process draw the test frame with one back end."""
    variables = dict(os.environ if environment is None else environment)
    # One llvmpipe thread: more of them only slow a tiny frame down.
    variables |= {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend, "LP_NUM_THREADS": "0"}
    root = str(Path(__file__).resolve().parents[2])
    variables["PYTHONPATH"] = os.pathsep.join(part for part in (root, variables.get("PYTHONPATH", "")) if part)
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROBE],
            env=variables,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Rendering(wrong=f"the driver hung: no frame within {seconds:g} s")
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else "it said nothing"
        how = f"killed by signal {-done.returncode}" if done.returncode < 0 else "failed"
        return Rendering(wrong=f"{how}: {reason}")
    try:
        return Rendering(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (json.JSONDecodeError, IndexError, TypeError) as error:
        return Rendering(wrong=f"its answer could not be read: {error}")
