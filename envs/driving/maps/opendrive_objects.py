"""Reads speed limits, signals, crosswalks and stop lines of OpenDRIVE roads."""

from __future__ import annotations

from envs.driving.maps.opendrive_types import SPEED_SIGN, RoadObject, Signal
from envs.driving.maps.xml_reader import Element

UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "mph": 0.44704}
"""Metres per second of one unit."""
FASTEST = 200.0
"""Metres per second; higher limits are taken for damage."""
UNLIMITED = 130 / 3.6
"""Metres per second where the file says ``no limit``: the advisory speed of German motorways."""


def speed_value(element: Element) -> float | None:
    """The limit of a ``<speed>`` element in m/s, None where the file says it is undefined."""
    text = element.text("max")
    if text == "undefined":
        return None
    if text == "no limit":
        return UNLIMITED
    return _metres_per_second(element, "max", "m/s")


def _metres_per_second(element: Element, name: str, default_unit: str) -> float:
    unit = element.text("unit", default_unit)
    if unit not in UNITS:
        raise element.error(f"unit={unit!r}; expected one of {', '.join(UNITS)}")
    value = element.number(name)
    speed = value * UNITS[unit]
    if not 0 < speed <= FASTEST:
        raise element.error(f"{name}={value:g} {unit} is no speed limit: it must be above 0 and at most {FASTEST} m/s")
    return speed


def read_signals(road: Element, signals: dict[str, Element]) -> tuple[Signal, ...]:
    """Every signal that applies on a road, its own and those it refers to.

    Args:
        road: the road's element.
        signals: the ``<signal>`` elements of the file that references can mean, by id.

    Raises:
        MapError: a reference to a signal that is not in the file.
    """
    found = []
    for element in road.all("signals/signal") + road.all("signals/signalReference"):
        origin = element if element.tag == "signal" else signals.get(element.text("id"))
        if origin is None:
            raise element.error(f"refers to the signal {element.text('id')!r}, which is not in the file")
        kind = origin.text("type", "-1")
        lanes = tuple((v.integer("fromLane"), v.integer("toLane")) for v in element.all("validity"))
        speed = None
        if kind == SPEED_SIGN and origin.number("value", -1.0) > 0:
            speed = _metres_per_second(origin, "value", "km/h")
        found.append(
            Signal(element.text("id"), kind, element.number("s"), element.text("orientation", "none"), lanes, speed)
        )
    return tuple(found)


def read_objects(road: Element) -> tuple[RoadObject, ...]:
    """The crosswalks and painted stop lines of a road."""
    found = []
    for element in road.all("objects/object"):
        kind = _object_kind(element)
        if kind is None:
            continue
        outline = element.first("outline") or element.first("outlines/outline")
        local: tuple[tuple[float, float], ...] = ()
        along: tuple[tuple[float, float], ...] = ()
        if outline is not None:
            local = tuple((c.number("u"), c.number("v")) for c in outline.all("cornerLocal"))
            along = tuple((c.number("s"), c.number("t")) for c in outline.all("cornerRoad"))
        if len(local) < 2 and len(along) < 2:
            u, v = 0.5 * element.number("length", 0.0), 0.5 * element.number("width", 0.0)
            local, along = ((u, v), (-u, v), (-u, -v), (u, -v)), ()
        place = (element.number("s"), element.number("t"), element.number("hdg", 0.0))
        found.append(RoadObject(kind, *place, local, along))
    return tuple(found)


def _object_kind(element: Element) -> str | None:
    if element.text("type", "") == "crosswalk":
        return "crosswalk"
    # The format has no stop line before version 1.8; exporters write the name.
    name = element.text("name", "").replace("_", "").replace(" ", "").lower()
    return "stop_line" if name.startswith("stopline") else None
