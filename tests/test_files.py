"""Atomic writing under faults caused on purpose: the old file or the new one, never half of one."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlarl.errors import DiskError, UserError
from vlarl.files import (
    TEMPORARY_PREFIX,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    read_json,
    sole_holder,
    to_json,
)


def run_python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script in its own process: resource limits and kills must not hit the test runner."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(TEMPORARY_PREFIX)]


def test_writes_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    assert atomic_write_text(path, "é") == path
    assert path.read_bytes() == "é".encode()
    atomic_write_bytes(path, b"two")
    assert path.read_bytes() == b"two"
    assert leftovers(path.parent) == []


def test_keeps_the_mode_of_the_file_it_replaces(tmp_path):
    path = atomic_write_text(tmp_path / "new", "x")
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask
    path.chmod(0o640)
    atomic_write_text(path, "y")
    assert path.stat().st_mode & 0o777 == 0o640


def test_full_disk_leaves_the_old_file(tmp_path):
    """RLIMIT_FSIZE stands for a full disk: the write fails in the middle."""
    path = tmp_path / "weights"
    path.write_bytes(b"old")
    done = run_python(
        """
        import resource, sys
        from vlarl.errors import DiskError
        from vlarl.files import atomic_write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            atomic_write_bytes(sys.argv[1], b"x" * 100_000)
        except DiskError as error:
            print(error)
        """,
        path,
    )
    assert str(path) in done.stdout
    assert "untouched" in done.stdout
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_read_only_folder_says_what_to_do(tmp_path):
    """As an unprivileged user, whoever runs the tests."""
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "x").write_text("old")
    folder.chmod(0o555)
    for parent in [tmp_path, *tmp_path.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055) if os.geteuid() == 0 else None
    done = run_python(
        """
        import os, sys
        from vlarl.errors import DiskError
        from vlarl.files import atomic_write_text
        if os.geteuid() == 0:
            os.seteuid(65534)
        try:
            atomic_write_text(sys.argv[1], "new")
        except DiskError as error:
            print(error)
        """,
        folder / "x",
    )
    assert "permission denied" in done.stdout, done.stderr
    assert (folder / "x").read_text() == "old"


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DiskError, match="choose another"):
        atomic_write_text(tmp_path / "file" / "inner", "x")


def test_killed_while_writing_leaves_the_old_file(tmp_path):
    """SIGKILL between the temporary file and the rename."""
    path = tmp_path / "config.json"
    path.write_text("old")
    done = run_python(
        """
        import os, signal, sys
        import vlarl.files
        vlarl.files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        vlarl.files.atomic_write_text(sys.argv[1], "new")
        """,
        path,
    )
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(leftovers(tmp_path)) == 1


def test_json_takes_what_results_hold(tmp_path):
    @dataclass
    class Point:
        x: np.float32
        y: tuple[int, ...]

    value = {"a": np.arange(3), "b": Point(np.float32(0.5), (1, 2)), "c": Path("p"), "d": {3, 1}, 4: None, "e": True}
    path = atomic_write_json(tmp_path / "x.json", value)
    assert read_json(path) == {
        "a": [0, 1, 2],
        "b": {"x": 0.5, "y": [1, 2]},
        "c": "p",
        "d": [1, 3],
        "4": None,
        "e": True,
    }
    with pytest.raises(TypeError, match="object"):
        to_json(object())


@given(st.floats())
def test_json_floats_are_exact_or_null(number):
    written = json.loads(json.dumps(to_json(number), allow_nan=False))
    assert written is None if not math.isfinite(number) else written == number


def test_read_json_says_where(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1,\n "b": }')
    with pytest.raises(UserError, match="line 2"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "y.json")


def test_a_lock_has_one_holder_and_dies_with_it(tmp_path):
    lock = tmp_path / "new" / "lock"
    script = """
        import os, sys, time
        from pathlib import Path
        from vlarl.files import sole_holder
        with sole_holder(Path(sys.argv[1])) as alone:
            if os.fork() == 0:  # a simulator of ours that outlives us holds nothing
                sys.stdin.read()
                os._exit(0)
            print(alone, flush=True)
            time.sleep(300)
    """
    words = [sys.executable, "-c", textwrap.dedent(script), str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        with sole_holder(lock) as alone:
            assert not alone
        holder.kill()
        assert holder.wait() == -signal.SIGKILL
        with sole_holder(lock) as alone:
            assert alone
    with sole_holder(lock) as alone:
        assert alone


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file/lock"), sole_holder(tmp_path / "file" / "lock"):
        pass
