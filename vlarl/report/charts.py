"""Charts as inline SVG: text stays text, colours follow the page (light or dark), equal data give equal bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

from vlarl.report.run_folder import Counted, Evaluation
from vlarl.statistics import running_mean

SMOOTHING = 5
"""Iterations in the running mean of the learning curve."""
_INK = "#010203"
"""Stands for the page's text colour; replaced by ``currentColor`` in the SVG."""
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6", "#94a3b8"
PHASE_COLOURS = {
    "simulate": BLUE,
    "render": PURPLE,
    "policy": GREEN,
    "reward": "#ec4899",
    "update": ORANGE,
}
DIAGNOSTICS = {
    "reward": "reward per episode, all terms",
    "driving_score": "driving score of rollouts",
    "route_completion": "route completion of rollouts [%]",
    "approx_kl": "approximate KL to the rollout policy",
    "clipfrac": "fraction of clipped tokens",
    "entropy": "entropy [nats per token]",
    "grad_norm": "gradient norm before clipping",
    "groups_kept": "groups with both outcomes, kept",
    "rank_mean": "mean rank of the adapters",
    "env_steps_per_second": "control steps per second",
}
"""Metric -> what the small chart's title says."""

_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "legend.frameon": False,
}


def learning_curve(metrics: Sequence[Mapping[str, Any]], evaluations: Sequence[Evaluation]) -> str:
    """Rollout success over training time, its running mean, and the headline evaluations with their intervals."""
    points = [(_minutes(line), float(line["success"])) for line in metrics if line.get("success") is not None]
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(8.6, 3.6)
        if points:
            minutes, success = zip(*points, strict=True)
            axes.plot(
                minutes, success, "o", color=GREY, markersize=3, alpha=0.7, label="training rollouts, per iteration"
            )
            mean = running_mean(success, SMOOTHING)
            axes.plot(minutes, mean, color=BLUE, linewidth=2.2, label=f"mean of {SMOOTHING} iterations")
        _evaluation_points(axes, evaluations)
        axes.set_xlabel("minutes of training")
        axes.set_ylabel("success rate")
        _percent(axes)
        axes.legend(loc="lower right", fontsize=10)
        return _svg(figure, "learning")


def _evaluation_points(axes: Any, evaluations: Sequence[Evaluation]) -> None:
    shown = [(e.train_seconds / 60, e.total) for e in evaluations if e.total and e.train_seconds is not None]
    if shown:
        minutes = [minute for minute, _ in shown]
        values = [total.rate.value for _, total in shown]
        below = [total.rate.value - total.rate.low for _, total in shown]
        above = [total.rate.high - total.rate.value for _, total in shown]
        style = {"color": ORANGE, "markersize": 7, "capsize": 4, "linewidth": 0, "elinewidth": 1.6}
        axes.errorbar(minutes, values, [below, above], fmt="D", label="evaluation, 95 % interval", **style)


def rates_chart(rows: Sequence[tuple[str, Counted | None, Counted | None]]) -> str:
    """One line per row: the rate before and after with intervals, joined (a dumbbell)."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(8.6, 0.7 + 0.42 * len(rows))
        for position, (_, before, after) in enumerate(rows):
            if before and after:
                axes.plot(
                    [before.rate.value, after.rate.value], [position, position], color=GREY, linewidth=1, zorder=1
                )
            for counted, colour, shift in ((before, GREY, 0.11), (after, BLUE, -0.11)):
                if counted:
                    rate = counted.rate
                    error = [[rate.value - rate.low], [rate.high - rate.value]]
                    axes.errorbar(
                        rate.value, position + shift, xerr=error, fmt="o", color=colour, capsize=3, markersize=6
                    )
        axes.set_yticks(range(len(rows)), [_shorten(name) for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.01, 1.01)
        axes.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
        axes.grid(axis="x", color=_INK, alpha=0.12, linewidth=0.6)
        axes.tick_params(axis="y", length=0)
        return _svg(figure, "rates" + str(len(rows)) + (rows[0][0] if rows else ""))


def imitation_chart(rows: Sequence[Mapping[str, Any]], after: Counted | None) -> str:
    """Success of imitation over the number of demonstrations, with the trained policy as a level."""
    counted = [(float(row["demonstrations_per_task"]), Counted.read(row)) for row in rows]
    shown = sorted((demonstrations, value) for demonstrations, value in counted if value is not None)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(8.6, 3.0)
        if shown:
            rates = [value.rate for _, value in shown]
            error = [[r.value - r.low for r in rates], [r.high - r.value for r in rates]]
            x = [demonstrations for demonstrations, _ in shown]
            values = [rate.value for rate in rates]
            axes.errorbar(x, values, error, fmt="o-", color=PURPLE, capsize=3, label="imitation alone")
        if after:
            axes.axhline(after.rate.value, color=BLUE, linewidth=1.8, label="this run, after training")
            axes.axhspan(after.rate.low, after.rate.high, color=BLUE, alpha=0.12, linewidth=0)
        axes.set_xlabel("demonstrations per task")
        axes.set_ylabel("success rate")
        axes.set_xlim(left=0)
        _percent(axes)
        axes.legend(loc="lower right", fontsize=10)
        return _svg(figure, "imitation")


def diagnostics_charts(metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Small charts of the optimisation, by metric; metrics that no iteration recorded are left out."""
    charts = {}
    for name, title in DIAGNOSTICS.items():
        points = [(int(line["step"]), float(line[name])) for line in metrics if _is_number(line.get(name))]
        if not points:
            continue
        with matplotlib.rc_context(_STYLE):
            figure, axes = _figure(3.6, 1.9)
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, color=BLUE, linewidth=1.4, marker="o" if len(points) < 3 else "")
            axes.set_title(title, fontsize=10, loc="left")
            axes.grid(axis="y", color=_INK, alpha=0.12, linewidth=0.6)
            axes.margins(x=0.02)
            charts[name] = _svg(figure, name)
    return charts


def time_chart(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Work per iteration by phase, stacked; each phase's seconds are summed over the processes that did it."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _figure(8.6, 2.6)
        steps = [int(line["step"]) for line in metrics]
        bottom = [0.0] * len(steps)
        for phase, colour in PHASE_COLOURS.items():
            seconds = [float(line.get(f"seconds/{phase}") or 0.0) for line in metrics]
            if any(seconds):
                axes.bar(steps, seconds, bottom=bottom, width=0.9, color=colour, label=phase, linewidth=0)
                bottom = [low + high for low, high in zip(bottom, seconds, strict=True)]
        axes.set_xlabel("iteration")
        axes.set_ylabel("seconds of work")
        axes.margins(x=0.01)
        axes.legend(ncols=5, fontsize=10, loc="lower left", bbox_to_anchor=(0, 1.0))
        return _svg(figure, "time")


def _minutes(line: Mapping[str, Any]) -> float:
    """Training time at the end of an iteration; the iteration's number where times were not recorded."""
    seconds = line.get("seconds")
    return float(seconds) / 60 if _is_number(seconds) else float(line["step"])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _percent(axes: Any) -> None:
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axes.grid(axis="y", color=_INK, alpha=0.12, linewidth=0.6)


def _shorten(text: str, most: int = 46) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    """A figure without pyplot's global state (and its display back end)."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an ``<svg>`` element that scales with the page. ``salt`` keeps ids of two charts apart."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 role="img"', text, count=1)
    return re.sub(r'<g id="[^"]*">', "<g>", text)
