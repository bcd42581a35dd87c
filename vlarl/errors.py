"""Errors that are the user's to fix: the command line prints them without a traceback and exits with 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What was found, what was allowed, and what to do; ``str(error)`` is the whole message."""


class NameNotFoundError(UserError):
    """A name that resolves to nothing; the message holds the nearest name and the list."""


class MissingExtraError(UserError):
    """An optional dependency is not installed; the message holds the command that installs it."""


class ConfigError(UserError):
    """A configuration that cannot be used: unknown key, wrong type, value out of range."""


class CheckpointError(UserError):
    """A checkpoint that lacks a file, is damaged, or holds something else than was asked for."""


class NotFiniteError(UserError, FloatingPointError):
    """A reward, log-probability or loss that is NaN or infinite; the message names trajectory, term and step."""


class DiskError(UserError, OSError):
    """Nothing could be written: read-only folder, full disk, missing permission."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The most similar of ``choices``, or None if nothing is similar (case and ``-``/``_`` do not count)."""

    def simplify(text: str) -> str:
        return text.lower().replace("-", "_")

    by_simple_name = {simplify(choice): choice for choice in choices}
    found = difflib.get_close_matches(simplify(name), by_simple_name, n=1, cutoff=0.5)
    return by_simple_name[found[0]] if found else None


def unknown_name(kind: str, name: str, choices: Iterable[str], hint: str = "") -> str:
    """One message for every misspelt name: what was found, the nearest name, the list, what else is possible.

    Example::

        >>> print(unknown_name("suite", "libero_objct", ["libero_object", "libero_goal"]))
        unknown suite 'libero_objct'. Did you mean 'libero_object'? There are: libero_goal, libero_object.
    """
    names = sorted(choices)
    guess = nearest(name, names)
    parts = [f"unknown {kind} {name!r}."]
    if guess is not None:
        parts.append(f"Did you mean {guess!r}?")
    parts.append(f"There are: {', '.join(names)}." if names else "There are none.")
    if hint:
        parts.append(hint)
    return " ".join(parts)
