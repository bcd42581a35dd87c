"""Samples the driving lanes of one lane section: centre line, heading, width, edges and their markings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.driving.maps.lane_graph import EDGE_BROKEN, EDGE_NONE, EDGE_SOLID, Floats32, Floats64, Ints8
from envs.driving.maps.opendrive_types import Lane, LaneSection, Road
from envs.driving.maps.reference_line import Place

SPACING = 1.0
"""Metres between neighbouring points of a lane, at most."""
FINEST = 20
"""Times as many points as metres of road, at most: a lane that needs more has a jump."""
SLIVER = 0.1
"""Sections shorter than this [m] are left out, covered by their neighbours: exporters cut roads close to their end."""
HIGHEST = 10_000.0
"""Metres above or below zero; anything beyond is taken for damage."""
SMALLEST_STEP = 1e-6
"""Metres that arc length rises per point at least, where an inner lane shrinks to a point in a bend."""


@dataclass(frozen=True, slots=True)
class Strip:
    """One sampled lane, in the direction of travel; fields as in ``LaneGraph``."""

    points: Floats64
    heading: Floats64
    arc: Floats64
    width: Floats32
    elevation: Floats32
    left_edge: Floats32
    right_edge: Floats32
    edge_kind: Ints8


def is_sliver(section: LaneSection) -> bool:
    """Whether the section is too short to drive on."""
    return section.end - section.start < SLIVER


def stretches(road: Road) -> list[tuple[int, float, float]]:
    """What of a road is sampled: (number of a section, from s, to s).

    Slivers are covered by the section before them, at the road's beginning by the first that is none.
    """
    kept = [number for number, section in enumerate(road.sections) if not is_sliver(section)]
    starts = [0.0, *(road.sections[number].start for number in kept[1:])]
    return [(number, start, end) for number, start, end in zip(kept, starts, [*starts[1:], road.length])]


def sample_section(road: Road, section: LaneSection, start: float, end: float) -> dict[int, Strip]:
    """Sample all driving lanes of a section, by lane id.

    Args:
        road: the road.
        section: one of its sections.
        start: from this s [m] ...
        end: ... to this, which may lie in slivers beside the section.

    Raises:
        MapError: neighbouring points stay more than 1 m apart however finely s is sampled: the geometry has a jump;
            or the road lies higher than ``HIGHEST``.
    """
    drivable = [lane for lane in section.lanes.values() if lane.drivable]
    if not drivable:
        return {}
    count = int(np.ceil((end - start) / SPACING)) + 1
    most = count * FINEST
    for _ in range(4):
        s = np.linspace(start, end, count)
        place = road.line.at(s)
        # Absurd coefficients may overflow; what comes out is refused below.
        with np.errstate(over="ignore"):
            height = road.elevation.at(s)[0]
            strips = {lane.id: _strip(road, section, lane, s, place, height) for lane in drivable}
        if not np.max(np.abs(height)) <= HIGHEST:
            raise road.element.error(f"has an elevation of {height[np.argmax(np.abs(height))]} m")
        widest = max(float(np.max(np.diff(strip.arc))) for strip in strips.values())
        if widest <= SPACING:
            return strips
        if not widest * count <= most:
            break
        count = int(np.ceil((count - 1) * widest * 1.001)) + 1
    lane_id, strip = max(strips.items(), key=lambda item: float(np.max(np.diff(item[1].arc))))
    at = int(np.argmax(np.diff(strip.arc)))
    where = s[at] if road.is_forward(lane_id) else s[::-1][at]
    raise road.element.error(
        f"lane {lane_id} jumps by {widest:.2f} m near s={where:.3f}: a <geometry> is missing there, "
        "or <width> or <laneOffset> has a step"
    )


def _strip(road: Road, section: LaneSection, lane: Lane, s: Floats64, place: Place, height: Floats64) -> Strip:
    side = 1.0 if lane.id > 0 else -1.0
    inner, inner_slope = road.lane_offset.at(s, section.start, section.end)
    for closer in range(1, abs(lane.id)):
        width, slope = _width(section, section.lanes[int(side) * closer], s)
        inner, inner_slope = inner + side * width, inner_slope + side * slope
    width, slope = _width(section, lane, s)
    outer, centre = inner + side * width, inner + side * 0.5 * width
    centre_slope = inner_slope + side * 0.5 * slope
    points = _shifted(place, centre)
    # Along s the lane moves (1 - curvature * t) forwards and dt/ds sideways.
    heading = place.heading + np.arctan2(centre_slope, 1.0 - place.curvature * centre)
    inner_kind = _edge_kinds(section, lane.id - int(side), s, from_left=lane.id > 0)
    outer_kind = _edge_kinds(section, lane.id, s, from_left=lane.id < 0)
    left, right = (inner, outer) if side < 0 else (outer, inner)
    kinds = np.stack([inner_kind, outer_kind] if side < 0 else [outer_kind, inner_kind], axis=1)
    order = slice(None)
    if not road.is_forward(lane.id):
        order, heading, left, right, kinds = slice(None, None, -1), heading + np.pi, right, left, kinds[:, ::-1]
    steps = np.maximum(np.hypot(*np.diff(points[order], axis=0).T), SMALLEST_STEP)
    return Strip(
        points=points[order],
        heading=np.unwrap(_wrapped(heading[order])),
        arc=np.concatenate([[0.0], np.cumsum(steps)]),
        width=width[order].astype(np.float32),
        elevation=height[order].astype(np.float32),
        left_edge=_shifted(place, left)[order].astype(np.float32),
        right_edge=_shifted(place, right)[order].astype(np.float32),
        edge_kind=kinds[order],
    )


def _width(section: LaneSection, lane: Lane, s: Floats64) -> tuple[Floats64, Floats64]:
    width, slope = lane.width.at(s - section.start, 0.0, section.end - section.start)
    return np.maximum(width, 0.0), np.where(width >= 0.0, slope, 0.0)


def _shifted(place: Place, t: Floats64) -> Floats64:
    return np.stack([place.x - t * np.sin(place.heading), place.y + t * np.cos(place.heading)], axis=1)


def _wrapped(angle: Floats64) -> Floats64:
    return np.arctan2(np.sin(angle), np.cos(angle))


def _edge_kinds(section: LaneSection, lane: int, s: Floats64, from_left: bool) -> Ints8:
    """The marking of a lane's outer border (of the centre line for lane 0) at each ``s``.

    Of a double marking the line nearer to the looking lane counts. Parts are named from the inside to the outside, at
    the centre line from left to right (ASAM OpenDRIVE 1.7, 11.9).

    Args:
        section: the section.
        lane: whose border.
        s: where [m].
        from_left: whether it is looked at from the side of larger t.
    """
    kinds = np.full(len(s), EDGE_NONE, np.int8)
    if lane not in section.lanes:
        return kinds
    first = from_left if lane <= 0 else not from_left
    for offset, name in sorted(section.lanes[lane].road_marks):
        part = name.split()[0 if first else -1] if name.split() else "none"
        kinds[s >= section.start + offset - 1e-9] = _MARKS.get(part, EDGE_SOLID)
    return kinds


_MARKS = {"none": EDGE_NONE, "broken": EDGE_BROKEN, "botts": EDGE_BROKEN, "dots": EDGE_BROKEN}
"""Parts of a marking's type; any other one (solid, curb, edge, grass, custom) is not to be crossed."""
