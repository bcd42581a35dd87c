"""A roundabout with four arms that two loop roads join in pairs: no lane ends anywhere."""

from __future__ import annotations

import math

from envs.driving.maps.map_drafts import LaneDraft, RoadDraft, SectionDraft
from envs.driving.maps.map_pen import Pen, Pose
from envs.driving.maps.map_writer import MapWriter

RADIUS = 20.0
"""Of the ring's inner edge."""
RING_LANE = 4.5
ARM = 45.0
"""Metres from the middle to where the arms begin."""
LANE = 3.5
MOUTH = math.radians(32.0)
"""Angle between an arm and where it meets the ring, to both sides."""
LOOP = 60.0
"""Metres of straight arm before the loop bends."""
RING_SPEED, SPEED = 30.0, 50.0


def roundabout() -> str:
    """One lane around, anticlockwise; traffic on the ring goes first."""
    writer = MapWriter("roundabout")
    ring = [_ring_piece(writer, quarter * math.pi / 2) for quarter in range(4)]
    east = _loop(writer, 0.0)
    west = _loop(writer, math.pi)
    # Arms by quarter: each loop leaves by one arm and comes back by the next.
    arms = [east.arm("start"), east.arm("end"), west.arm("start"), west.arm("end")]
    for quarter, arm in enumerate(arms):
        junction = writer.junction()
        ring_end, ring_start = ring[quarter - 1].arm("end"), ring[quarter].arm("start")
        angle = quarter * math.pi / 2
        around = Pen(_on_ring(angle - MOUTH)).arc(2 * MOUTH, RADIUS)
        writer.connect(junction, ring_end, 0, ring_start, 0, around)
        leaving = Pen(_on_ring(angle - MOUTH)).curve_to(arm.edge(0, incoming=False))
        writer.connect(junction, ring_end, 0, arm, 0, leaving)
        arriving = Pen(arm.edge(0, incoming=True)).curve_to(_on_ring(angle + MOUTH))
        writer.connect(junction, arm, 0, ring_start, 0, arriving)
    return writer.text()


def _on_ring(angle: float) -> Pose:
    """Where the ring's lane has its left edge, looking along it; the lane lies outside of that."""
    return Pose(RADIUS * math.cos(angle), RADIUS * math.sin(angle), angle + math.pi / 2)


def _ring_piece(writer: MapWriter, angle: float) -> RoadDraft:
    pen = Pen(_on_ring(angle + MOUTH)).arc(math.pi / 2 - 2 * MOUTH, RADIUS)
    return writer.road(pen, [SectionDraft([LaneDraft((RING_LANE, 0.0, 0.0, 0.0))], centre_mark="solid")], RING_SPEED)


def _loop(writer: MapWriter, angle: float) -> RoadDraft:
    """A two-lane road out by one arm, around through 270 degrees, and back by the next arm."""
    pen = Pen(Pose(0.0, 0.0, angle).ahead(ARM)).line(LOOP)
    pen.arc(1.5 * math.pi, ARM + LOOP).line(LOOP)
    side = [LaneDraft((LANE, 0.0, 0.0, 0.0))]
    return writer.road(pen, [SectionDraft(side, [LaneDraft((LANE, 0.0, 0.0, 0.0))])], SPEED)
