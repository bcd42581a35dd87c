"""Modules from Python files anywhere on disk, importable by every process of a run.

A user's environment, policy or experiment may live outside the tree. Its file is imported under a name that holds its
path, so that objects of its classes can be pickled: unpickling in a worker process (which imports this module, and
with it the finder) imports the same file.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from vlarl.errors import NameNotFoundError, nearest
from vlarl.extras import EXTRAS, missing_extra

FILE_MODULE_PREFIX = "vlarl_file_"
"""Modules loaded by path are called this plus their path in hexadecimal."""


def load_file(path: str | Path) -> ModuleType:
    """Import a Python file by its path, once per file.

    Raises:
        NameNotFoundError: no such file.
        MissingExtraError: it needs an optional dependency that is not installed.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        siblings = [p.name for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        guess = nearest(file.name, siblings)
        tail = f" Did you mean {file.parent / guess}?" if guess else ""
        raise NameNotFoundError(f"no file {file}.{tail}")
    try:
        return importlib.import_module(FILE_MODULE_PREFIX + str(file).encode().hex())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in EXTRAS:
            raise missing_extra(error.name or "", needed_by=str(file)) from error
        raise


def file_of_module(name: str) -> str | None:
    """The path behind the name of a module made by ``load_file``; None for any other module."""
    if not name.startswith(FILE_MODULE_PREFIX):
        return None
    try:
        return bytes.fromhex(name.removeprefix(FILE_MODULE_PREFIX)).decode()
    except ValueError:
        return None


def loaded_files() -> list[str]:
    """Every file that ``load_file`` has imported in this process."""
    return [file for name in list(sys.modules) if (file := file_of_module(name)) is not None]


class FileFinder(importlib.abc.MetaPathFinder):
    """Lets ``import`` find modules named by ``load_file``, in this process and in any that imports this module."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The file that the name stands for."""
        file = file_of_module(fullname)
        return importlib.util.spec_from_file_location(fullname, file) if file and Path(file).is_file() else None


if not any(isinstance(finder, FileFinder) for finder in sys.meta_path):
    sys.meta_path.append(FileFinder())
