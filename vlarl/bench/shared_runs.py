"""Runs of a comparison, each a file: those that are missing are played, by every process that was given the folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlarl.errors import UserError
from vlarl.files import atomic_write_json, read_json, sole_holder

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Run:
    """One run: its file, and how to get what belongs in it."""

    file: Path
    play: Callable[[], Mapping[str, Any]]
    settings: Mapping[str, float | int | str]
    """What the file's name does not say: kept in the file, and compared with it later."""
    needs: Path | None = None
    """File of a run that has to be there first."""


def play_missing(runs: Sequence[Run], poll: float = POLL_SECONDS) -> list[dict[str, Any]]:
    """Play what has no file yet, in order, leaving out what another process is at; then wait for that.

    Start the same command twice and the two share the work. A process that was killed leaves nothing behind that stops
    another from playing its run.

    Args:
        runs: of the comparison.
        poll: seconds between looks at what others have finished.

    Returns:
        What the files hold, in the order of ``runs``.

    Raises:
        UserError: a file holds a run with other settings.
    """
    for run in runs:
        if run.file.is_file():
            read(run)
    told = False
    while missing := [run for run in runs if not run.file.is_file()]:
        played = [_play(run) for run in missing if run.needs is None or run.needs.is_file()]
        if not any(played):
            if not told:
                print(f"{len(missing)} runs are left to another process, {missing[0].file.stem} first", flush=True)
            told = True
            time.sleep(poll)
    return [read(run) for run in runs]


def read(run: Run) -> dict[str, Any]:
    """What a finished run's file holds.

    Raises:
        UserError: it was made with other settings.
    """
    found = read_json(run.file)
    settings = found.get("settings", {})
    other = [name for name, value in run.settings.items() if settings.get(name) != value]
    if other:
        raise UserError(
            f"{run.file} was made with {other[0]} {settings.get(other[0])}, this is with {run.settings[other[0]]}: "
            "name another --out"
        )
    return found


def _play(run: Run) -> bool:
    """Whether it was ours to play."""
    claim = run.file.with_name(f"{run.file.name}.running")
    with sole_holder(claim) as ours:
        if not ours or run.file.is_file():
            return False
        print(f"running {run.file.stem}", flush=True)
        try:
            atomic_write_json(run.file, {"settings": dict(run.settings), **run.play()})
        finally:
            claim.unlink(missing_ok=True)
    return True
