"""Where a run's metrics go: ``metrics.jsonl`` always, TensorBoard where asked for.

One JSON object per line and iteration, with ``step`` first. The file is appended to and flushed, so that a killed
run loses at most the line being written; a torn last line is dropped when the file is read or continued. A
resumed run drops the lines after the checkpoint it continues from, so that no step is there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vlarl.errors import NameNotFoundError, UserError, unknown_name
from vlarl.files import atomic_write_text, json_text, writing

METRICS_FILE = "metrics.jsonl"


class Tracker(Protocol):
    """Takes the metrics of each iteration."""

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Record ``metrics`` (numbers, or small JSON values) of iteration ``step``."""
        ...

    def close(self) -> None:
        """Write out what is pending."""
        ...


class JsonlTracker:
    """Appends to a ``.jsonl`` file."""

    def __init__(self, path: str | Path, resume_step: int | None = None) -> None:
        """Open ``path`` for appending.

        Args:
            path: the file; made with its folder where missing.
            resume_step: last step to keep; None starts the file anew.

        Raises:
            DiskError: the file cannot be written.
        """
        self.path = Path(path)
        kept = []
        if resume_step is not None and self.path.exists():
            kept = [line for line in read_metrics(self.path) if line["step"] <= resume_step]
        atomic_write_text(self.path, "".join(json_text(line, indent=None) + "\n" for line in kept))
        with writing(self.path):
            self._stream = open(self.path, "a", encoding="utf-8")  # noqa: SIM115  (closed in close)

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Append one line and flush it."""
        with writing(self.path):
            self._stream.write(json_text({"step": step, **metrics}, indent=None) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class TensorBoardTracker:
    """Writes scalars as TensorBoard event files; needs the extra ``viz``."""

    def __init__(self, folder: str | Path, resume_step: int | None = None) -> None:
        """Open an event file in ``folder``; steps after ``resume_step`` are hidden by TensorBoard itself.

        Raises:
            MissingExtraError: tensorboard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            from vlarl.extras import missing_extra

            raise missing_extra("tensorboard", needed_by="the TensorBoard tracker") from error
        self._writer = SummaryWriter(str(folder), purge_step=None if resume_step is None else resume_step + 1)

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Write the numbers among ``metrics``; a mapping inside adds a level to the name."""
        for name, value in metrics.items():
            if isinstance(value, Mapping):
                self.log({f"{name}/{inner}": item for inner, item in value.items()}, step)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = list(trackers)

    def log(self, metrics: Mapping[str, Any], step: int) -> None:
        """Pass on to each, in order."""
        for tracker in self._trackers:
            tracker.log(metrics, step)

    def close(self) -> None:
        """Close each."""
        for tracker in self._trackers:
            tracker.close()


def make_tracker(run_folder: str | Path, names: Sequence[str] = (), resume_step: int | None = None) -> Tracker:
    """``metrics.jsonl`` in ``run_folder``, and what ``names`` ask for besides (``tensorboard``).

    Raises:
        NameNotFoundError: an unknown tracker.
    """
    folder = Path(run_folder)
    trackers: list[Tracker] = [JsonlTracker(folder / METRICS_FILE, resume_step)]
    for name in names:
        if name == "tensorboard":
            trackers.append(TensorBoardTracker(folder / "tensorboard", resume_step))
        elif name != "jsonl":
            raise NameNotFoundError(unknown_name("tracker", name, ["jsonl", "tensorboard"]))
    return Trackers(trackers)


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, without a torn last one.

    Raises:
        UserError: the file is missing, or a line other than the last is damaged (its number is named).
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    lines = content.split(b"\n")
    parsed = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
            if not isinstance(value, dict) or not isinstance(value.get("step"), int):
                raise ValueError("expected an object with an integer 'step'")
        except ValueError as error:
            if number == len(lines):  # no newline after it: the writer was stopped in the middle
                break
            raise UserError(f"{path}, line {number}: not a line of metrics ({error})") from error
        parsed.append(value)
    return parsed
