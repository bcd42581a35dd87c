"""The compiled map: lanes as sampled centre lines, how they connect, and what stands on them; saved as .npz."""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.driving.errors import MapError

Floats64 = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints32 = NDArray[np.int32]
Ints8 = NDArray[np.int8]

TRAFFIC_LIGHT, STOP_SIGN_KIND = 0, 1
"""Values of ``stop_kind``."""
EDGE_NONE, EDGE_BROKEN, EDGE_SOLID = 0, 1, 2
"""Values of ``edge_kind``."""


@dataclass(frozen=True, kw_only=True)
class LaneGraph:
    """Driving lanes of a map: P points on L lanes; ragged lists are ``start`` (int32, one longer) and values."""

    points: Floats64
    """``[P, 2]`` lane centre, metres, OpenDRIVE's right-handed x and y, at most 1 m apart."""
    heading: Floats64
    """``[P]`` direction of travel, radians."""
    arc: Floats64
    """``[P]`` metres along the lane in the direction of travel, from 0, strictly rising."""
    width: Floats32
    """``[P]`` metres."""
    elevation: Floats32
    """``[P]`` metres."""
    lane_start: Ints32
    """``[L+1]``: lane l has the points ``lane_start[l]:lane_start[l+1]``, at least two."""
    length: Floats64
    """``[L]`` metres."""
    speed_limit: Floats32
    """``[L]`` m/s."""
    junction: Ints32
    """``[L]`` id of the junction the lane runs through, -1: none."""
    left: Ints32
    """``[L]`` neighbour with the same direction, -1: none."""
    right: Ints32
    """``[L]`` neighbour with the same direction, -1: none."""
    opposite: Ints32
    """``[L]`` neighbour of the other direction across the centre line, -1: none."""
    successor_start: Ints32
    successors: Ints32
    predecessor_start: Ints32
    predecessors: Ints32
    lane_key: Ints32
    """``[L, 3]`` road id, index of the lane section within the road, lane id in the map file."""
    stop_lane: Ints32
    """``[K]`` lane that a stop line crosses."""
    stop_arc: Floats32
    """``[K]`` where on that lane, metres."""
    stop_kind: Ints8
    """``[K]`` 0 traffic light, 1 stop sign."""
    stop_group: Ints32
    """``[K]`` phase group of the light within its junction, from 0 without gaps; -1 for stop signs."""
    stop_junction: Ints32
    """``[K]`` the junction it guards, -1: none."""
    crosswalk_start: Ints32
    """``[C+1]``"""
    crosswalk_points: Floats64
    """``[Q, 2]`` corners of the crosswalks' outlines, metres; no outline repeats its first corner."""
    conflict_start: Ints32
    conflicts: Ints32
    """Lanes of the same junction whose strips cross or merge with each lane's."""
    left_edge: Floats32
    """``[P, 2]`` metres."""
    right_edge: Floats32
    """``[P, 2]`` metres."""
    edge_kind: Ints8
    """``[P, 2]`` marking at the left and the right edge: 0 none, 1 broken, 2 solid."""

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return len(self.length)

    def lane_points(self, lane: int) -> slice:
        """Where the points of a lane lie in the arrays over points."""
        return slice(int(self.lane_start[lane]), int(self.lane_start[lane + 1]))

    def successors_of(self, lane: int) -> Ints32:
        """Lanes that begin where this one ends."""
        return self.successors[self.successor_start[lane] : self.successor_start[lane + 1]]

    def predecessors_of(self, lane: int) -> Ints32:
        """Lanes that end where this one begins."""
        return self.predecessors[self.predecessor_start[lane] : self.predecessor_start[lane + 1]]

    def conflicts_of(self, lane: int) -> Ints32:
        """Lanes of its junction that cross or merge with this one."""
        return self.conflicts[self.conflict_start[lane] : self.conflict_start[lane + 1]]

    def crosswalk(self, number: int) -> Floats64:
        """Corners ``[n, 2]`` of one crosswalk."""
        return self.crosswalk_points[self.crosswalk_start[number] : self.crosswalk_start[number + 1]]

    def place(self, lane: int, arc: float) -> tuple[float, float, float]:
        """x, y [m] and heading [rad] on a lane, ``arc`` metres from its start (clipped to the lane)."""
        part = self.lane_points(lane)
        along, heading = self.arc[part], np.unwrap(self.heading[part])
        x, y = (np.interp(arc, along, self.points[part, axis]) for axis in (0, 1))
        return float(x), float(y), float(np.interp(arc, along, heading))

    def lane_by_key(self, road: int, section: int, lane_id: int) -> int:
        """The lane that the file calls so.

        Raises:
            MapError: there is no such driving lane.
        """
        found = np.flatnonzero(np.all(self.lane_key == (road, section, lane_id), axis=1))
        if len(found) == 0:
            there = [tuple(map(int, key[1:])) for key in self.lane_key if key[0] == road]
            raise MapError(
                f"no driving lane has road {road}, section {section}, lane {lane_id}; "
                f"(section, lane) on that road: {there or 'none'}"
            )
        return int(found[0])


