"""Which lanes of a junction are in each other's way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.lane_sampling import Strip

OVERLAP = 0.5
"""Metres by which two strips must overlap to count: lanes side by side touch, and a little more in bends."""


def conflicting_lanes(
    strips: Sequence[Strip], junction: Sequence[int], successors: Sequence[set[int]], predecessors: Sequence[set[int]]
) -> list[list[int]]:
    """For each lane the lanes of its junction whose strips cross or merge with its own; symmetric, without itself.

    Lanes that part from one lane are no conflict, however long they overlap: who follows whom settles that.

    Args:
        strips: all lanes of the map.
        junction: id per lane, -1 outside.
        successors: of each lane.
        predecessors: of each lane.
    """
    conflicts: list[set[int]] = [set() for _ in strips]
    members: dict[int, list[int]] = {}
    for lane, number in enumerate(junction):
        if number >= 0:
            members.setdefault(number, []).append(lane)
    for lanes in members.values():
        for i, lane in enumerate(lanes):
            for other in lanes[i + 1 :]:
                if _joined(lane, other, successors, predecessors):
                    continue
                merging = bool(successors[lane] & successors[other])
                if merging or _overlap(strips[lane], strips[other]):
                    conflicts[lane].add(other)
                    conflicts[other].add(lane)
    return [sorted(found) for found in conflicts]


def needs_grant(graph: LaneGraph, crossing: list[list[int]]) -> NDArray[np.bool_]:
    """Whether something crosses each lane, or one that follows it within its junction."""
    needs = np.array([bool(found) for found in crossing])
    changed = True
    while changed:
        before = needs.copy()
        for lane in np.flatnonzero((graph.junction >= 0) & ~needs):
            following = graph.successors_of(int(lane))
            needs[lane] = (needs[following] & (graph.junction[following] == graph.junction[lane])).any()
        changed = bool((needs != before).any())
    return needs


def _joined(lane: int, other: int, successors: Sequence[set[int]], predecessors: Sequence[set[int]]) -> bool:
    in_line = other in successors[lane] or lane in successors[other]
    parting = predecessors[lane] & predecessors[other] and not successors[lane] & successors[other]
    return bool(in_line or parting)


def _overlap(first: Strip, second: Strip) -> bool:
    widest = 0.5 * float(first.width.max() + second.width.max())
    low, high = first.points.min(axis=0) - widest, first.points.max(axis=0) + widest
    if np.any(second.points.max(axis=0) < low) or np.any(second.points.min(axis=0) > high):
        return False
    distance, nearest = cKDTree(first.points).query(second.points)
    reach = 0.5 * (first.width[nearest] + second.width) - OVERLAP
    return bool(np.any(distance < reach))
