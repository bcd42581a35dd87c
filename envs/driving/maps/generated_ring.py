"""A motorway ring of two lanes with an interchange on each side, and a local road outside that joins the two."""

from __future__ import annotations

import math

from envs.driving.maps.map_drafts import LaneDraft, RoadDraft, SectionDraft, SignalDraft, join_roads
from envs.driving.maps.map_pen import Pen, Pose
from envs.driving.maps.map_writer import MapWriter

LANE = 3.6
RADIUS, EASE = 90.0, 60.0
"""Of the ring's ends, and the length of the clothoids that lead in and out."""
TAPER, SLOWING = 60.0, 120.0
"""Metres over which the exit lane opens, and for which exit and entry lanes run along."""
GAP, BETWEEN, MERGE = 24.0, 240.0, 60.0
"""Metres of motorway: beside an exit or entry, from one to the other, and where the entry lane merges."""
STRAIGHT = TAPER + SLOWING + GAP + BETWEEN + GAP + SLOWING + MERGE
DISTANCE, JUNCTION = 60.0, 14.0
"""From the motorway's edge to the local junction, and from its middle to its roads."""
CORNER, SIDE, SETBACK = 40.0, 420.0, 30.0
"""The local road: radius of its bends, its straights, its distance from the junctions."""
STOP = 2.0
FAST, RAMP, LOCAL = 100.0, 60.0, 50.0
"""km/h"""


def ring_road() -> str:
    """The map: one half, and the same half turned by 180 degrees."""
    writer = MapWriter("ring_road")
    width = _bend(Pose(0.0, 0.0, 0.0)).pose.y
    local = _local_road(writer, 0.5 * width)
    halves = [_half(writer, 0.0, width, local, "start"), _half(writer, math.pi, width, local, "end")]
    join_roads(halves[0][1], halves[1][0])
    join_roads(halves[1][1], halves[0][0])
    return writer.text()


def _bend(start: Pose) -> Pen:
    """Half a turn to the left."""
    curvature = 1.0 / RADIUS
    pen = Pen(start).spiral(EASE, 0.0, curvature).arc(math.pi - EASE * curvature, RADIUS)
    return pen.spiral(EASE, curvature, 0.0)


def _lanes(count: int) -> list[LaneDraft]:
    return [LaneDraft((LANE, 0.0, 0.0, 0.0), mark="broken" if n + 1 < count else "solid") for n in range(count)]


def _carriageway(writer: MapWriter, pen: Pen, lanes: int, speed: float = FAST) -> RoadDraft:
    """One-way: the reference line is its left edge."""
    return writer.road(pen, [SectionDraft(_lanes(lanes), centre_mark="solid")], speed)


def _half(
    writer: MapWriter, angle: float, width: float, local: RoadDraft, local_end: str
) -> tuple[RoadDraft, RoadDraft]:
    """A straight with its interchange, and the bend behind it; returns the first and the last road."""
    middle = Pose(0.0, 0.0, angle).left(-0.5 * width)
    before = _exit_road(writer, middle.ahead(-0.5 * STRAIGHT))
    between = _carriageway(writer, Pen(before.pen.pose.ahead(GAP)).line(BETWEEN), 2)
    after = _carriageway(writer, Pen(between.pen.pose.ahead(GAP)).line(SLOWING), 3)
    bend = _carriageway(writer, _bend(after.pen.pose.ahead(MERGE)), 2)
    crossing = middle.left(-_crossing_offset())
    leave = before.arm("end").edge(2, incoming=True).ahead(1.5 * GAP).left(-0.15 * GAP).turned(-0.2)
    off = _carriageway(writer, Pen(leave).curve_to(crossing.ahead(-JUNCTION).left(0.5 * LANE)), 1, RAMP)
    enter = after.arm("start").edge(2, incoming=False).ahead(-1.5 * GAP).left(-0.15 * GAP).turned(0.2)
    on = _carriageway(writer, Pen(crossing.ahead(JUNCTION).left(0.5 * LANE)).curve_to(enter), 1, RAMP)
    exits, entries, merge, crossroads = (writer.junction() for _ in range(4))
    for junction, source, target in ((exits, before, between), (entries, between, after), (merge, after, bend)):
        for lane in range(2):
            writer.connect(junction, source.arm("end"), lane, target.arm("start"), lane)
    side = local.arm(local_end)
    writer.connect(exits, before.arm("end"), 2, off.arm("start"), 0, _shallow(before.arm("end").edge(2, True), leave))
    writer.connect(entries, on.arm("end"), 0, after.arm("start"), 2, _shallow(enter, after.arm("start").edge(2, False)))
    writer.connect(merge, after.arm("end"), 2, bend.arm("start"), 1)
    writer.connect(crossroads, off.arm("end"), 0, on.arm("start"), 0)
    writer.connect(crossroads, off.arm("end"), 0, side, 0)
    writer.connect(crossroads, side, 0, on.arm("start"), 0)
    return before, bend


def _shallow(start: Pose, end: Pose) -> Pen:
    return Pen(start).curve_to(end)


def _crossing_offset() -> float:
    return 3 * LANE + DISTANCE


def _exit_road(writer: MapWriter, start: Pose) -> RoadDraft:
    """Two lanes on which a third opens to the right."""
    opening = (0.0, 0.0, 3 * LANE / TAPER**2, -2 * LANE / TAPER**3)
    first, second = _lanes(3), _lanes(3)
    first[2].width = opening
    for place, (lane, following) in enumerate(zip(first, second)):
        lane.successor = following.predecessor = -(place + 1)
    sections = [SectionDraft(first, centre_mark="solid"), SectionDraft(second, s=TAPER, centre_mark="solid")]
    return writer.road(Pen(start).line(TAPER + SLOWING), sections, FAST)


def _local_road(writer: MapWriter, half_width: float) -> RoadDraft:
    """Out of the southern junction, around the eastern end of the ring, into the northern one; stop signs at both."""
    far = half_width + _crossing_offset() + JUNCTION
    pen = Pen(Pose(0.0, -far, -math.pi / 2)).line(SETBACK)
    for length in (SIDE, 2 * far + 2 * SETBACK, SIDE, SETBACK):
        pen.arc(math.pi / 2, CORNER).line(length)
    road = writer.road(pen, [SectionDraft(_lanes(1), _lanes(1))], LOCAL)
    for s, t, along, lane in ((STOP, LANE + 1, False, 1), (pen.length - STOP, -LANE - 1, True, -1)):
        road.signals.append(SignalDraft(writer.new_id(), "206", s, t, along, (lane, lane)))
    return road