def ragged(lists: list[list[int]]) -> tuple[Ints32, Ints32]:
    """Lists of lane numbers as (start ``int32 [n+1]``, values ``int32``)."""
    start = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([len(values) for values in lists], out=start[1:])
    return start, np.array([value for values in lists for value in values], np.int32)


def to_bytes(graph: LaneGraph) -> bytes:
    """The graph as the bytes of an .npz file (no pickle)."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **{f.name: getattr(graph, f.name) for f in fields(graph)})
    return stream.getvalue()


def from_file(path: str | Path) -> LaneGraph:
    """Load what ``to_bytes`` wrote.

    Raises:
        MapError: not such a file, a field missing, or arrays that do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays: dict[str, Any] = {field.name: stored[field.name] for field in fields(LaneGraph)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise MapError(f"{path} is no compiled map: {error}") from None
    graph = LaneGraph(**arrays)
    check(graph, str(path))
    return graph


DTYPES = {"Floats64": np.float64, "Floats32": np.float32, "Ints32": np.int32, "Ints8": np.int8}
_RAGGED = {
    "lane_start": "points",
    "successor_start": "successors",
    "predecessor_start": "predecessors",
    "conflict_start": "conflicts",
    "crosswalk_start": "crosswalk_points",
}
_PER_POINT = ("heading", "arc", "width", "elevation", "left_edge", "right_edge", "edge_kind")
_PER_LANE = ("speed_limit", "junction", "left", "right", "opposite", "lane_key")
_PER_STOP = ("stop_arc", "stop_kind", "stop_group", "stop_junction")
_LANE_NUMBERS = ("left", "right", "opposite", "successors", "predecessors", "conflicts", "stop_lane")


def check(graph: LaneGraph, name: str) -> None:
    """Hold the arrays against each other, so that kernels can index without looking.

    Raises:
        MapError: a wrong dtype or length, ragged starts that do not fit, a lane number out of range, no lane at all.
    """

    def refuse(field: str, why: str) -> MapError:
        return MapError(f"{name}: compiled map with a damaged {field!r}: {why}")

    if graph.lanes == 0:
        raise MapError(f"{name}: the map has no drivable lane; a world needs at least one")
    for field in fields(graph):
        wanted = DTYPES[str(field.type)]
        if getattr(graph, field.name).dtype != wanted:
            raise refuse(field.name, f"dtype {getattr(graph, field.name).dtype}, expected {np.dtype(wanted)}")
    for size, names in ((len(graph.points), _PER_POINT), (graph.lanes, _PER_LANE), (len(graph.stop_lane), _PER_STOP)):
        for field_name in names:
            if len(getattr(graph, field_name)) != size:
                raise refuse(field_name, f"{len(getattr(graph, field_name))} entries, expected {size}")
    for starts, values in _RAGGED.items():
        start = getattr(graph, starts)
        count = None if starts == "crosswalk_start" else graph.lanes + 1
        if (
            len(start) == 0
            or (count is not None and len(start) != count)
            or start[0] != 0
            or start[-1] != len(getattr(graph, values))
            or np.any(np.diff(start) < (2 if starts == "lane_start" else 0))
        ):
            raise refuse(starts, f"does not divide {values!r}")
    for field_name in _LANE_NUMBERS:
        numbers = getattr(graph, field_name)
        lowest = -1 if field_name in _PER_LANE else 0
        if len(numbers) and (numbers.min() < lowest or numbers.max() >= graph.lanes):
            raise refuse(field_name, f"a lane number outside {lowest}..{graph.lanes - 1}")
