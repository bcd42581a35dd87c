"""Writes OpenDRIVE 1.6: drafts of roads and junctions in, XML out, the same bytes every time."""

from __future__ import annotations

from xml.etree import ElementTree

from envs.driving.maps.map_drafts import (
    Arm,
    Cubic,
    JunctionDraft,
    LaneDraft,
    Link,
    RoadDraft,
    SectionDraft,
    connecting_line,
    join,
)
from envs.driving.maps.map_pen import Pen


class MapWriter:
    """Collects drafts and writes the file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.roads: list[RoadDraft] = []
        self.junctions: list[JunctionDraft] = []
        self._ids = 0

    def new_id(self) -> int:
        """A number that nothing else in the map has."""
        self._ids += 1
        return self._ids

    def road(self, pen: Pen, sections: list[SectionDraft], speed: float | None = None) -> RoadDraft:
        """Add a road."""
        self.roads.append(RoadDraft(self.new_id(), pen, sections, speed=speed))
        return self.roads[-1]

    def junction(self) -> JunctionDraft:
        """Add a junction."""
        self.junctions.append(JunctionDraft(self.new_id()))
        return self.junctions[-1]

    def connect(
        self, junction: JunctionDraft, source: Arm, lane: int, target: Arm, target_lane: int, pen: Pen | None = None
    ) -> RoadDraft:
        """Lead the ``lane``-th incoming lane of one arm into the ``target_lane``-th outgoing one of another.

        Without a ``pen`` that has drawn the left edge of the way, crossing roads are joined by lines and an arc,
        parallel ones by a line or a cubic. The width changes evenly.
        """
        if pen is None:
            pen = connecting_line(source.edge(lane, incoming=True), target.edge(target_lane, incoming=False))
        width = source.width(lane, incoming=True)
        slope = (target.width(target_lane, incoming=False) - width) / pen.length
        from_id, to_id = source.lane_id(lane, incoming=True), target.lane_id(target_lane, incoming=False)
        only = LaneDraft((width, slope, 0.0, 0.0), mark="none", predecessor=from_id, successor=to_id)
        road = self.road(pen, [SectionDraft([only], centre_mark="none")])
        road.junction = junction.id
        road.predecessor = Link(source.road.id, source.contact)
        road.successor = Link(target.road.id, target.contact)
        junction.connections.append((source.road.id, road.id, from_id, -1))
        for arm in (source, target):
            join(arm, Link(junction.id))
        return road

    def text(self) -> str:
        """The whole file."""
        root = ElementTree.Element("OpenDRIVE")
        header = _add(root, "header", revMajor=1, revMinor=6, name=self.name, version=1, vendor="vlarl")
        _add(header, "geoReference").text = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +datum=WGS84 +units=m"
        for road in self.roads:
            _write_road(root, road)
        for junction in self.junctions:
            for number, signals in junction.controllers:
                controller = _add(root, "controller", id=number, name=f"controller {number}")
                for signal in signals:
                    _add(controller, "control", signalId=signal, type="0")
        for junction in self.junctions:
            _write_junction(root, junction)
        ElementTree.indent(root, space="")
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _number(value: float) -> str:
    """Nine digits: a micrometre on any of our maps, and no trace of the last bits of a sine."""
    return f"{value:.9g}" if abs(value) > 5e-10 else "0"


def _add(parent: ElementTree.Element, tag: str, **attributes: float | str) -> ElementTree.Element:
    texts = {name: value if isinstance(value, str) else _number(value) for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, texts)


def _add_cubic(parent: ElementTree.Element, tag: str, cubic: Cubic, **start: float) -> None:
    _add(parent, tag, **start, **dict(zip("abcd", cubic)))


def _write_road(root: ElementTree.Element, road: RoadDraft) -> None:
    element = _add(root, "road", name="", length=road.pen.length, id=road.id, junction=road.junction)
    link = _add(element, "link")
    for tag, target in (("predecessor", road.predecessor), ("successor", road.successor)):
        if target is not None and target.contact:
            _add(link, tag, elementType="road", elementId=target.target, contactPoint=target.contact)
        elif target is not None:
            _add(link, tag, elementType="junction", elementId=target.target)
    if road.speed is not None:
        kind = _add(element, "type", s=0, type="town" if road.speed <= 60 else "motorway")
        _add(kind, "speed", max=road.speed, unit="km/h")
    plan = _add(element, "planView")
    for stroke in road.pen.strokes:
        place = stroke.start
        geometry = _add(plan, "geometry", s=stroke.s, x=place.x, y=place.y, hdg=place.heading, length=stroke.length)
        _add(geometry, stroke.tag, **stroke.attributes)
    if road.elevation:
        profile = _add(element, "elevationProfile")
        for s, cubic in road.elevation:
            _add_cubic(profile, "elevation", cubic, s=s)
    lanes = _add(element, "lanes")
    for section in road.sections:
        _write_section(lanes, section)
    _write_furniture(element, road)


def _write_section(lanes: ElementTree.Element, section: SectionDraft) -> None:
    element = _add(lanes, "laneSection", s=section.s)
    if section.left:
        left = _add(element, "left")
        for place in reversed(range(len(section.left))):
            _write_lane(left, place + 1, section.left[place])
    centre = _add(_add(element, "center"), "lane", id=0, type="none", level="false")
    _add(centre, "roadMark", sOffset=0, type=section.centre_mark, weight="standard", color="white", width=0.12)
    right = _add(element, "right")
    for place, lane in enumerate(section.right):
        _write_lane(right, -(place + 1), lane)


def _write_lane(side: ElementTree.Element, number: int, lane: LaneDraft) -> None:
    element = _add(side, "lane", id=number, type=lane.type, level="false")
    link = _add(element, "link")
    if lane.predecessor is not None:
        _add(link, "predecessor", id=lane.predecessor)
    if lane.successor is not None:
        _add(link, "successor", id=lane.successor)
    _add_cubic(element, "width", lane.width, sOffset=0)
    _add(element, "roadMark", sOffset=0, type=lane.mark, weight="standard", color="white", width=0.12)


def _write_furniture(element: ElementTree.Element, road: RoadDraft) -> None:
    if road.crosswalks:
        objects = _add(element, "objects")
        for number, s, half in road.crosswalks:
            crosswalk = _add(objects, "object", id=number, type="crosswalk", s=s, t=0, zOffset=0, hdg=0)
            outline = _add(crosswalk, "outline")
            for u, v in ((1.5, half), (-1.5, half), (-1.5, -half), (1.5, -half)):
                _add(outline, "cornerLocal", u=u, v=v, z=0)
    if road.signals:
        signals = _add(element, "signals")
        for signal in road.signals:
            place = {"s": signal.s, "t": signal.t, "zOffset": 0.0, "orientation": "+" if signal.along else "-"}
            dynamic = "yes" if signal.type == "1000001" else "no"
            kind = {"dynamic": dynamic, "country": "OpenDRIVE", "type": signal.type, "subtype": "-1", "value": -1}
            item = _add(signals, "signal", id=signal.id, name="", **place, **kind, height=1, width=0.5)
            _add(item, "validity", fromLane=signal.lanes[0], toLane=signal.lanes[1])


def _write_junction(root: ElementTree.Element, junction: JunctionDraft) -> None:
    element = _add(root, "junction", id=junction.id, name=f"junction {junction.id}")
    for number, (incoming, connecting, start, end) in enumerate(junction.connections):
        connection = _add(
            element, "connection", id=number, incomingRoad=incoming, connectingRoad=connecting, contactPoint="start"
        )
        _add(connection, "laneLink", **{"from": start, "to": end})
    for sequence, (number, _) in enumerate(junction.controllers):
        _add(element, "controller", id=number, type="0", sequence=sequence)
