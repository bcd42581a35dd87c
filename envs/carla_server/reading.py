"""Arguments of calls: checked before anything is changed."""

from __future__ import annotations

import math
from typing import Any

from envs.carla_server.limits import CallError
from envs.carla_server.wire import Pose

FURTHEST = 1e6
"""No place is further from the origin, metres."""


def number(value: Any, what: str = "number") -> float:
    """A finite number.

    Raises:
        CallError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CallError(f"{what} is {value!r}; a finite number is needed")
    return float(value)


def numbers(value: Any, count: int, what: str) -> list[float]:
    """So many finite numbers.

    Raises:
        CallError: anything else.
    """
    if not isinstance(value, list) or len(value) != count:
        raise CallError(f"{what} is {value!r}; an array of {count} numbers is needed")
    return [number(item, what) for item in value]


def whole(value: Any, what: str = "id") -> int:
    """A whole number that is not negative.

    Raises:
        CallError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CallError(f"{what} is {value!r}; a whole number is needed")
    return value


def vector(value: Any, what: str = "vector") -> tuple[float, float, float]:
    """x, y and z.

    Raises:
        CallError: not three finite numbers.
    """
    x, y, z = numbers(value, 3, what)
    return x, y, z


def place(value: Any, what: str = "location") -> tuple[float, float, float]:
    """x, y and z of somewhere.

    Raises:
        CallError: not three numbers, or further away than any map reaches.
    """
    found = vector(value, what)
    if max(map(abs, found)) > FURTHEST:
        raise CallError(f"{what} is {value!r}; at most {FURTHEST:g} m from the origin")
    return found


def transform(value: Any) -> Pose:
    """A transform.

    Raises:
        CallError: anything else.
    """
    if not isinstance(value, list) or len(value) != 2:
        raise CallError(f"transform is {value!r}; location and rotation are needed")
    return Pose(*place(value[0]), *vector(value[1], "rotation"))


def text(value: Any, what: str = "name") -> str:
    """A text.

    Raises:
        CallError: anything else.
    """
    if not isinstance(value, str):
        raise CallError(f"{what} is {value!r}; a text is needed")
    return value
