"""Configurations as JSON and back: what ``config.json`` in a run folder holds.

Every dataclass becomes an object with a ``class`` field, ``"package.module:Class"``, so that a field typed as a
protocol (an environment, a reward) comes back as what it was. Since reading that field imports code, only
classes of our own packages, of installed plug-ins and of files named by path with ``trusted_files`` are followed.
Unknown keys and wrong types are refused with the place and the nearest name.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cattrs import Converter, transform_error
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn
from cattrs.strategies import configure_union_passthrough

from vlarl.errors import ConfigError, UserError, nearest, unknown_name
from vlarl.file_modules import file_of_module, load_file
from vlarl.files import atomic_write_json, read_json
from vlarl.resolve import get_attribute, import_module, trusted_packages

CLASS_FIELD = "class"


def save_config(path: str | Path, config: Any) -> Path:
    """Write a configuration (any nesting of dataclasses) as JSON."""
    return atomic_write_json(path, to_plain(config))


def load_config(path: str | Path, expected: type[Any] | None = None, trusted_files: Iterable[str | Path] = ()) -> Any:
    """Read what ``save_config`` wrote.

    Args:
        path: the JSON file.
        expected: class that it must hold; None takes any.
        trusted_files: Python files outside our packages whose classes may be used.

    Raises:
        ConfigError: unknown key, wrong type, class that may not be used: where, and the nearest name.
        UserError: no such file, or no JSON.
    """
    try:
        return from_plain(read_json(path), expected, trusted_files)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def to_plain(config: Any) -> Any:
    """A configuration as dicts, lists and JSON values, every dataclass tagged with its class."""
    return _converter(()).unstructure(config)


def from_plain(value: Any, expected: type[Any] | None = None, trusted_files: Iterable[str | Path] = ()) -> Any:
    """The inverse of ``to_plain``.

    Raises:
        ConfigError: see ``load_config``.
    """
    trusted = tuple(str(Path(file).expanduser().resolve()) for file in trusted_files)
    target = expected if expected is not None else _Anything
    try:
        return _converter(trusted).structure(value, target)
    except UserError:
        raise
    except Exception as error:
        lines = transform_error(error, path="config", format_exception=_describe)
        raise ConfigError("; ".join(lines)) from error


def class_tag(cls: type[Any]) -> str:
    """``"package.module:Class"``, or ``"path/to/file.py:Class"`` for a class from a file loaded by path."""
    return f"{file_of_module(cls.__module__) or cls.__module__}:{cls.__qualname__}"


def resolve_class(tag: Any, trusted_files: tuple[str, ...] = ()) -> type[Any]:
    """The dataclass behind a tag, if it may be used.

    Raises:
        ConfigError: not a tag, not a trusted module, or not a dataclass.
    """
    if not isinstance(tag, str) or ":" not in tag:
        raise ConfigError(f"field {CLASS_FIELD!r} is {tag!r}, expected 'package.module:Class'")
    module_name, _, attribute = tag.rpartition(":")
    if module_name.endswith(".py"):
        if str(Path(module_name).expanduser().resolve()) not in trusted_files:
            raise ConfigError(
                f"class {tag!r} lies in a file that was not named on the command line, so it is not run. "
                "Name your experiment's file too: vlarl train path/to/experiment.py --resume FOLDER"
            )
        found = get_attribute(load_file(module_name), attribute)
    else:
        top = module_name.partition(".")[0]
        trusted = trusted_packages()
        if top not in trusted:
            raise ConfigError(f"class {tag!r}: package {top!r} is not one of {', '.join(trusted)}; it is not imported")
        found = get_attribute(import_module(module_name), attribute)
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ConfigError(f"class {tag!r} is not a dataclass")
    return found


class _Anything:
    """Stands for "whatever the tag says"."""


@functools.cache
def _converter(trusted_files: tuple[str, ...]) -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, hook in ((bool, _strict_bool), (int, _strict_int), (float, _strict_float), (str, _strict_str)):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(Path, lambda value, _: Path(_strict_str(value, str)))
    converter.register_unstructure_hook(float, lambda value: value if math.isfinite(value) else repr(value))
    configure_union_passthrough(bool | int | float | str | None, converter)

    def structure(value: Any, annotated: type[Any]) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected an object, found {value!r}")
        if CLASS_FIELD in value:
            cls = resolve_class(value[CLASS_FIELD], trusted_files)
        elif dataclasses.is_dataclass(annotated):
            cls = annotated
        else:
            raise TypeError(f"field {CLASS_FIELD!r} is missing: expected 'package.module:Class'")
        if dataclasses.is_dataclass(annotated) and not issubclass(cls, annotated):
            raise TypeError(f"found a {class_tag(cls)}, expected a {class_tag(annotated)}")
        fields = {key: item for key, item in value.items() if key != CLASS_FIELD}
        return structure_function(cls)(fields, cls)

    @functools.cache
    def structure_function(cls: type[Any]) -> Any:
        return make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)

    def unstructure(value: Any) -> dict[str, Any]:
        fields = {f.name: converter.unstructure(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {CLASS_FIELD: class_tag(type(value)), **fields}

    def is_ours(kind: Any) -> bool:
        return kind is _Anything or (
            isinstance(kind, type) and (dataclasses.is_dataclass(kind) or getattr(kind, "_is_protocol", False))
        )

    converter.register_structure_hook_func(is_ours, structure)
    converter.register_unstructure_hook_func(is_ours, lambda value: _unstructure_any(value, unstructure, converter))
    return converter


def _unstructure_any(value: Any, unstructure: Any, converter: Converter) -> Any:
    # A field typed as a protocol reaches us with that type; what counts is what the value is.
    return unstructure(value) if dataclasses.is_dataclass(value) else converter.unstructure(value)


def _strict_bool(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"expected true or false, found {value!r}")


def _strict_int(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"expected a whole number, found {value!r}")


def _strict_float(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if value in ("inf", "-inf", "nan"):
        return float(value)
    raise TypeError(f"expected a number, found {value!r}")


def _strict_str(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(f"expected text, found {value!r}")


def _describe(error: BaseException, kind: type[Any] | None) -> str:
    """One line for one thing that is wrong; cattrs adds where."""
    if isinstance(error, ForbiddenExtraKeysError):
        names = [f.name for f in dataclasses.fields(error.cl)]
        return " ".join(unknown_name("field", key, names) for key in sorted(error.extra_fields))
    if isinstance(error, KeyError):
        return f"field {error.args[0]!r} is missing"
    found = re.match(r"(.*?)(?: \(<class .*\))? not (?:in literal|part of) ", str(error))
    if found is None:
        return str(error)
    allowed = [str(item) for item in _allowed(kind)]
    guess = nearest(found[1], allowed)
    return f"expected {' or '.join(allowed)}, found {found[1]}" + (f"; did you mean {guess}?" if guess else "")


def _allowed(kind: Any) -> list[str]:
    """What a literal or a union takes, as text."""
    if typing.get_origin(kind) is typing.Literal:
        return [str(item) for item in typing.get_args(kind)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [text for part in typing.get_args(kind) for text in _allowed(part)]
    return [getattr(kind, "__name__", str(kind))]
