"""What an OpenDRIVE file says, as plain frozen records in SI units (metres, radians, metres per second).

Names follow ASAM OpenDRIVE 1.7; only what a lane graph needs is kept. Superelevation and lane height are left out:
the driving world is flat with an elevation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envs.driving.maps.reference_line import PiecewiseCubic, ReferenceLine
from envs.driving.maps.xml_reader import Element

DRIVABLE_TYPES = frozenset({"driving", "entry", "exit", "onRamp", "offRamp", "connectingRamp", "slipLane"})
"""Lane types that cars drive on: the plain one and those of motorway ramps."""

TRAFFIC_LIGHTS = frozenset({"1000001", "1000007", "1000009", "1000010", "1000011", "1000012", "1000013", "1000014"})
"""Signal types of lights that stop cars (1000002 is for pedestrians)."""
STOP_SIGN = "206"
SPEED_SIGN = "274"


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane of a section: negative ids lie right of the reference line, positive ones left, 0 is the line itself."""

    id: int
    type: str
    width: PiecewiseCubic
    """Over s - s of the section [m]."""
    predecessors: tuple[int, ...]
    successors: tuple[int, ...]
    road_marks: tuple[tuple[float, str], ...]
    """(distance from the section's start, type such as ``broken`` or ``solid broken``) of the outer border."""
    speed: float | None
    """The lane's own limit at its start [m/s]."""

    @property
    def drivable(self) -> bool:
        """Whether cars drive on it."""
        return self.id != 0 and self.type in DRIVABLE_TYPES


@dataclass(frozen=True, slots=True)
class LaneSection:
    """A stretch of road on which the number of lanes does not change."""

    start: float
    end: float
    lanes: Mapping[int, Lane]
    """By id, rising; the centre lane 0 included."""


@dataclass(frozen=True, slots=True)
class RoadLink:
    """What a road's start or end is joined to."""

    target: str
    """Id of the road or junction."""
    is_junction: bool
    contact: str
    """``start`` or ``end`` of the target road; empty for a junction."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A sign or light that applies on a road: its own element, or a reference to one that stands elsewhere."""

    id: str
    type: str
    s: float
    orientation: str
    """``+``: for traffic along s, ``-``: against it, otherwise both."""
    lanes: tuple[tuple[int, int], ...]
    """Ranges of lane ids (from, to) it is valid for; none: all lanes of its orientation."""
    speed: float | None
    """The value of a speed sign [m/s]."""

    def valid_for(self, lane: int, forward: bool) -> bool:
        """Whether it is meant for a lane whose traffic runs along s (``forward``) or against it.

        Explicit lanes count before the orientation: some exporters give as the latter the side that the sign faces.
        """
        if self.lanes:
            return any(min(pair) <= lane <= max(pair) for pair in self.lanes)
        return self.orientation != ("-" if forward else "+")


@dataclass(frozen=True, slots=True)
class RoadObject:
    """A crosswalk or a painted stop line."""

    kind: str
    """``crosswalk`` or ``stop_line``."""
    s: float
    t: float
    heading: float
    """Relative to the road [rad]."""
    corners: tuple[tuple[float, float], ...]
    """In the object's own frame (u along its heading, v to the left) [m]."""
    corners_along_road: tuple[tuple[float, float], ...]
    """(s, t) instead, where the file gives the outline so."""


@dataclass(frozen=True, slots=True)
class Road:
    """One road."""

    id: str
    length: float
    junction: str | None
    """The junction this road runs through, None outside junctions."""
    left_hand_traffic: bool
    predecessor: RoadLink | None
    successor: RoadLink | None
    line: ReferenceLine
    elevation: PiecewiseCubic
    lane_offset: PiecewiseCubic
    sections: tuple[LaneSection, ...]
    speeds: tuple[tuple[float, float], ...]
    """(s, limit [m/s]) from the road's types, rising in s."""
    signals: tuple[Signal, ...]
    objects: tuple[RoadObject, ...]
    element: Element
    """Where the file describes it, for errors."""

    def is_forward(self, lane: int) -> bool:
        """Whether traffic on this lane runs along s."""
        return (lane < 0) != self.left_hand_traffic


@dataclass(frozen=True, slots=True)
class Connection:
    """One way through a junction."""

    incoming: str
    connecting: str
    contact: str
    """The end of the connecting road at which the incoming road is joined: ``start`` or ``end``."""
    lane_links: tuple[tuple[int, int], ...]
    """(lane of the incoming road, lane of the connecting road)."""


@dataclass(frozen=True, slots=True)
class Junction:
    """The connections of one junction."""

    id: str
    connections: tuple[Connection, ...]
    controllers: tuple[str, ...]
    """Ids of its light controllers in the order of their phases."""


@dataclass(frozen=True, slots=True)
class OpenDrive:
    """A whole map; mappings keep the order of the file."""

    file: str
    roads: Mapping[str, Road]
    junctions: Mapping[str, Junction]
    controllers: Mapping[str, tuple[str, ...]]
    """Controller id -> ids of the signals that it switches together."""
