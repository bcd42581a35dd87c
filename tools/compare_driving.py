"""Compare driving runs: a table of their evaluations over seeds, and a picture of their learning curves.

Example::

    .venv/bin/python tools/compare_driving.py docs/images/rewards.png runs/language_* runs/additive_*

Runs of the same experiment (``name`` in ``config.json``; where runs differ in the size of mini-batches, that too) are
its seeds: the table has the mean of theirs with Student's 95 % interval, in Markdown. Control steps are the fewest and
the most that a run learned from: unless those of two experiments are alike, their rows are no comparison. An evaluation
that ``vlarl eval --json`` wrote into each run's folder as ``eval_after_drive_town02.json`` is another row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure

from vlarl.cli import plain_description
from vlarl.errors import UserError
from vlarl.report.charts import BLUE, GREEN, ORANGE, PURPLE, RED, SMOOTHING
from vlarl.report.run_folder import Evaluation, RunFolder, read_run_folder
from vlarl.statistics import running_mean, student_interval

CURVES = {"route_completion": "route completion [%]", "speed": "speed [km/h]", "collisions": "collisions per km"}
COLUMNS = {
    "success %": lambda e: 100.0 * e.raw["success_rate"],
    "route completion %": lambda e: e.raw["driving"]["route_completion"],
    "driving score": lambda e: e.raw["driving"]["driving_score"],
    "speed km/h": lambda e: e.raw["driving"]["speed"],
    "collisions per km": lambda e: collisions(e.raw["driving"]["infractions_per_km"]),
    "red lights per km": lambda e: e.raw["driving"]["infractions_per_km"].get("red_light", 0.0),
    "episodes with a collision %": lambda e: 100.0 * collisions(e.raw["driving"]["infractions"]) / e.raw["episodes"],
}
"""Episodes of training suites end at their first collision, so collisions are episodes with one."""


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The PNG or SVG to write."""
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of ``vlarl train``."""


def collisions(by_kind: dict[str, float]) -> float:
    """With whom or what does not matter."""
    return sum(value for kind, value in by_kind.items() if kind.startswith("collision_"))


def groups(runs: Sequence[RunFolder]) -> dict[str, list[RunFolder]]:
    """Experiment -> its runs by seed, in the order given.

    Raises:
        UserError: two runs of an experiment have the same seed.
    """
    found: dict[str, list[RunFolder]] = {}
    sizes = [run.config["learner"]["minibatch_trajectories"] for run in runs]
    for run, size in zip(runs, sizes, strict=True):
        label = str(run.config.get("name")) + (f", mini-batches of {size}" if len(set(sizes)) > 1 else "")
        found.setdefault(label, []).append(run)
    for name, members in found.items():
        seeds = [run.config.get("seed") for run in members]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"the runs of {name} have the seeds {seeds}: each seed counts once")
    return found


def control_steps(run: RunFolder) -> float:
    """What a run has learned from."""
    return sum(line["env_steps"] for line in run.metrics)


def rows(runs: dict[str, list[RunFolder]], when: str) -> Iterator[list[str]]:
    """A row per experiment and evaluated suite."""
    variants = sorted({variant for run in itertools.chain(*runs.values()) for variant in run.variants()})
    for variant, (name, members) in itertools.product(variants, runs.items()):
        evaluations = [found for run in members if (found := run.evaluation(when, variant)) is not None]
        told = [found for found in evaluations if "driving" in found.raw]
        if told:
            steps = [control_steps(run) / 1e6 for run in members]
            spread = f"{min(steps):.2f} to {max(steps):.2f} M"
            yield [variant or "training maps", name, str(len(told)), spread, *(cell(told, r) for r in COLUMNS.values())]


def cell(evaluations: Sequence[Evaluation], read: Any) -> str:
    """Mean over seeds and its interval."""
    estimate = student_interval([read(found) for found in evaluations])
    low, high = estimate["ci95"] or (None, None)
    return f"{estimate['mean']:.1f}" + ("" if low is None else f" [{low:.1f}, {high:.1f}]")


def curves(runs: dict[str, list[RunFolder]]) -> Figure:
    """Running means of the rollouts of every run over control steps."""
    figure = Figure(figsize=(12.0, 3.6), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(CURVES))
    for (name, members), colour in zip(runs.items(), (BLUE, ORANGE, GREEN, PURPLE, RED), strict=False):
        for number, run in enumerate(members):
            steps = np.cumsum([line["env_steps"] for line in run.metrics]) / 1e6
            for panel, metric in zip(panels, CURVES, strict=True):
                values = running_mean([curve_value(line, metric) for line in run.metrics], SMOOTHING)
                panel.plot(steps, values, color=colour, linewidth=1.1, label=name if number == 0 else None)
    for panel, title in zip(panels, CURVES.values(), strict=True):
        panel.set_xlabel("control steps [million]")
        panel.set_title(f"{title}, rollouts", fontsize=10)
        panel.set_ylim(bottom=0.0)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    return figure


def curve_value(line: dict[str, Any], metric: str) -> float:
    """One iteration's figure."""
    prefix = "infractions_per_km/"
    if metric == "collisions":
        return collisions({name.removeprefix(prefix): value for name, value in line.items() if name.startswith(prefix)})
    return line[metric]


def main(options: Options) -> None:
    """Print and draw."""
    runs = groups([read_run_folder(folder) for folder in options.runs])
    print("| evaluated | experiment | seeds | control steps |", " | ".join(COLUMNS), "|")
    print("|---" * (4 + len(COLUMNS)) + "|")
    for row in rows(runs, "after"):
        print("|", " | ".join(row), "|")
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    curves(runs).savefig(options.picture)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=plain_description(__doc__ or "")))
