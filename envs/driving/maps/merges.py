"""Where lanes merge side by side, as at the end of an on-ramp: there vehicles take turns like the teeth of a zip.

Lanes that merge at an angle, as at a crossing or a roundabout, are not among them: there the junction's grants decide.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.maps.lane_graph import LaneGraph

SIDE_BY_SIDE = 0.35
"""Lanes whose starts differ in heading by less merge side by side, radians."""
APPROACH = 120.0
"""Vehicles on the way to the merge take part from about so far before its end, metres."""
MERGER = np.dtype(
    [
        ("lane", np.int32),  # on which a vehicle takes part
        ("to_end", np.float64),  # from that lane's start to where both are one, metres
    ],
    align=True,
)


def merging_partners(graph: LaneGraph) -> list[list[int]]:
    """For each lane those that end where it ends, begin elsewhere, and run beside it."""
    partners: list[list[int]] = [[] for _ in range(graph.lanes)]
    for lane in range(graph.lanes):
        ends = set(graph.successors_of(lane).tolist())
        for successor in ends:
            for other in graph.predecessors_of(successor).tolist():
                if other != lane and other not in partners[lane] and _side_by_side(graph, lane, other):
                    partners[lane].append(other)
    return [sorted(found) for found in partners]


def pack_mergers(graph: LaneGraph, partners: list[list[int]]) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    """Ragged list per lane of where the vehicles are that it merges with.

    Returns:
        Start ``int32 [L+1]`` and records ``MERGER``: the partners, and the lanes that lead to nothing else.
    """
    start, rows = np.zeros(graph.lanes + 1, np.int32), []
    for lane, found in enumerate(partners):
        for partner in found:
            rows += _approach(graph, partner)
        start[lane + 1] = len(rows)
    return start, np.array(rows, MERGER)


def _side_by_side(graph: LaneGraph, lane: int, other: int) -> bool:
    if set(graph.predecessors_of(lane).tolist()) & set(graph.predecessors_of(other).tolist()):
        return False
    turned = float(graph.heading[graph.lane_start[lane]] - graph.heading[graph.lane_start[other]])
    return abs(np.arctan2(np.sin(turned), np.cos(turned))) < SIDE_BY_SIDE


def _approach(graph: LaneGraph, lane: int) -> list[tuple[int, float]]:
    """The lane and those before it, as long as each leads to the next only."""
    metres = float(graph.length[lane])
    rows = [(lane, metres)]
    while metres < APPROACH:
        before = graph.predecessors_of(lane)
        if len(before) != 1 or len(graph.successors_of(int(before[0]))) != 1:
            break
        lane = int(before[0])
        if lane in [row[0] for row in rows]:
            break
        metres += float(graph.length[lane])
        rows.append((lane, metres))
    return rows
