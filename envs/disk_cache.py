"""What is slow to make and quick to read back is kept in ``$XDG_CACHE_HOME/vlarl`` (default ``~/.cache/vlarl``).

Files are named by a hash of everything that decides their content, the code included. Deleting the folder is safe.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Where everything that is kept lies, each kind in its own folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vlarl"


@functools.cache
def code_hash(folder: Path, modules: tuple[str, ...]) -> bytes:
    """A hash of the source of ``modules`` in ``folder``: other code makes other content."""
    return hashlib.sha256(b"".join((folder / f"{name}.py").read_bytes() for name in modules)).digest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write next to the file and rename: readers see all of it or nothing.

    Raises:
        OSError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
