"""What a run folder holds, read leniently: what is missing or damaged is named, never invented."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlarl.errors import UserError
from vlarl.files import read_json
from vlarl.statistics import Estimate, difference
from vlarl.tracking import METRICS_FILE, read_metrics

CONFIG_FILE, IMITATION_FILE = "config.json", "imitation.json"
_EVALUATION = re.compile(r"eval_(?P<when>before|after|iteration_(?P<iteration>\d+))(?P<rest>(?:_[a-zA-Z0-9.]+)*)")


@dataclass(frozen=True, slots=True)
class Counted:
    """Successes of episodes that ended without an error, with the interval that the file gives."""

    successes: int
    episodes: int
    errors: int
    rate: Estimate

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Counted | None:
        """From an evaluation or one of its tasks; None where no episode could be scored."""
        episodes, rate, interval = int(value.get("episodes") or 0), value.get("success_rate"), value.get("ci95")
        if not episodes or rate is None or interval is None:
            return None
        successes = value.get("successes")
        return cls(
            # Older results hold the rate alone; it is a ratio of small integers, so rounding recovers the count.
            successes=round(rate * episodes) if successes is None else int(successes),
            episodes=episodes,
            errors=int(value.get("errors") or 0),
            rate=Estimate(float(rate), float(interval[0]), float(interval[1])),
        )

    def minus(self, before: Counted) -> Estimate:
        """Difference of the two rates with its interval."""
        return difference(self.successes, self.episodes, before.successes, before.episodes)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One ``eval_*.json``."""

    file: str
    when: str
    """``before``, ``after`` or ``iteration``."""
    iteration: int | None
    variant: str
    """What the file's name adds: "" for the headline, ``greedy``, ``reference``, ``greedy_reference``, ..."""
    train_seconds: float | None
    total: Counted | None
    errors: int
    protocol: dict[str, Any]
    raw: dict[str, Any]

    @property
    def decoding(self) -> str:
        """The decoding mode in words."""
        decoding = self.protocol.get("decoding")
        if isinstance(decoding, Mapping):
            mode, temperature = str(decoding.get("mode", "?")), decoding.get("temperature")
            return f"{mode}, temperature {temperature:g}" if mode == "sample" and temperature is not None else mode
        return str(decoding) if decoding is not None else "not recorded"

    @property
    def tasks(self) -> dict[tuple[str, int], Mapping[str, Any]]:
        """Rows of the result by (suite, task)."""
        return {(str(row.get("suite", "")), int(row.get("task", -1))): row for row in self.raw.get("tasks") or []}


@dataclass(slots=True)
class RunFolder:
    """Everything that was found."""

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    imitation: list[dict[str, Any]] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """One sentence per thing that the page cannot show."""

    def evaluation(self, when: str, variant: str = "") -> Evaluation | None:
        """The ``before`` or ``after`` evaluation of a variant."""
        return next((e for e in self.evaluations if (e.when, e.variant) == (when, variant)), None)

    def variants(self) -> list[str]:
        """The variants evaluated before or after, the headline first."""
        found = {e.variant for e in self.evaluations if e.when in ("before", "after")}
        return sorted(found, key=lambda name: (name != "", "reference" in name, name))


def read_run_folder(folder: str | Path) -> RunFolder:
    """Read what a run left.

    Raises:
        UserError: ``folder`` is not a run folder at all.
    """
    run = RunFolder(Path(folder))
    if not run.folder.is_dir():
        raise UserError(f"{run.folder} is not a folder. Runs are made with: vlarl train CONFIG --out {run.folder}")
    files = sorted(run.folder.glob("eval_*.json"))
    if not files and not any((run.folder / name).exists() for name in (CONFIG_FILE, METRICS_FILE)):
        inside = [entry.name for entry in sorted(run.folder.iterdir()) if (entry / CONFIG_FILE).is_file()]
        hint = f" Did you mean {run.folder / inside[0]}?" if inside else ""
        raise UserError(
            f"{run.folder} is not a run folder: there is no {CONFIG_FILE}, {METRICS_FILE} or eval_*.json in it.{hint}"
        )
    run.config = _json_or_nothing(run, run.folder / CONFIG_FILE, dict, "the configuration is not shown")
    for path in files:
        evaluation = _read_evaluation(run, path)
        if evaluation is not None:
            run.evaluations.append(evaluation)
    for when in ("before", "after"):
        if run.evaluation(when) is None:
            run.missing.append(f"eval_{when}.json is not there: no success rate {when} training can be given.")
    _read_metrics(run)
    _read_imitation(run)
    run.videos = sorted((run.folder / "videos").glob("*.mp4"), key=lambda path: ("success" not in path.stem, path.stem))
    if not run.videos:
        run.missing.append("videos/ holds no mp4: no episode can be shown.")
    return run


def _read_evaluation(run: RunFolder, path: Path) -> Evaluation | None:
    name = _EVALUATION.fullmatch(path.stem)
    if name is None:
        run.missing.append(f"{path.name} is not shown: its name is not eval_before, eval_after or eval_iteration_N.")
        return None
    raw = _json_or_nothing(run, path, dict, "it is left out")
    if not raw:
        return None
    iteration = raw.get("iteration", name["iteration"])
    return Evaluation(
        file=path.name,
        when=name["when"].split("_")[0],
        iteration=None if iteration is None else int(iteration),
        variant=name["rest"].removeprefix("_"),
        train_seconds=raw.get("train_seconds"),
        total=Counted.read(raw),
        errors=int(raw.get("errors") or 0),
        protocol=dict(raw.get("protocol") or {}),
        raw=raw,
    )


def _read_metrics(run: RunFolder) -> None:
    try:
        run.metrics = read_metrics(run.folder / METRICS_FILE)
    except UserError as error:
        run.missing.append(f"{error}: no learning curve and no time split.")
        return
    if not run.metrics:
        run.missing.append(f"{METRICS_FILE} holds no iteration yet: no learning curve and no time split.")


def _read_imitation(run: RunFolder) -> None:
    """The run's own file, or the one that its configuration names."""
    own, named = run.folder / IMITATION_FILE, run.config.get("imitation_reference")
    path = own if own.is_file() or not named else Path(str(named))
    if not path.is_file():
        run.missing.append(
            f"{path.name} is not there: what imitation with more demonstrations gives is not known here."
        )
        return
    rows = _json_or_nothing(run, path, list, "imitation with more demonstrations is not shown")
    run.imitation = [row for row in rows if isinstance(row, dict) and "demonstrations_per_task" in row]


def _json_or_nothing(run: RunFolder, path: Path, kind: type, consequence: str) -> Any:
    """The file's content, or an empty ``kind`` and a sentence in ``run.missing``."""
    try:
        value = read_json(path)
    except UserError as error:
        run.missing.append(f"{error}: {consequence}.")
        return kind()
    # A list may come in a result object with the usual head; its rows are then under "rows".
    if kind is list and isinstance(value, dict):
        value = value.get("rows")
    if not isinstance(value, kind):
        run.missing.append(f"{path.name} holds no {kind.__name__}: {consequence}.")
        return kind()
    return value
