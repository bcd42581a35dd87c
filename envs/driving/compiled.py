"""How every kernel of the driving world is compiled: cached on disk, without the interpreter lock.

numba does not see that a function of *another* file, which a cached kernel has inlined, was edited. So the compiled
kernels of a file are dropped whenever that file, or any file of this package that it imports, has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba import types

FOLDER = Path(__file__).parent
Function = TypeVar("Function", bound=Callable[..., Any])
IMPORT = re.compile(r"^\s*from (envs\.driving[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)


def source_digests(folder: Path) -> dict[str, str]:
    """Module -> digest of its text and of all modules of the package that it imports, directly or not.

    Modules are named by their place in ``folder``: ``world/traffic``.
    """
    texts = {path.relative_to(folder).with_suffix("").as_posix(): path.read_text() for path in folder.rglob("*.py")}

    def imported(name: str) -> list[str]:
        found = []
        for module, names in IMPORT.findall(texts[name]):
            place = "/".join(module.split(".")[2:])
            found += [place, *(f"{place}/{word}".lstrip("/") for word in re.findall(r"\w+", names))]
        return [other for other in found if other in texts]

    def needed(name: str, seen: set[str]) -> set[str]:
        seen.add(name)
        for other in imported(name):
            if other not in seen:
                needed(other, seen)
        return seen

    return {
        name: hashlib.sha256("\0".join(texts[part] for part in sorted(needed(name, set()))).encode()).hexdigest()
        for name in texts
    }


def drop_stale_cache(folder: Path) -> list[str]:
    """Delete the compiled kernels of every module in ``folder`` whose sources changed; returns those modules."""
    stamp = folder / "__pycache__" / "kernels.json"
    now = source_digests(folder)
    before = json.loads(stamp.read_text()) if stamp.is_file() else {}
    stale = [name for name, digest in now.items() if before.get(name) != digest]
    if not stale:
        return []
    try:
        stamp.parent.mkdir(exist_ok=True)
        for name in stale:
            module = folder / name
            for path in (module.parent / "__pycache__").glob(f"{module.name}.*.nb[ic]"):
                path.unlink(missing_ok=True)
        fresh = stamp.with_name(f"kernels.{os.getpid()}.json")
        fresh.write_text(json.dumps(now))
        fresh.replace(stamp)  # whole at any moment: other processes may be starting too
    except OSError:  # a read-only installation: its files do not change, and numba caches in the user's folder
        return []
    return stale


drop_stale_cache(FOLDER)


def kernel(function: Function) -> Function:
    """Decorator of every kernel. Divisions by zero give infinities as in numpy; results are IEEE-exact (no fast-math).

    A kernel is compiled once for all integers that other kernels call it with: numba would make a version of its own
    for every constant, 28 of the one that fills a polygon.
    """
    compiled = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    by_types = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: by_types(
        [types.unliteral(kind) for kind in args], {name: types.unliteral(kind) for name, kind in kws.items()}
    )
    return compiled
