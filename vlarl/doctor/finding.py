"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """``PROBLEM``: the quickstart cannot run; ``WARNING``: it can, but worse than it should."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was found, and the one command that fixes it."""

    topic: str
    status: Status
    found: str
    fix: str = ""
    """A command, or "" where nothing has to be done."""

    def __post_init__(self) -> None:
        if self.status is Status.PROBLEM and not self.fix:
            raise ValueError(f"the problem {self.topic!r} needs a fix")


def ok(topic: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(topic, Status.OK, found)


def warning(topic: str, found: str, fix: str = "") -> Finding:
    """Works, but could be better."""
    return Finding(topic, Status.WARNING, found, fix)


def problem(topic: str, found: str, fix: str) -> Finding:
    """Does not work."""
    return Finding(topic, Status.PROBLEM, found, fix)
