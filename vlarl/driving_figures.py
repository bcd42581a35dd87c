"""Driving score, route completion and infractions per kilometre of episodes played in ``envs/drive.py``.

The driving score is leaderboard 2.0's: route completion x the product of a penalty per infraction (computed by
``envs/driving/scores.py``). Scores of this world are not comparable with CARLA's own.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from vlarl.types import Trajectory

COUNT = "drive/count/"


def driving_figures(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Means over episodes, and infractions over all their kilometres together; empty where nothing was driven.

    Returns:
        ``{"driving": {"driving_score", "route_completion", "kilometres", "infractions_per_km": {kind: number}}}`` with
        score and completion in 0 to 100, or ``{}``.
    """
    last = [t.events[-1] for t in trajectories if t.events and "drive/driving_score" in t.events[-1]]
    if not last:
        return {}
    kilometres = sum(events["drive/kilometres"] for events in last)
    kinds = [name for name in last[0] if name.startswith(COUNT)]
    return {
        "driving": {
            "driving_score": statistics.fmean(events["drive/driving_score"] for events in last),
            "route_completion": statistics.fmean(events["drive/route_completion"] for events in last),
            "kilometres": kilometres,
            "infractions_per_km": {
                kind.removeprefix(COUNT): sum(events[kind] for events in last) / kilometres if kilometres else 0.0
                for kind in kinds
            },
        }
    }


def driving_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """``driving_figures`` as flat metrics: ``driving_score``, ``route_completion``, ``infractions_per_km/<kind>``."""
    figures = driving_figures(trajectories).get("driving")
    if figures is None:
        return {}
    rates = {f"infractions_per_km/{kind}": rate for kind, rate in figures["infractions_per_km"].items()}
    return {"driving_score": figures["driving_score"], "route_completion": figures["route_completion"], **rates}
