"""Drafts of roads, lanes and junctions, from which ``map_writer`` makes OpenDRIVE."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from envs.driving.maps.map_pen import Pen, Pose

Cubic = tuple[float, float, float, float]


@dataclass
class LaneDraft:
    """One lane; its id follows from its place in the section."""

    width: Cubic = (3.5, 0.0, 0.0, 0.0)
    """Coefficients over the distance from the section's start."""
    type: str = "driving"
    mark: str = "solid"
    """Of the outer border."""
    predecessor: int | None = None
    successor: int | None = None


@dataclass
class SectionDraft:
    """A lane section; lanes are listed from the centre outwards."""

    right: list[LaneDraft]
    left: list[LaneDraft] = field(default_factory=list)
    s: float = 0.0
    centre_mark: str = "broken"


@dataclass(frozen=True)
class Link:
    """What a road's end is joined to: a road at one of its ends, or a junction (``contact`` empty)."""

    target: int
    contact: str = ""


@dataclass(frozen=True)
class SignalDraft:
    """A light or sign beside the road."""

    id: int
    type: str
    s: float
    t: float
    along: bool
    """Whether it is for traffic along s."""
    lanes: tuple[int, int]


@dataclass
class RoadDraft:
    """One road; ``predecessor`` and ``successor`` are filled in as the map grows."""

    id: int
    pen: Pen
    sections: list[SectionDraft]
    junction: int = -1
    speed: float | None = None
    """km/h"""
    predecessor: Link | None = None
    successor: Link | None = None
    elevation: list[tuple[float, Cubic]] = field(default_factory=list)
    signals: list[SignalDraft] = field(default_factory=list)
    crosswalks: list[tuple[int, float, float]] = field(default_factory=list)
    """(id, s, half the way across) of crosswalks that are 3 m wide."""

    def arm(self, contact: str) -> Arm:
        """One end of the road, as a junction sees it."""
        return Arm(self, contact)


@dataclass(frozen=True)
class Arm:
    """A road's end at a junction."""

    road: RoadDraft
    contact: str

    def lanes(self, incoming: bool) -> list[LaneDraft]:
        """The driving lanes that lead into (or out of) the junction, from the centre outwards."""
        section = self.road.sections[-1 if self.contact == "end" else 0]
        on_right = incoming == (self.contact == "end")
        return [lane for lane in (section.right if on_right else section.left) if lane.type == "driving"]

    def lane_id(self, place: int, incoming: bool) -> int:
        """The id of the ``place``-th of them (from 0)."""
        return -(place + 1) if incoming == (self.contact == "end") else place + 1

    def width(self, place: int, incoming: bool) -> float:
        """Width of that lane where the road ends."""
        section = self.road.sections[-1 if self.contact == "end" else 0]
        a, b, c, d = self.lanes(incoming)[place].width
        x = self.road.pen.length - section.s if self.contact == "end" else 0.0
        return a + x * (b + x * (c + x * d))

    def edge(self, place: int, incoming: bool) -> Pose:
        """The left edge of that lane where the road ends, looking in the direction of travel."""
        end = self.road.pen.pose if self.contact == "end" else self.road.pen.start
        pose = end if incoming == (self.contact == "end") else end.turned(math.pi)
        return pose.left(-sum(self.width(inner, incoming) for inner in range(place)))


@dataclass
class JunctionDraft:
    """A junction with its connections and light controllers."""

    id: int
    connections: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(incoming road, connecting road, lane of the incoming road, lane of the connecting road)"""
    controllers: list[tuple[int, list[int]]] = field(default_factory=list)
    """(id, signals) in the order of the phases."""


def connecting_line(start: Pose, end: Pose) -> Pen:
    """A way between two poses: straight where they are in line, else a turn, or a cubic between parallel ones."""
    pen = Pen(start)
    dx, dy, cos, sin = end.x - start.x, end.y - start.y, math.cos(start.heading), math.sin(start.heading)
    if abs(math.sin(end.heading - start.heading)) > 1e-6:
        return pen.turn_to(end)
    return pen.line(dx * cos + dy * sin) if abs(dy * cos - dx * sin) < 1e-6 else pen.curve_to(end)


def join(arm: Arm, link: Link) -> None:
    """Say what lies beyond a road's end."""
    if arm.contact == "start":
        arm.road.predecessor = link
    else:
        arm.road.successor = link


def join_roads(first: RoadDraft, second: RoadDraft) -> None:
    """Let ``second`` begin where ``first`` ends, lane by lane."""
    first.successor, second.predecessor = Link(second.id, "start"), Link(first.id, "end")
    for sign, before, after in (
        (-1, first.sections[-1].right, second.sections[0].right),
        (1, first.sections[-1].left, second.sections[0].left),
    ):
        for place, (one, other) in enumerate(zip(before, after)):
            one.successor = other.predecessor = sign * (place + 1)
