"""Writing files so that a crash, a full disk or a kill leaves either the old file or the new one, never half of one.

Everything vlarl writes for later reading (checkpoints, results, reports, configs) goes through here: the bytes
go to a temporary file in the same folder, are flushed to the disk, and the file is renamed into place.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlarl.errors import DiskError, UserError

TEMPORARY_PREFIX = ".tmp-"
"""Files and folders with this prefix are unfinished and may be deleted at any time."""

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "your disk quota is used up: free some space",
    errno.EFBIG: "the file would be larger than the allowed size: see 'ulimit -f'",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "permission denied: choose another folder, or make this one writable ('chmod u+w')",
    errno.EPERM: "permission denied: choose another folder, or make this one writable ('chmod u+w')",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder",
    errno.EEXIST: "a part of the path is a file, not a folder: choose another folder",
    errno.EISDIR: "there is a folder of that name: choose another name",
}


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an ``OSError`` inside into a ``DiskError`` that names ``path``, the reason and what to do."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise DiskError(f"cannot write {path}: {reason}. What was there before is untouched.") from error


def atomic_write_bytes(path: str | Path, content: bytes) -> Path:
    """Write ``content`` to ``path``, making its folder where missing.

    Raises:
        DiskError: the folder is read-only, the disk is full, ...; a file that was there stays as it was.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                # mkstemp makes files for the owner alone; give the mode an ordinary open() would have given.
                os.fchmod(stream.fileno(), _mode_for(path))
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        fsync_folder(path.parent)
    return path


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Write ``text`` as UTF-8; see ``atomic_write_bytes``."""
    return atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON with a final newline; see ``atomic_write_bytes``.

    NaN and infinity are written as ``null``: they are not JSON, and other programs refuse them.
    """
    return atomic_write_text(path, json_text(value) + "\n")


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """``value`` as JSON text; numpy scalars and arrays, paths, sets and dataclasses are converted."""
    return json.dumps(to_json(value), indent=indent, ensure_ascii=False, allow_nan=False)


def to_json(value: Any) -> Any:
    """``value`` as plain dicts, lists, strings, numbers, booleans and None."""
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(to_json(item) for item in value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars, torch tensors; none of them is imported here
        return to_json(value.tolist())
    if hasattr(value, "__dataclass_fields__"):
        return {name: to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file.

    Raises:
        UserError: the file does not exist or is not JSON (line and column are named).
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


@contextlib.contextmanager
def sole_holder(lock: Path) -> Iterator[bool]:
    """Whether no other process holds ``lock``, a file that is made where missing, until the end of the block.

    The system takes the lock back from a process that dies, however it dies; processes that it forked do not have it.
    On file systems without locks nobody is kept out.

    Raises:
        DiskError: the file cannot be made.
    """
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        alone = True
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            alone = error.errno not in (errno.EAGAIN, errno.EACCES)
        yield alone
    finally:
        os.close(handle)


@contextlib.contextmanager
def training_alone(folder: Path) -> Iterator[None]:
    """Keep every other training out of a run folder, by a lock in its empty file ``.lock``.

    Raises:
        UserError: another process trains there.
    """
    with sole_holder(folder / ".lock") as alone:
        if not alone:
            raise UserError(f"another process trains in {folder}: wait until it ends, or stop it with Ctrl-C")
        yield


def fsync_folder(folder: str | Path) -> None:
    """Make renames and new names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot, and need not
            raise
    finally:
        os.close(handle)


def fsync_tree(folder: str | Path) -> None:
    """Flush every file and folder below ``folder``, then ``folder`` itself."""
    for root, _, names in os.walk(folder, topdown=False):
        for name in names:
            handle = os.open(os.path.join(root, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        fsync_folder(root)


def _mode_for(path: Path) -> int:
    """Permission bits of the file being replaced, or what ``open`` would give a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
