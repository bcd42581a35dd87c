"""Where cars stop: the lines of traffic lights and stop signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.driving.maps.crosswalks import outline
from envs.driving.maps.lane_graph import STOP_SIGN_KIND, TRAFFIC_LIGHT
from envs.driving.maps.lane_links import Key
from envs.driving.maps.lane_sampling import Strip
from envs.driving.maps.opendrive_types import STOP_SIGN, TRAFFIC_LIGHTS, OpenDrive, Road, Signal

APPROACH = 15.0
"""Metres: a signal this close behind the start of a lane in a junction guards that start; a painted stop line this
close before a junction belongs to its signals."""
SETBACK = 1.0
"""Metres before a junction at which cars stop where no line is painted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLine:
    """One entry of the ``stop_*`` arrays of ``LaneGraph``."""

    lane: int
    arc: float
    kind: int
    group: int
    junction: int


@dataclass(frozen=True, slots=True)
class _Guard:
    """A signal on a lane: its kind, where along the lane it stands, and a light's controller (or its own id)."""

    lane: int
    arc: float
    kind: int
    group: str


def stop_lines(
    drive: OpenDrive,
    lanes: Sequence[tuple[Road, Key]],
    strips: Sequence[Strip],
    junction: Sequence[int],
    successors: Sequence[set[int]],
    predecessors: Sequence[set[int]],
) -> list[StopLine]:
    """The stop lines of a map.

    Exporters put signals on the lanes inside a junction. If all lanes that a lane leads to inside the junction wait for
    the same signal, its line is put on that lane, before the junction (at a painted stop line where there is one); else
    every lane inside keeps its own line at its start.

    Args:
        drive: the map file.
        lanes: road and key of each lane.
        strips: the sampled lanes.
        junction: id per lane, -1 outside.
        successors: of each lane.
        predecessors: of each lane.
    """
    numbers = {key: lane for lane, (_, key) in enumerate(lanes)}
    controllers = {signal: name for name, signals in drive.controllers.items() for signal in signals}
    guards = _guards(drive, numbers, strips, controllers)
    by_lane: dict[tuple[int, int], str] = {(g.lane, g.kind): g.group for g in guards}
    painted = {road.id: _painted(road) for road in drive.roads.values()}
    lines: dict[tuple[int, int], tuple[float, int, str]] = {}
    for guard in guards:
        if junction[guard.lane] < 0:
            ahead = {junction[other] for other in successors[guard.lane]} - {-1}
            lines[guard.lane, guard.kind] = (guard.arc, min(ahead, default=-1), guard.group)
            continue
        entered = [p for p in sorted(predecessors[guard.lane]) if junction[p] != junction[guard.lane]]
        together = [p for p in entered if _share_signal(p, guard, junction, successors, by_lane)]
        for lane in together:
            arc = _before_junction(strips[lane], painted[lanes[lane][0].id])
            lines[lane, guard.kind] = (arc, junction[guard.lane], guard.group)
        if len(together) < len(entered) or not entered:
            lines[guard.lane, guard.kind] = (guard.arc, junction[guard.lane], guard.group)
    phases = _phase_numbers(drive, lines)
    return [
        StopLine(lane=lane, arc=arc, kind=kind, group=phases.get((number, group), -1), junction=number)
        for (lane, kind), (arc, number, group) in sorted(lines.items())
    ]


def _guards(
    drive: OpenDrive, numbers: Mapping[Key, int], strips: Sequence[Strip], controllers: Mapping[str, str]
) -> list[_Guard]:
    found = []
    for road in drive.roads.values():
        for signal in road.signals:
            if signal.type not in TRAFFIC_LIGHTS and signal.type != STOP_SIGN:
                continue
            kind = STOP_SIGN_KIND if signal.type == STOP_SIGN else TRAFFIC_LIGHT
            for key, along in guarded_lanes(road, signal):
                if key in numbers:
                    strip = strips[numbers[key]]
                    arc = float(np.clip(along, 0.0, strip.arc[-1]))
                    group = controllers.get(signal.id, signal.id) if kind == TRAFFIC_LIGHT else ""
                    found.append(_Guard(numbers[key], arc, kind, group))
    return found


def guarded_lanes(road: Road, signal: Signal) -> list[tuple[Key, float]]:
    """The lanes a signal is valid for, and how far along each it stands."""
    section = max((n for n, part in enumerate(road.sections) if part.start <= signal.s), default=0)
    part = road.sections[section]
    found = []
    for lane in part.lanes.values():
        forward = road.is_forward(lane.id)
        if lane.drivable and signal.valid_for(lane.id, forward):
            found.append(((road.id, section, lane.id), signal.s - part.start if forward else part.end - signal.s))
    return found


def _share_signal(
    lane: int,
    guard: _Guard,
    junction: Sequence[int],
    successors: Sequence[set[int]],
    by_lane: Mapping[tuple[int, int], str],
) -> bool:
    inside = [other for other in successors[lane] if junction[other] == junction[guard.lane]]
    return guard.arc <= APPROACH and all(by_lane.get((other, guard.kind)) == guard.group for other in inside)


def _painted(road: Road) -> list[np.ndarray]:
    return [outline(road, thing) for thing in road.objects if thing.kind == "stop_line"]


def _before_junction(strip: Strip, painted: Sequence[np.ndarray]) -> float:
    length = float(strip.arc[-1])
    best = max(length - SETBACK, 0.5 * length)
    for corners in painted:
        middle = 0.5 * (corners.min(axis=0) + corners.max(axis=0))
        reach = 0.5 * float(np.hypot(*(corners.max(axis=0) - corners.min(axis=0))))
        distance = np.hypot(*(strip.points - middle).T)
        at = int(np.argmin(distance))
        arc = float(strip.arc[at])
        # The line's middle may lie on another lane of the same approach: within its half length this lane is under it.
        if distance[at] <= reach and length - APPROACH <= arc < best:
            best = arc
    return best


def _phase_numbers(
    drive: OpenDrive, lines: Mapping[tuple[int, int], tuple[float, int, str]]
) -> dict[tuple[int, str], int]:
    """(junction, controller or light) -> number of its phase, from 0 without gaps, in the junction's own order."""
    order = {name: i for item in drive.junctions.values() for i, name in enumerate(item.controllers)}
    groups: dict[int, set[str]] = {}
    for (_, kind), (_, number, group) in lines.items():
        if kind == TRAFFIC_LIGHT:
            groups.setdefault(number, set()).add(group)
    return {
        (number, group): phase
        for number, names in groups.items()
        for phase, group in enumerate(sorted(names, key=lambda name: (order.get(name, len(order)), name)))
    }
