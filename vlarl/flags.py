"""Command-line flags over an existing configuration object.

A configuration file picks classes; flags tune their fields. A field may be typed as a protocol (an environment,
a reward): flags must then follow the object that is there, not the annotation. ``narrow`` makes classes whose
annotations are as narrow as the objects, tyro reads the flags into those, and ``widen`` turns the result back
into the original classes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """For commands without flags of their own."""


def apply_flags(
    config: T, arguments: Sequence[str], *, command: str, description: str = "", options: Any = NoOptions()
) -> tuple[T, Any]:
    """``config`` with the fields that ``arguments`` name replaced, for example ``--env.horizon 100``.

    A wrong flag or value prints the nearest flag and exits with status 2 (``SystemExit``), ``--help`` lists all.

    Args:
        config: a dataclass object whose fields are the flags.
        arguments: words of the command line, after the command and what it took for itself.
        command: shown in the usage line.
        description: shown by ``--help``.
        options: another dataclass object, for the flags of the command itself.

    Returns:
        The changed configuration and the changed options.
    """
    import tyro

    narrowed = narrow(config)
    both = dataclasses.make_dataclass(
        "Flags",
        [
            (name, _without_prefix(type(value)), dataclasses.field(default=value))
            for name, value in (("options", options), ("config", narrowed))
        ],
        frozen=True,
    )
    read = tyro.cli(both, prog=f"vlarl {command}", args=split_lists(arguments), description=description)
    return widen(read.config), read.options


def _without_prefix(kind: Any) -> Any:
    """The fields of ``kind`` become ``--field``, not ``--config.field``."""
    import tyro

    return Annotated[kind, tyro.conf.arg(name="")]


def split_lists(arguments: Sequence[str]) -> list[str]:
    """``--tasks 0,8`` as ``--tasks 0 8``: lists of whole numbers may be written with commas, and with ranges for tasks.

    ``--tasks 0-2,8`` is ``--tasks 0 1 2 8``; of other flags a range may be a word (``vlarl demos --init-states 0-9``).
    """
    words, flag = [], ""
    for word in arguments:
        flag = word if word.startswith("--") else flag
        if flag.endswith("tasks") and re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", word):
            for part in word.split(","):
                first, _, last = part.partition("-")
                words += [str(number) for number in range(int(first), int(last or first) + 1)] or [part]
        else:
            words += word.split(",") if re.fullmatch(r"\d+(,\d+)+", word) else [word]
    return words


def narrow(value: Any) -> Any:
    """``value`` as an instance of a subclass that annotates every field with the class of what it holds."""
    if isinstance(value, tuple):
        return tuple(narrow(item) for item in value)
    if not is_dataclass_instance(value):
        return value
    cls = type(value)
    fields, values = [], {}
    for field in dataclasses.fields(value):
        if not field.init:
            continue
        inner = values[field.name] = narrow(getattr(value, field.name))
        if is_dataclass_instance(inner):
            fields.append((field.name, type(inner), dataclasses.field(default=inner)))
        elif isinstance(inner, tuple) and inner and all(is_dataclass_instance(item) for item in inner):
            annotation = tuple[tuple(type(item) for item in inner)]  # type: ignore[misc]
            fields.append((field.name, annotation, dataclasses.field(default=inner)))
    parameters = cls.__dataclass_params__
    subclass = dataclasses.make_dataclass(
        cls.__name__,
        fields,
        bases=(cls,),
        namespace={
            "__doc__": (cls.__doc__ or "").strip().split("\n", 1)[0],
            "__module__": cls.__module__,
            "_widened": cls,
        },
        frozen=parameters.frozen,
        kw_only=True,
    )
    return subclass(**values)


def widen(value: Any) -> Any:
    """The inverse of ``narrow``: instances of the original classes."""
    if isinstance(value, tuple):
        return tuple(widen(item) for item in value)
    cls = getattr(type(value), "_widened", None)
    if cls is None:
        return value
    return cls(**{field.name: widen(getattr(value, field.name)) for field in dataclasses.fields(cls) if field.init})


def changed_fields(before: Any, after: Any, prefix: str = "") -> list[str]:
    """Dotted names of the fields in which two configurations differ."""
    if is_dataclass_instance(before) and type(before) is type(after):
        return [
            name
            for field in dataclasses.fields(before)
            for name in changed_fields(
                getattr(before, field.name), getattr(after, field.name), f"{prefix}{field.name}."
            )
        ]
    return [] if before == after else [prefix.rstrip(".")]


def is_dataclass_instance(value: Any) -> bool:
    """Whether ``value`` is an object of a dataclass (not the class itself)."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)
