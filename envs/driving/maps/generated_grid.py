"""A town on a grid: blocks of two-lane streets, an avenue of four lanes, traffic lights, stop signs, crosswalks."""

from __future__ import annotations

import math

from envs.driving.maps.map_drafts import Arm, JunctionDraft, LaneDraft, RoadDraft, SectionDraft, SignalDraft
from envs.driving.maps.map_pen import Pen, Pose
from envs.driving.maps.map_writer import MapWriter

LANE = 3.5
WALK = 2.0
JUNCTION = 14.0
"""Metres from the middle of a junction to where its roads begin."""
CROSSWALK = 2.5
STOP = 5.0
"""Metres before the junction: middle of the crosswalk, and where cars stop."""
SPEED = 50.0
EAST, NORTH, WEST, SOUTH = range(4)


def grid_town(columns: int = 4, rows: int = 3, block: float = 90.0) -> str:
    """A town of ``columns`` x ``rows`` junctions, ``block`` metres apart; the middle row is the avenue.

    Junctions have traffic lights, one phase per approach, and stop signs for the north-south streets in turn; the
    town's corners have neither.
    """
    writer = MapWriter(f"grid_town_{columns}x{rows}")
    arms: dict[tuple[int, int], dict[int, Arm]] = {(i, j): {} for i in range(columns) for j in range(rows)}
    for i in range(columns):
        for j in range(rows):
            if i + 1 < columns:
                lanes = 2 if j == rows // 2 else 1
                street = _street(writer, Pose(i * block, j * block, 0.0), block, lanes)
                arms[i, j][EAST], arms[i + 1, j][WEST] = street.arm("start"), street.arm("end")
            if j + 1 < rows:
                street = _street(writer, Pose(i * block, j * block, math.pi / 2), block, 1)
                arms[i, j][NORTH], arms[i, j + 1][SOUTH] = street.arm("start"), street.arm("end")
    for (i, j), around in arms.items():
        junction = writer.junction()
        for side, source in sorted(around.items()):
            for lane, other, target_lane in _ways(side, source, around):
                writer.connect(junction, source, lane, around[other], target_lane)
        if len(around) > 2:
            _regulate(writer, junction, around, lights=(i + j) % 2 == 1)
    return writer.text()


def _street(writer: MapWriter, middle: Pose, block: float, lanes: int) -> RoadDraft:
    """A street from one junction's middle to the next, with sidewalks."""

    def side() -> list[LaneDraft]:
        inner = [LaneDraft((LANE, 0.0, 0.0, 0.0), mark="broken") for _ in range(lanes - 1)]
        return [*inner, LaneDraft((LANE, 0.0, 0.0, 0.0)), LaneDraft((WALK, 0.0, 0.0, 0.0), "sidewalk", "none")]

    pen = Pen(middle.ahead(JUNCTION)).line(block - 2 * JUNCTION)
    centre = "broken" if lanes == 1 else "solid solid"
    return writer.road(pen, [SectionDraft(side(), side(), centre_mark=centre)], SPEED)


def _ways(side: int, source: Arm, around: dict[int, Arm]) -> list[tuple[int, int, int]]:
    """Ways through a junction: (incoming lane, arm to leave by, outgoing lane).

    Left turns start from the innermost lane and end on it, right turns from the outermost; straight on, lanes are kept.
    """
    incoming = len(source.lanes(incoming=True))
    ways = []
    for other, target in sorted(around.items()):
        outgoing = len(target.lanes(incoming=False))
        turn = (other - side) % 4
        if turn == 2:
            ways += [(lane, other, lane) for lane in range(min(incoming, outgoing))]
        elif turn == 1:  # the arm next to ours anticlockwise: to the right for who comes in by ours
            ways.append((incoming - 1, other, outgoing - 1))
        elif turn == 3:
            ways.append((0, other, 0))
    return ways


def _regulate(writer: MapWriter, junction: JunctionDraft, around: dict[int, Arm], lights: bool) -> None:
    for side, arm in sorted(around.items()):
        at_end = arm.contact == "end"
        lanes = len(arm.lanes(incoming=True))
        half = lanes * LANE + WALK
        length = arm.road.pen.length
        arm.road.crosswalks.append((writer.new_id(), length - CROSSWALK if at_end else CROSSWALK, half))
        if not lights and side in (EAST, WEST):
            continue
        ids = (-lanes, -1) if at_end else (1, lanes)
        kind = "1000001" if lights else "206"
        s, t = (length - STOP, -half) if at_end else (STOP, half)
        signal = SignalDraft(writer.new_id(), kind, s, t, at_end, ids)
        arm.road.signals.append(signal)
        if lights:
            junction.controllers.append((writer.new_id(), [signal.id]))
