"""A lane graph packed for the kernels: records of points, lanes and stop lines, and a grid to find lanes by place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.errors import MapError
from envs.driving.maps.junction_conflicts import needs_grant
from envs.driving.maps.lane_graph import LaneGraph, ragged
from envs.driving.maps.merges import merging_partners, pack_mergers

CELL = 5.0
"""Side of a grid cell, metres: all points within this distance lie in the 3 x 3 cells around."""
LATERAL_ACCELERATION = 2.5
"""What traffic accepts in curves, m/s^2."""
APPROACH_DECELERATION = 2.0
"""How traffic slows down towards curves and lower limits, m/s^2."""

POINT = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("z", np.float64),
        ("heading", np.float64),
        ("cos", np.float64),  # of the heading
        ("sin", np.float64),
        ("arc", np.float64),
        ("half_width", np.float64),
        ("speed", np.float64),  # traffic's wanted speed here: limit, curves and what comes next
        ("lane", np.int32),
        ("left_mark", np.int8),
        ("right_mark", np.int8),
    ],
    align=True,
)
LANE = np.dtype(
    [
        ("start", np.int32),
        ("stop", np.int32),
        ("length", np.float64),
        ("speed_limit", np.float64),
        ("turn", np.float64),  # how far the lane bends to the left in all, radians
        ("junction", np.int32),
        ("left", np.int32),
        ("right", np.int32),
        ("opposite", np.int32),
        ("successor_start", np.int32),
        ("successor_stop", np.int32),
        ("conflict_start", np.int32),
        ("conflict_stop", np.int32),
        ("merger_start", np.int32),
        ("merger_stop", np.int32),
        ("needs_grant", np.int8),  # something crosses the way through the junction from here on
        ("stop_start", np.int32),
        ("stop_stop", np.int32),
    ],
    align=True,
)
STOP = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("cos", np.float64),
        ("sin", np.float64),
        ("half_width", np.float64),
        ("arc", np.float64),
        ("lane", np.int32),
        ("kind", np.int32),
        ("group", np.int32),
        ("signal", np.int32),  # number of the signalled junction
        ("source", np.int32),  # its place in the lane graph's list
    ],
    align=True,
)
GRID = np.dtype(
    [("x", np.float64), ("y", np.float64), ("columns", np.int32), ("rows", np.int32)],
    align=True,
)
Records = NDArray[np.void]


class MapArrays(NamedTuple):
    """What kernels read of a map."""

    points: Records
    lanes: Records
    successors: NDArray[np.int32]
    conflicts: NDArray[np.int32]
    """Without the lanes that merge side by side: there ``mergers`` hold instead."""
    mergers: Records
    stops: Records
    """Sorted by lane and arc."""
    signal_groups: NDArray[np.int32]
    """Number of light phases of every signalled junction."""
    signal_stops: NDArray[np.int32]
    """The stop lines that have a light."""
    grid: Records
    """One record."""
    cell_start: NDArray[np.int32]
    cell_points: NDArray[np.int32]
    crosswalks: NDArray[np.float64]
    """``[C, 4]`` the two ends of the way across, metres."""


@kernel
def approach_speeds(points: Records, lanes: Records, successors: NDArray[np.int32], deceleration: float) -> None:
    """Lower ``points.speed`` until every drop ahead, over lane ends too, can be met with ``deceleration``."""
    changed = True
    while changed:
        changed = False
        for number in range(len(lanes)):
            lane = lanes[number]
            ahead = np.inf
            for place in range(lane.successor_start, lane.successor_stop):
                ahead = min(ahead, points[lanes[successors[place]].start].speed)
            arc = lane.length
            for i in range(lane.stop - 1, lane.start - 1, -1):
                reach = np.sqrt(ahead * ahead + 2.0 * deceleration * max(arc - points[i].arc, 0.0))
                if points[i].speed > reach + 1e-9:
                    points[i].speed = reach
                    changed = True
                ahead, arc = points[i].speed, points[i].arc


def _pack_points(graph: LaneGraph) -> Records:
    points = np.zeros(len(graph.points), POINT)
    points["x"], points["y"] = graph.points.T
    points["z"], points["heading"], points["arc"] = graph.elevation, graph.heading, graph.arc
    points["cos"], points["sin"] = np.cos(graph.heading), np.sin(graph.heading)
    points["half_width"] = graph.width / 2.0
    counts = np.diff(graph.lane_start)
    points["lane"] = np.repeat(np.arange(len(counts)), counts)
    points["left_mark"], points["right_mark"] = graph.edge_kind.T
    points["speed"] = np.repeat(graph.speed_limit, counts)
    for start, stop in zip(graph.lane_start[:-1], graph.lane_start[1:], strict=True):
        if stop - start > 2:
            bend = np.abs(np.gradient(np.unwrap(graph.heading[start:stop]), graph.arc[start:stop]))
            limit = np.sqrt(LATERAL_ACCELERATION / np.maximum(bend, 1e-6))
            points["speed"][start:stop] = np.minimum(points["speed"][start:stop], limit)
    return points


def _pack_stops(graph: LaneGraph, points: Records) -> tuple[Records, NDArray[np.int32]]:
    stops = np.zeros(len(graph.stop_lane), STOP)
    order = np.lexsort((graph.stop_arc, graph.stop_lane))
    lights = graph.stop_kind == 0
    signals, signal = np.unique(graph.stop_junction[lights], return_inverse=True)
    groups = np.zeros(len(signals), np.int32)
    np.maximum.at(groups, signal, graph.stop_group[lights] + 1)
    signal_of = np.full(len(graph.stop_lane), -1, np.int32)
    signal_of[lights] = signal
    for place, k in enumerate(order):
        lane, arc = int(graph.stop_lane[k]), float(graph.stop_arc[k])
        start, end = graph.lane_start[lane], graph.lane_start[lane + 1]
        x = np.interp(arc, graph.arc[start:end], graph.points[start:end, 0])
        y = np.interp(arc, graph.arc[start:end], graph.points[start:end, 1])
        near = start + int(np.argmin(np.abs(graph.arc[start:end] - arc)))
        heading, half = float(graph.heading[near]), float(points["half_width"][near])
        stops[place] = (x, y, np.cos(heading), np.sin(heading), half, arc, lane) + (
            int(graph.stop_kind[k]),
            int(graph.stop_group[k]),
            int(signal_of[k]),
            int(k),
        )
    return stops, groups


def _pack_grid(points: Records) -> tuple[Records, NDArray[np.int32], NDArray[np.int32]]:
    grid = np.zeros(1, GRID)
    x, y = points["x"], points["y"]
    grid["x"], grid["y"] = x.min() - CELL, y.min() - CELL
    column = ((x - grid["x"]) / CELL).astype(np.int64)
    row = ((y - grid["y"]) / CELL).astype(np.int64)
    grid["columns"], grid["rows"] = column.max() + 2, row.max() + 2
    cell = row * int(grid["columns"][0]) + column
    count = np.bincount(cell, minlength=int(grid["columns"][0]) * int(grid["rows"][0]))
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int32)
    return grid, start, np.argsort(cell, kind="stable").astype(np.int32)


def _crosswalk_ends(graph: LaneGraph) -> NDArray[np.float64]:
    """The way across each crosswalk: its longer axis, end to end."""
    ends = np.zeros((max(len(graph.crosswalk_start) - 1, 0), 4))
    for number in range(len(ends)):
        outline = graph.crosswalk_points[graph.crosswalk_start[number] : graph.crosswalk_start[number + 1]]
        middle = outline.mean(axis=0)
        _, _, axes = np.linalg.svd(outline - middle, full_matrices=False)
        along = (outline - middle) @ axes[0]
        ends[number] = [*(middle + along.min() * axes[0]), *(middle + along.max() * axes[0])]
    return ends


def pack(graph: LaneGraph) -> MapArrays:
    """Pack ``graph`` for the kernels.

    Raises:
        MapError: a map without drivable lanes.
    """
    if len(graph.lane_start) < 2 or len(graph.points) == 0:
        raise MapError("the map has no drivable lane; a world needs at least one")
    points = _pack_points(graph)
    lanes = np.zeros(len(graph.lane_start) - 1, LANE)
    lanes["start"], lanes["stop"] = graph.lane_start[:-1], graph.lane_start[1:]
    for name in ("length", "speed_limit", "junction", "left", "right", "opposite"):
        lanes[name] = getattr(graph, name)
    turn = graph.heading[graph.lane_start[1:] - 1] - graph.heading[graph.lane_start[:-1]]
    lanes["turn"] = np.arctan2(np.sin(turn), np.cos(turn))
    partners = merging_partners(graph)
    crossing = [sorted(set(graph.conflicts_of(lane).tolist()) - set(partners[lane])) for lane in range(graph.lanes)]
    conflict_start, conflicts = ragged(crossing)
    merger_start, mergers = pack_mergers(graph, partners)
    starts = {"successor": graph.successor_start, "conflict": conflict_start, "merger": merger_start}
    for name, start in starts.items():
        lanes[f"{name}_start"], lanes[f"{name}_stop"] = start[:-1], start[1:]
    lanes["needs_grant"] = needs_grant(graph, crossing)
    stops, groups = _pack_stops(graph, points)
    lanes["stop_start"] = np.searchsorted(stops["lane"], np.arange(len(lanes)), side="left")
    lanes["stop_stop"] = np.searchsorted(stops["lane"], np.arange(len(lanes)), side="right")
    successors = np.ascontiguousarray(graph.successors, np.int32)
    approach_speeds(points, lanes, successors, APPROACH_DECELERATION)
    grid, cell_start, cell_points = _pack_grid(points)
    return MapArrays(
        points=points,
        lanes=lanes,
        successors=successors,
        conflicts=conflicts,
        mergers=mergers,
        stops=stops,
        signal_groups=groups,
        signal_stops=np.flatnonzero(stops["signal"] >= 0).astype(np.int32),
        grid=grid,
        cell_start=cell_start,
        cell_points=cell_points,
        crosswalks=_crosswalk_ends(graph),
    )


@kernel
def locate(points: Records, start: int, stop: int, length: float, arc: float) -> int:
    """The last point of a lane at or before ``arc``, never the very last one of a lane with two or more."""
    i = start + int(arc / max(length, 1e-9) * (stop - 1 - start))
    i = min(max(i, start), max(stop - 2, start))
    while i > start and points[i].arc > arc:
        i -= 1
    while i < stop - 2 and points[i + 1].arc <= arc:
        i += 1
    return i


@kernel
def place_at(world_map: MapArrays, lane_number: int, arc: float) -> tuple[float, float]:
    """The place (x, y) at ``arc`` of a lane; beyond its ends straight on."""
    points, lane = world_map.points, world_map.lanes[lane_number]
    i = locate(points, lane.start, lane.stop, lane.length, arc)
    here, following = points[i], points[min(i + 1, lane.stop - 1)]
    ahead, span = arc - here.arc, following.arc - here.arc
    if 0.0 <= ahead <= span and span > 0.0:
        share = ahead / span
        return here.x + share * (following.x - here.x), here.y + share * (following.y - here.y)
    if ahead > span:
        here, ahead = following, arc - following.arc
    return here.x + ahead * here.cos, here.y + ahead * here.sin


@kernel
def heading_at(world_map: MapArrays, lane_number: int, arc: float) -> float:
    """Direction of travel at ``arc`` of a lane, radians."""
    points, lane = world_map.points, world_map.lanes[lane_number]
    i = locate(points, lane.start, lane.stop, lane.length, arc)
    here, following = points[i], points[min(i + 1, lane.stop - 1)]
    turn = np.arctan2(np.sin(following.heading - here.heading), np.cos(following.heading - here.heading))
    share = (arc - here.arc) / max(following.arc - here.arc, 1e-9)
    return here.heading + min(max(share, 0.0), 1.0) * turn


@kernel
def project(world_map: MapArrays, lane_number: int, arc: float, x: float, y: float) -> tuple[float, float, int]:
    """Arc and offset to the left of (x, y) on a lane near ``arc``, and the index of the nearest point."""
    points, lane = world_map.points, world_map.lanes[lane_number]
    i = locate(points, lane.start, lane.stop, lane.length, arc)
    best = (points[i].x - x) ** 2 + (points[i].y - y) ** 2
    for step in (1, -1):
        while lane.start <= i + step < lane.stop:
            distance = (points[i + step].x - x) ** 2 + (points[i + step].y - y) ** 2
            if distance > best:
                break
            best, i = distance, i + step
    here = points[i]
    dx, dy = x - here.x, y - here.y
    return here.arc + dx * here.cos + dy * here.sin, dy * here.cos - dx * here.sin, i
