"""Reads OpenDRIVE 1.4 to 1.8 files into the records of ``opendrive_types``.

Read are roads with plan view, elevation, lane sections, links, speed limits, signals, crosswalks and stop lines, and
junctions with connections, lane links and light controllers; everything else is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from envs.driving.maps.opendrive_geometry import piecewise_cubic, reference_line
from envs.driving.maps.opendrive_objects import read_objects, read_signals, speed_value
from envs.driving.maps.opendrive_types import Connection, Junction, Lane, LaneSection, OpenDrive, Road, RoadLink
from envs.driving.maps.xml_reader import Element, parse_xml, read_bytes

T = TypeVar("T")


def read_opendrive(path: str | Path) -> OpenDrive:
    """Read a map.

    Raises:
        MapError: the file is missing, truncated, malformed, or describes something that cannot be; the message names
            file, line, road and element.
    """
    return parse_opendrive(read_bytes(path), Path(path).name)


def parse_opendrive(content: bytes, file: str) -> OpenDrive:
    """The same for bytes in memory; ``file`` is the name that errors give."""
    root = parse_xml(content, file)
    if root.tag != "OpenDRIVE":
        raise root.error("is the outermost element; expected <OpenDRIVE>")
    # Some exporters number the signals of every road anew; a reference then means the first of its number.
    signal_elements = {element.text("id"): element for element in reversed(root.all("road/signals/signal"))}
    roads = _by_id(root.all("road"), lambda element: _road(element, signal_elements))
    junctions = _by_id(root.all("junction"), _junction)
    controllers = _by_id(
        root.all("controller"), lambda element: tuple(c.text("signalId") for c in element.all("control"))
    )
    return OpenDrive(file, roads, junctions, controllers)


def _by_id(elements: list[Element], read: Callable[[Element], T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for element in elements:
        name = element.text("id")
        if name in found:
            raise element.error(f"id {name!r} occurs twice; ids are unique within a file")
        found[name] = read(element)
    return found


def _road(element: Element, signals: dict[str, Element]) -> Road:
    length = element.number("length")
    if length <= 0:
        raise element.error(f"length={length} must be above 0")
    junction = element.text("junction", "-1")
    return Road(
        id=element.text("id"),
        length=length,
        junction=None if junction == "-1" else junction,
        left_hand_traffic=element.text("rule", "RHT") == "LHT",
        predecessor=_road_link(element.first("link/predecessor")),
        successor=_road_link(element.first("link/successor")),
        line=reference_line(element.need("planView"), length),
        elevation=piecewise_cubic(element.all("elevationProfile/elevation"), "s"),
        lane_offset=piecewise_cubic(element.all("lanes/laneOffset"), "s"),
        sections=_sections(element.need("lanes"), length),
        speeds=_road_speeds(element),
        signals=read_signals(element, signals),
        objects=read_objects(element),
        element=element,
    )


def _road_link(element: Element | None) -> RoadLink | None:
    if element is None:
        return None
    kind = element.text("elementType")
    if kind not in ("road", "junction"):
        raise element.error(f"elementType={kind!r}; expected 'road' or 'junction'")
    contact = _contact(element) if kind == "road" else ""
    return RoadLink(element.text("elementId"), kind == "junction", contact)


def _contact(element: Element) -> str:
    contact = element.text("contactPoint")
    if contact not in ("start", "end"):
        raise element.error(f"contactPoint={contact!r}; expected 'start' or 'end'")
    return contact


def _road_speeds(road: Element) -> tuple[tuple[float, float], ...]:
    speeds = []
    for kind in road.all("type"):
        limit = kind.first("speed")
        value = speed_value(limit) if limit is not None else None
        if value is not None:
            speeds.append((kind.number("s", 0.0), value))
    return tuple(sorted(speeds))


def _sections(lanes: Element, length: float) -> tuple[LaneSection, ...]:
    elements = lanes.all("laneSection")
    if not elements:
        raise lanes.error("has no <laneSection>; every road needs at least one")
    starts = [element.number("s") for element in elements]
    for element, before, start in zip(elements[1:], starts, starts[1:]):
        if start <= before:
            raise element.error(f"s={start} does not lie behind the section before it (s={before})")
    if starts[0] < 0:
        raise elements[0].error(f"s={starts[0]} must not be below 0")
    if not starts[-1] < length:
        raise elements[-1].error(f"s={starts[-1]} does not lie on the road, which is {length} m long")
    ends = [*starts[1:], length]
    return tuple(LaneSection(s, end, _lanes(element)) for element, s, end in zip(elements, starts, ends))


def _lanes(section: Element) -> dict[int, Lane]:
    lanes: dict[int, Lane] = {}
    for side, sign in (("left", 1), ("center", 0), ("right", -1)):
        for element in section.all(f"{side}/lane"):
            lane = element.integer("id")
            if (lane > 0) - (lane < 0) != sign:
                raise element.error(
                    f"id={lane} inside <{side}>; left lanes are above 0, right ones below, the centre is 0"
                )
            if lane in lanes:
                raise element.error(f"id={lane} occurs twice in one section")
            lanes[lane] = _lane(element, lane)
    for lane in lanes:
        inner = lane - (lane > 0) + (lane < 0)
        if inner != 0 and inner not in lanes:
            raise section.error(f"has a lane {lane} but no lane {inner}; ids are consecutive from the centre")
    return dict(sorted(lanes.items()))


def _lane(element: Element, lane: int) -> Lane:
    widths = element.all("width")
    kind = element.text("type")
    if lane != 0 and not widths and element.first("border") is not None:
        raise element.error("is given by <border>, which is not read; give its <width> instead")
    drivable = Lane(lane, kind, piecewise_cubic(widths, "sOffset"), (), (), (), None).drivable
    if drivable and not widths:
        raise element.error(f"lane {lane} of type {kind!r} has no <width>")
    limit = element.first("speed")
    return Lane(
        id=lane,
        type=kind,
        width=piecewise_cubic(widths, "sOffset"),
        predecessors=tuple(link.integer("id") for link in element.all("link/predecessor")),
        successors=tuple(link.integer("id") for link in element.all("link/successor")),
        road_marks=tuple((mark.number("sOffset", 0.0), mark.text("type", "none")) for mark in element.all("roadMark")),
        speed=speed_value(limit) if limit is not None else None,
    )


def _junction(element: Element) -> Junction:
    connections = []
    for connection in element.all("connection"):
        # A direct junction (1.7) joins the incoming road to a normal road, which it calls linkedRoad.
        name = "connectingRoad" if "connectingRoad" in connection.attributes else "linkedRoad"
        if connection.text("type", "default") == "virtual":
            raise connection.error("virtual connections are not read; give a connecting road")
        links = tuple((link.integer("from"), link.integer("to")) for link in connection.all("laneLink"))
        connections.append(
            Connection(connection.text("incomingRoad"), connection.text(name), _contact(connection), links)
        )
    controllers = sorted(element.all("controller"), key=lambda c: c.integer("sequence", 0))
    return Junction(element.text("id"), tuple(connections), tuple(c.text("id") for c in controllers))
