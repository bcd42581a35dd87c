"""Learning curves of several contenders and seeds in one panel of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 40
"""Points of a drawn curve: each is the mean over as many control steps."""
Curve = Sequence[Sequence[float]]
"""(control steps so far, return of an episode or mean of some), in order."""


def binned(curve: Curve, last: float) -> NDArray[np.float64]:
    """Mean return in each of ``BINS`` equal parts of ``last`` control steps; between neighbours where no episode ended.

    Nothing (NaN) before the first and after the last.

    Args:
        curve: of one run.
        last: where the last bin ends.
    """
    steps, returns = np.asarray(curve, dtype=np.float64).T
    places = np.clip((steps * BINS / last).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    filled = np.flatnonzero(counts)
    means = np.bincount(places, returns, minlength=BINS)[filled] / counts[filled]
    return np.interp(np.arange(BINS), filled, means, left=np.nan, right=np.nan)


def thinned(curve: Curve, points: int = 200) -> list[list[float]]:
    """At most so many points, each the mean return of consecutive ones at the control steps of the last of them."""
    groups = np.array_split(np.asarray(curve, dtype=np.float64), min(points, len(curve)) or 1)
    return [[int(group[-1, 0]), float(group[:, 1].mean())] for group in groups if len(group)]


def draw_curves(axes: Axes, curves: Mapping[str, Sequence[Curve]]) -> None:
    """One line per contender, the mean over its seeds, in a band from its worst to its best seed.

    Args:
        axes: to draw in.
        curves: contender -> a curve per seed.
    """
    last = max(curve[-1][0] for runs in curves.values() for curve in runs)
    thousands = (np.arange(BINS) + 0.5) * last / BINS / 1000.0
    for contender, runs in curves.items():
        rows = np.stack([binned(curve, last) for curve in runs])
        (line,) = axes.plot(thousands, rows.mean(0), label=contender)
        axes.fill_between(thousands, rows.min(0), rows.max(0), color=line.get_color(), alpha=0.15, linewidth=0)
    axes.set_xlabel("thousand control steps")


def draw_panels(file: Path, panels: Mapping[str, Mapping[str, Sequence[Curve]]]) -> None:
    """A PNG with a panel of learning curves per title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.0 * len(panels), 3.2), layout="tight")
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, curves) in zip(row, panels.items(), strict=True):
        draw_curves(axes, curves)
        axes.set_title(title)
    row[0].set_ylabel("return")
    row[-1].legend(fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
