"""Off-screen OpenGL: which back ends draw a test frame correctly, how fast, and which one is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vlarl.doctor.finding import Finding, ok, problem, warning

BACKENDS = {
    "osmesa": "apt-get install -y libosmesa6",
    "egl": "apt-get install -y libegl1 libgl1 libgles2",
}
"""Back end -> the command that brings it on Debian."""
DEFAULT_BACKEND = "osmesa"
"""Chosen where nothing is clearly faster: it needs no device and draws the same everywhere."""
CLEARLY_FASTER = 1.25
"""How many times faster another back end must draw to be chosen; less than that is noise."""
_SOFTWARE_DRIVERS = ("llvmpipe", "softpipe", "swrast")
SECONDS = 90.0
_PROBE = "vlarl.doctor.gl_probe"


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one back end did."""

    driver: str = ""
    milliseconds: float = 0.0
    """Per frame of 128 x 128 with about 40,000 triangles."""
    wrong: str = ""
    """"" where it drew the frame correctly."""

    @property
    def on_gpu(self) -> bool:
        """Whether a graphics card drew, not the processor."""
        return not self.wrong and not any(name in self.driver.lower() for name in _SOFTWARE_DRIVERS)


def examine_graphics(environment: Mapping[str, str] | None = None) -> list[Finding]:
    """Measure every back end, choose, remember the choice; the one in use must work, the others are told."""
    variables = dict(os.environ if environment is None else environment)
    wanted = variables.get("MUJOCO_GL", "").lower()
    if wanted and wanted not in BACKENDS:
        found = f"MUJOCO_GL is {wanted!r}; off-screen rendering knows {' and '.join(BACKENDS)}"
        return [problem("rendering", found, f"export MUJOCO_GL={DEFAULT_BACKEND}")]
    results = {name: probe(name, variables) for name in BACKENDS}  # one after the other: they are timed
    chosen = choose(results)
    used = wanted or chosen
    findings = []
    for name, result in results.items():
        topic = f"rendering, {name}" + (" (in use)" if name == used else "")
        where = "the GPU" if result.on_gpu else "the processor"
        if not result.wrong:
            timing = f"{result.milliseconds:.1f} ms per test frame"
            findings.append(ok(topic, f"draws correctly on {where} with {result.driver}, {timing}"))
        elif name == used:
            findings.append(problem(topic, result.wrong, BACKENDS[name] + _other_than(name, results)))
        else:
            findings.append(ok(topic, f"not available, not needed ({result.wrong})"))
    if results["egl"].on_gpu:
        software = probe("egl", variables | _software_only())
        drawn = f"{software.milliseconds:.1f} ms per test frame" if not software.wrong else software.wrong
        findings.append(ok("rendering, egl without the GPU", drawn))
    return [*findings, _choice(chosen, wanted, results, remember(chosen, variables))]


def choose(results: Mapping[str, Rendering]) -> str:
    """The fastest back end that draws correctly; the default unless another one is clearly faster."""
    working = {name: result.milliseconds for name, result in results.items() if not result.wrong}
    if not working:
        return DEFAULT_BACKEND
    fastest = min(working, key=lambda name: working[name])
    if DEFAULT_BACKEND in working and working[DEFAULT_BACKEND] < CLEARLY_FASTER * working[fastest]:
        return DEFAULT_BACKEND
    return fastest


def remember(chosen: str, variables: Mapping[str, str]) -> Path | None:
    """Write the choice where simulators look where ``MUJOCO_GL`` is not set; returns the file."""
    folder = variables.get("XDG_CACHE_HOME") or (variables.get("HOME") and os.path.join(variables["HOME"], ".cache"))
    if not folder:
        return None
    path = Path(folder) / "vlarl" / "graphics"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{chosen}\n", encoding="utf-8")
    except OSError:
        return None
    return path


def _choice(chosen: str, wanted: str, results: Mapping[str, Rendering], file: Path | None) -> Finding:
    topic = "rendering, choice"
    if wanted and wanted != chosen and not results[chosen].wrong:
        return warning(
            topic, f"MUJOCO_GL={wanted} is used because it is set; {chosen} is better here", "unset MUJOCO_GL"
        )
    if wanted:
        return ok(topic, f"{wanted}, because MUJOCO_GL is set")
    kept = f", remembered in {file}" if file else ", not remembered: the cache folder cannot be written"
    return ok(topic, f"{chosen}{kept}; MUJOCO_GL overrides it")


def _other_than(name: str, results: Mapping[str, Rendering]) -> str:
    working = [other for other, its in results.items() if not its.wrong and other != name]
    return f"  (or: export MUJOCO_GL={working[0]})" if working else ""


def _software_only() -> dict[str, str]:
    """Variables that keep EGL away from the GPU."""
    mesa = Path("/usr/share/glvnd/egl_vendor.d/50_mesa.json")
    keep = {"__EGL_VENDOR_LIBRARY_FILENAMES": str(mesa)} if mesa.exists() else {}
    return {"LIBGL_ALWAYS_SOFTWARE": "1"} | keep


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
