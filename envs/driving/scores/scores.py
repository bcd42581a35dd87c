"""The driving score of CARLA's leaderboard 2.0 from what the worlds have counted.

Driving score = route completion x the product of a penalty per infraction (leaderboard 2.0, statistics manager). Of its
penalties those for scenario timeouts, for not yielding to emergency vehicles and for driving too slowly do not apply:
these worlds have no such scenarios. Scores of this world are not comparable with CARLA's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from envs.driving.maps.map_arrays import Records
from envs.driving.world.records import EVENTS

PENALTIES: Mapping[str, float] = {
    "collision_pedestrian": 0.5,
    "collision_vehicle": 0.6,
    "collision_static": 0.65,
    "red_light": 0.7,
    "stop_sign": 0.8,
}
"""Factor per infraction."""


def route_completion(worlds: Records) -> NDArray[np.float64]:
    """Percent ``[N]`` of the route covered; what was covered outside of its lanes does not count.

    A completed route is whole: completion is noticed within the last metre.
    """
    length = np.maximum(worlds["route_length"], 1e-9)
    arrived = worlds["counts"][:, EVENTS.index("route_completed")] > 0
    covered = np.where(arrived, length, worlds["route_arc"]) - worlds["outside_arc"]
    return 100.0 * np.clip(covered / length, 0.0, 1.0)


def infraction_penalty(worlds: Records) -> NDArray[np.float64]:
    """Product ``[N]`` of the penalties of all infractions so far, 1 without any."""
    penalty = np.ones(len(worlds))
    for name, factor in PENALTIES.items():
        penalty *= factor ** worlds["counts"][:, EVENTS.index(name)]
    return penalty


def driving_score(worlds: Records) -> NDArray[np.float64]:
    """Score ``[N]`` of 0 to 100."""
    return route_completion(worlds) * infraction_penalty(worlds)


def infractions_per_km(worlds: Records) -> dict[str, float]:
    """Every event but arrival, per kilometre that all worlds together have driven (0 where none has)."""
    kilometres = float(worlds["distance"].sum()) / 1000.0
    counts = worlds["counts"].sum(axis=0)
    names = [name for name in EVENTS if name != "route_completed"]
    return {name: float(counts[EVENTS.index(name)]) / kilometres if kilometres else 0.0 for name in names}
