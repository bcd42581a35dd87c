"""From a name to an object, and from a package to the list of names, without a registry.

A name may be

* ``"package.module:Attribute"`` (nested: ``:Outer.Inner``),
* ``"path/to/file.py:Attribute"`` (a file anywhere on disk),
* the bare name of a module in one of our packages (``"grpo"`` is ``vlarl/objectives/grpo.py``), or
* an entry point of the group ``vlarl.<kind>`` that another distribution declares.

Adding a policy, reward, objective, environment or experiment is therefore adding one file. Listing reads
file names and the first docstring line through ``ast``: nothing is imported.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from vlarl.errors import NameNotFoundError, nearest, unknown_name
from vlarl.extras import EXTRAS, missing_extra
from vlarl.file_modules import load_file

PACKAGES = {
    "policies": "vlarl.policies",
    "rewards": "vlarl.rewards",
    "objectives": "vlarl.objectives",
    "envs": "envs",
    "configs": "configs",
}
"""Kind -> the package whose modules are its names."""

TRUSTED_PACKAGES = ("vlarl", "envs", "configs")
"""Packages whose classes a file on disk (a configuration, a checkpoint) may name."""

MARKERS = {"policies": "act", "rewards": "score", "objectives": "prepare", "envs": "step_chunk", "configs": "config"}
"""Kind -> the function or method that makes a module one of that kind (helpers beside it are not listed)."""

PRESETS = {"objectives": "vlarl.objectives.presets"}
"""Kind -> a package whose public functions are further names of that kind."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One thing that can be named."""

    name: str
    summary: str
    """First line of its docstring."""
    source: str
    """File, or ``distribution entry point`` for a plug-in."""


def list_names(kind: str) -> list[Listed]:
    """Everything of ``kind`` (a key of ``PACKAGES``), sorted by name, importing nothing.

    Raises:
        NameNotFoundError: there is no such kind.
    """
    if kind not in PACKAGES:
        raise NameNotFoundError(unknown_name("kind", kind, PACKAGES))
    found = {item.name: item for item in _plugins(kind)}
    modules = [item for item in list_modules(PACKAGES[kind]) if _defines(item.source, MARKERS[kind])]
    found.update({item.name: item for item in [*modules, *list_presets(kind)]})
    return [found[name] for name in sorted(found)]


