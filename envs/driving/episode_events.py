"""What ``envs/drive.py`` tells of an episode at the end of each chunk."""

from __future__ import annotations

from envs.driving.comfort import Comfort
from envs.driving.records import EVENTS
from envs.driving.scores import PENALTIES, driving_score, route_completion
from envs.driving.world import DrivingWorlds

LEADERBOARD_ENDS = ("blocked", "route_deviation")
"""Events that end a route of CARLA's leaderboard; collisions, lights and signs cost score only."""


def episode_events(worlds: DrivingWorlds, comfort: Comfort, w: int = 0) -> dict[str, float]:
    """Scores, kilometres, counts of infractions and shares of comfort of one world since its reset."""
    records = worlds.worlds[w : w + 1]
    counts = {f"drive/count/{name}": float(number) for name, number in zip(EVENTS, records["counts"][0], strict=True)}
    del counts["drive/count/route_completed"]
    return {
        "drive/route_completion": float(route_completion(records)[0]),
        "drive/driving_score": float(driving_score(records)[0]),
        "drive/kilometres": float(records["distance"][0]) / 1000.0,
        **{f"drive/comfort/{name}": float(share[w]) for name, share in comfort.shares().items()},
        **counts,
    }


def route_ended(worlds: DrivingWorlds, w: int = 0) -> bool:
    """Whether one of ``LEADERBOARD_ENDS`` has happened in the last control step."""
    events = int(worlds.worlds["events"][w])
    return any(events >> EVENTS.index(name) & 1 for name in LEADERBOARD_ENDS)


def without_infraction(worlds: DrivingWorlds, w: int = 0) -> bool:
    """Whether nothing that costs score has happened since the reset."""
    counts = worlds.worlds["counts"][w]
    return not any(counts[EVENTS.index(name)] for name in PENALTIES)
