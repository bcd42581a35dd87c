"""Reads the plan view and the piecewise cubics of OpenDRIVE elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from envs.driving.maps.reference_line import Arc, ParametricCubic, PiecewiseCubic, ReferenceLine, Shape, Spiral, poly3
from envs.driving.maps.xml_reader import Element

MAX_ROAD_LENGTH = 100_000.0
"""Metres. Longer roads are taken for damage: they would be sampled at every metre."""


def piecewise_cubic(elements: list[Element], start: str) -> PiecewiseCubic:
    """Elements with the attributes a, b, c, d and their start (``s`` or ``sOffset``), sorted by it."""
    starts = np.array([element.number(start) for element in elements], dtype=np.float64)
    coefficients = np.array([[e.number(name) for name in "abcd"] for e in elements], dtype=np.float64).reshape(-1, 4)
    # Stable: of two pieces with one start the later one in the file holds.
    order = np.argsort(starts, kind="stable")
    return PiecewiseCubic(starts[order], coefficients[order])


def reference_line(plan_view: Element, road_length: float) -> ReferenceLine:
    """The plan view of a road of ``road_length`` metres.

    Raises:
        MapError: no geometry, an unknown kind, a length or parameter that cannot be, starts that do not rise.
    """
    elements = plan_view.all("geometry")
    if not elements:
        raise plan_view.error("has no <geometry>")
    if road_length > MAX_ROAD_LENGTH:
        raise plan_view.error(f"the road is {road_length} m long; at most {MAX_ROAD_LENGTH:.0f} m are read")
    starts = [element.number("s") for element in elements]
    for element, before, start in zip(elements[1:], starts, starts[1:]):
        if start < before:
            raise element.error(f"s={start} lies before the geometry ahead of it (s={before})")
    origins = [[element.number(name) for name in ("x", "y", "hdg")] for element in elements]
    return ReferenceLine(np.array(starts), np.array(origins), tuple(_shape(element) for element in elements))


def _shape(geometry: Element) -> Shape:
    length = geometry.number("length")
    if length <= 0:
        raise geometry.error(f"length={length} must be above 0")
    for child in geometry.children:
        if child.tag in _READERS:
            return _READERS[child.tag](child, length)
    found = ", ".join(f"<{child.tag}>" for child in geometry.children) or "nothing"
    raise geometry.error(f"holds {found}; expected one of {', '.join(f'<{tag}>' for tag in _READERS)}")


def _line(_element: Element, _length: float) -> Shape:
    return Arc(0.0)


def _arc(element: Element, _length: float) -> Shape:
    return Arc(element.number("curvature"))


def _spiral(element: Element, length: float) -> Shape:
    return Spiral(element.number("curvStart"), element.number("curvEnd"), length)


def _poly3(element: Element, length: float) -> Shape:
    return poly3(np.array([element.number(name) for name in "abcd"]), length)


def _parametric(element: Element, length: float) -> Shape:
    p_range = element.text("pRange", "normalized")
    if p_range not in ("normalized", "arcLength"):
        raise element.error(f"pRange={p_range!r}; expected 'normalized' or 'arcLength'")
    u, v = (np.array([element.number(name + axis) for name in "abcd"]) for axis in "UV")
    if not np.any(u[1:]) and not np.any(v[1:]):
        raise element.error("is a single point: all of bU, cU, dU, bV, cV, dV are 0")
    return ParametricCubic(u, v, 1.0 if p_range == "normalized" else length, length)


_READERS: dict[str, Callable[[Element, float], Shape]] = {
    "line": _line,
    "arc": _arc,
    "spiral": _spiral,
    "poly3": _poly3,
    "paramPoly3": _parametric,
}