def list_presets(kind: str) -> list[Listed]:
    """Public functions of the modules in ``PRESETS[kind]``: name, first docstring line and file."""
    found = []
    for module in list_modules(PRESETS[kind]) if kind in PRESETS else ():
        for node in ast.parse(Path(module.source).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                summary = (ast.get_docstring(node) or "").strip().split("\n", 1)[0]
                found.append(Listed(node.name, summary, module.source))
    return found


def resolve_preset(name: str, kind: str) -> Any:
    """What a preset's function gives; ``package.module:function`` and ``path.py:function`` work too.

    Raises:
        NameNotFoundError: no preset of that name (the nearest one is named).
    """
    presets = {item.name: item for item in list_presets(kind)}
    simple = name.replace("-", "_")
    if simple in presets:
        return get_attribute(import_module(f"{PRESETS[kind]}.{Path(presets[simple].source).stem}"), simple)()
    if ":" not in name:
        raise NameNotFoundError(unknown_name(f"{kind.rstrip('s')} preset", name, presets, _HINT))
    found = resolve(name, kind)
    return found() if callable(found) else found


def list_modules(package: str) -> list[Listed]:
    """The public modules of ``package`` with their first docstring lines, importing neither it nor them."""
    found = {}
    for folder in _package_folders(package):
        for path in sorted(folder.iterdir()):
            is_module = path.suffix == ".py" and path.stem != "__init__"
            is_package = (path / "__init__.py").is_file()
            if path.name.startswith(("_", ".")) or not (is_module or is_package):
                continue
            file = path / "__init__.py" if is_package else path
            found[path.stem] = Listed(path.stem, docstring_summary(file), str(file))
    return [found[name] for name in sorted(found)]


def docstring_summary(path: str | Path) -> str:
    """First line of a Python file's module docstring; "" if it has none or cannot be parsed."""
    try:
        docstring = ast.get_docstring(ast.parse(Path(path).read_text(encoding="utf-8"))) or ""
    except (OSError, SyntaxError, ValueError):
        return ""
    return docstring.strip().split("\n", 1)[0]


def _defines(source: str, name: str) -> bool:
    """Whether a module (or, for a package, one of its files) defines a function or method called ``name``."""
    file = Path(source)
    for path in sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        if any(isinstance(node, ast.FunctionDef) and node.name == name for node in ast.walk(tree)):
            return True
    return False


def resolve(name: str, kind: str, attribute: str | None = None) -> Any:
    """The object that ``name`` stands for.

    Args:
        name: see the module's docstring.
        kind: a key of ``PACKAGES``: where bare names are looked up.
        attribute: what to take from the module where ``name`` holds no ``:``; None returns the module.

    Raises:
        NameNotFoundError: no module, file, attribute or entry point of that name (the nearest one is named).
        MissingExtraError: the module needs an optional dependency that is not installed.
    """
    if kind not in PACKAGES:
        raise NameNotFoundError(unknown_name("kind", kind, PACKAGES))
    target, _, inner = name.partition(":")
    if is_path(target):
        module = load_file(target)
    elif "." in target:
        module = import_module(target)
    elif target in {item.name for item in list_modules(PACKAGES[kind])}:
        module = import_module(f"{PACKAGES[kind]}.{target}")
    else:
        for point in metadata.entry_points(group=f"vlarl.{kind}"):
            if point.name == target:
                loaded = point.load()
                return get_attribute(loaded, inner or attribute) if isinstance(loaded, ModuleType) else loaded
        names = [item.name for item in list_names(kind)]
        raise NameNotFoundError(
            unknown_name(kind.rstrip("s") if kind != "policies" else "policy", target, names, _HINT)
        )
    return get_attribute(module, inner or attribute)


_HINT = "'package.module:Attribute' and 'path/to/file.py:Attribute' work too."


def is_path(text: str) -> bool:
    """Whether a name is meant as a file: it ends in .py or holds a path separator."""
    return text.endswith(".py") or "/" in text


def get_attribute(module: Any, dotted: str | None) -> Any:
    """``module.Outer.Inner`` for ``"Outer.Inner"``; ``module`` itself for None.

    Raises:
        NameNotFoundError: an attribute is missing; the public ones are listed.
    """
    found = module
    for part in dotted.split(".") if dotted else ():
        if not hasattr(found, part):
            where = getattr(found, "__file__", None) or getattr(found, "__name__", repr(found))
            raise NameNotFoundError(unknown_name(f"attribute of {where}:", part, public_names(found)))
        found = getattr(found, part)
    return found


def public_names(module: Any) -> list[str]:
    """What ``module`` itself defines (not what it imports), without a leading underscore."""
    name = getattr(module, "__name__", None)
    return [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not inspect.ismodule(value) and getattr(value, "__module__", name) == name
    ]


def import_module(name: str) -> ModuleType:
    """Import ``name``; what is missing is named, with the command that installs it or the nearest module.

    Raises:
        MissingExtraError: an optional dependency is missing.
        NameNotFoundError: there is no such module.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        top = missing.partition(".")[0]
        if top in EXTRAS and not name.startswith(missing):
            raise missing_extra(missing, needed_by=name) from error
        if not (name == missing or name.startswith(missing + ".")):
            raise  # a module of theirs has a broken import: its traceback says most
        parent, _, last = missing.rpartition(".")
        names = [item.name for item in list_modules(parent)] if parent else []
        guess = nearest(last, names)
        tail = f" Did you mean '{parent}.{guess}'?" if guess else ""
        raise NameNotFoundError(
            f"no module named {missing!r} (looked for {name!r}).{tail} "
            f"A file is named by its path: 'path/to/{last}.py:Attribute'."
        ) from error


def find_config_class(module: ModuleType, method: str) -> type[Any]:
    """The one public dataclass of a module that has ``method``, whatever it is called (``LiberoConfig``, ...).

    Raises:
        NameNotFoundError: there is none, or more than one.
    """
    found = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and not name.startswith("_")
        and hasattr(value, "__dataclass_fields__")
        and hasattr(value, method)
        and value.__module__.startswith(module.__name__)
    ]
    if len(found) != 1:
        what = ", ".join(cls.__name__ for cls in found) or "none"
        where = module.__file__ or module.__name__
        raise NameNotFoundError(f"{where} should define one dataclass with {method}(); found {what}")
    return found[0]


def trusted_packages() -> tuple[str, ...]:
    """Packages whose classes a file on disk may name: ours, and those of plug-ins installed when it is first asked."""
    return (*TRUSTED_PACKAGES, *sorted(_plugin_packages() - set(TRUSTED_PACKAGES)))


@cache
def _plugin_packages() -> frozenset[str]:
    """Looked for once: it reads a file of every installed package, and a config file names dozens of classes."""
    points = [point for kind in PACKAGES for point in metadata.entry_points(group=f"vlarl.{kind}")]
    return frozenset(point.value.partition(":")[0].partition(".")[0] for point in points)


def _plugins(kind: str) -> list[Listed]:
    return [
        Listed(point.name, f"plug-in {point.value}", f"{point.dist.name if point.dist else '?'} entry point")
        for point in metadata.entry_points(group=f"vlarl.{kind}")
    ]


def _package_folders(package: str) -> list[Path]:
    """Where a package lies, found without importing it (its parents' search paths are walked)."""
    folders = [Path(entry or ".") for entry in sys.path]
    for part in package.split("."):
        folders = [folder / part for folder in folders if (folder / part).is_dir()][:1]
    if folders:
        return folders
    # An editable install may map names to folders without putting them on sys.path.
    top, _, rest = package.partition(".")
    spec = importlib.util.find_spec(top)  # a top-level name: finds, does not import
    locations = list(spec.submodule_search_locations or ()) if spec else []
    found = [Path(location).joinpath(*rest.split(".")) if rest else Path(location) for location in locations]
    return [folder for folder in found if folder.is_dir()]
