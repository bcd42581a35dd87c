"""Driving score, route completion, infractions per kilometre and comfort of episodes played in ``envs/drive.py``.

The driving score is leaderboard 2.0's: route completion x the product of a penalty per infraction (computed by
``envs/driving/scores/scores.py``). Scores of this world are not comparable with CARLA's own.
Comfort is the share of time within nuPlan's bounds (``envs/driving/scores/comfort.py``).
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlarl.statistics import bootstrap, poisson_interval
from vlarl.types import Trajectory

if TYPE_CHECKING:
    from rich.table import Table

COUNT, COMFORT = "drive/count/", "drive/comfort/"
MEANS = {
    "driving_score": "drive/driving_score",
    "route_completion": "drive/route_completion",
    "comfort": f"{COMFORT}all",
    "speed": "drive/speed",
}
"""Figure -> event of which it is the mean over episodes."""


def driving_figures(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Means over episodes with bootstrap intervals, and infractions over all their kilometres together.

    Returns:
        ``{"driving": {...}}``, or ``{}`` where nothing was driven. Score and completion range from 0 to 100, comfort
        and ``comfort_by_bound`` (share of time within each bound, mean over episodes) from 0 to 1; speed is the mean of
        the episodes' own, km/h. Every ``*_ci95`` is [low, high]: bootstrap over episodes for means, exact Poisson
        for ``infractions_per_km`` (None without way).
    """
    last = [t.events[-1] for t in trajectories if t.events and MEANS["driving_score"] in t.events[-1]]
    if not last:
        return {}
    figures: dict[str, Any] = {}
    for name, event in MEANS.items():
        estimate = bootstrap([events[event] for events in last])
        figures |= {name: estimate.value, f"{name}_ci95": estimate.ci}
    bounds = [event for event in last[0] if event.startswith(COMFORT) and event != MEANS["comfort"]]
    figures["comfort_by_bound"] = {
        event.removeprefix(COMFORT): statistics.fmean(events[event] for events in last) for event in bounds
    }
    kilometres = figures["kilometres"] = sum(events["drive/kilometres"] for events in last)
    counts = {
        event.removeprefix(COUNT): round(sum(events[event] for events in last))
        for event in last[0]
        if event.startswith(COUNT)
    }
    figures["infractions"] = counts
    figures["infractions_per_km"] = {kind: n / kilometres if kilometres else 0.0 for kind, n in counts.items()}
    figures["infractions_per_km_ci95"] = {
        kind: list(poisson_interval(n, kilometres)) if kilometres else None for kind, n in counts.items()
    }
    return {"driving": figures}


def driving_table(result: Mapping[str, Any]) -> Table:
    """What a person reads: a row per route and one for all, 95 % intervals in brackets."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1))
    for title in ("route", "driving score", "completion %", "comfort %"):
        table.add_column(title, justify="left" if title == "route" else "right")
    for row in [*result["tasks"], {"name": "all", **result}]:
        if "driving" in row:
            figures = row["driving"]
            table.add_row(
                row["name"],
                _with_interval(figures, "driving_score"),
                _with_interval(figures, "route_completion"),
                _with_interval(figures, "comfort", 100.0),
            )
    return table


def infraction_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    """A line per kind of infraction that happened; one that says so where none did."""
    happened = {kind: n for kind, n in figures["infractions"].items() if n}
    if not happened:
        yield "infractions per km: none"
    for kind, n in sorted(happened.items(), key=lambda item: -item[1]):
        rate, interval = figures["infractions_per_km"][kind], figures["infractions_per_km_ci95"][kind]
        spread = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        yield f"infractions per km: {kind} {rate:.2f}{spread}, {n} in all"


def _with_interval(figures: Mapping[str, Any], name: str, factor: float = 1.0) -> str:
    low, high = (factor * bound for bound in figures[f"{name}_ci95"])
    return f"{factor * figures[name]:.1f} ({low:.0f}-{high:.0f})"


def driving_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """``driving_figures`` as flat metrics: ``driving_score``, ``comfort``, ``infractions_per_km/<kind>``, ...."""
    figures = driving_figures(trajectories).get("driving")
    if figures is None:
        return {}
    rates = {f"infractions_per_km/{kind}": rate for kind, rate in figures["infractions_per_km"].items()}
    return {name: figures[name] for name in MEANS} | rates
