"""One picture of several runs: rollout success over training time, evaluations before and after with intervals.

Example::

    .venv/bin/python tools/learning_curve.py docs/images/quickstart.png runs/seed0 runs/seed1 runs/seed2
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vlarl.cli import plain_description
from vlarl.report.charts import BLUE, GREEN, ORANGE, PURPLE, RED, SMOOTHING
from vlarl.report.run_folder import RunFolder, read_run_folder
from vlarl.statistics import running_mean


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The PNG or SVG to write."""
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of ``vlarl train``."""


def learning_curves(runs: list[RunFolder]) -> Figure:
    """Lines: running mean of rollout success; diamonds: evaluations."""
    figure = Figure(figsize=(8.6, 3.8), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    for run, colour in zip(runs, (BLUE, ORANGE, GREEN, PURPLE, RED), strict=False):
        minutes = [line["seconds"] / 60 for line in run.metrics]
        success = [line["success"] for line in run.metrics]
        axes.plot(minutes, success, "o", color=colour, markersize=2.5, alpha=0.4)
        axes.plot(minutes, running_mean(success, SMOOTHING), color=colour, label=f"seed {run.config['seed']}")
        _evaluations(axes, run, colour)
    axes.set_xlabel("minutes of reinforcement learning on 2 cores")
    axes.set_ylabel("success")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_title(
        f"lines: training rollouts, mean of {SMOOTHING} iterations; diamonds: held-out episodes, 95 % interval",
        fontsize=9,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _evaluations(axes: Any, run: RunFolder, colour: str) -> None:
    for evaluation in (run.evaluation("before"), run.evaluation("after")):
        if evaluation is not None and evaluation.total is not None and evaluation.train_seconds is not None:
            rate = evaluation.total.rate
            distances = [[rate.value - rate.low], [rate.high - rate.value]]
            axes.errorbar(evaluation.train_seconds / 60, rate.value, distances, fmt="D", color=colour, capsize=3)


if __name__ == "__main__":
    options = tyro.cli(Options, description=plain_description(__doc__ or ""))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    learning_curves([read_run_folder(folder) for folder in options.runs]).savefig(options.picture)
    print(f"written: {options.picture}")
