"""Reference lines of OpenDRIVE roads: line, arc, spiral (clothoid), poly3 and paramPoly3, and piecewise cubics along s.

Formulas: ASAM OpenDRIVE 1.7, section 9 (geometry). Each element is given in its own frame (it starts at the origin with
heading 0) and then placed. Positions are in metres, headings in radians, curvatures in 1/m, positive to the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

FloatArray = NDArray[np.float64]

STRAIGHT = 1e-9
"""Curvatures [1/m] below this are taken as 0: over 1 km they bend by half a millimetre."""
SPIRAL_RATE = 1e-12
"""Changes of curvature [1/m^2] below this are none: over 1 km they move a point by less than a millimetre."""


@dataclass(frozen=True, slots=True)
class Place:
    """Points of a curve: ``float64 [n]`` each."""

    x: FloatArray
    y: FloatArray
    heading: FloatArray
    curvature: FloatArray


class Shape(Protocol):
    """One geometry element in its own frame."""

    def at(self, distance: FloatArray) -> Place:
        """Points at ``distance [n]`` metres from the element's start."""
        ...


@dataclass(frozen=True, slots=True)
class Arc:
    """Constant curvature; 0 is a straight line."""

    curvature: float

    def at(self, distance: FloatArray) -> Place:
        """See ``Shape``."""
        angle = self.curvature * distance
        # sin(x)/x and (1-cos(x))/x stay exact where the curvature vanishes.
        half = 0.5 * angle
        chord = distance * np.sinc(half / np.pi)
        return Place(chord * np.cos(half), chord * np.sin(half), angle, np.full_like(distance, self.curvature))


@dataclass(frozen=True, slots=True)
class Spiral:
    """A clothoid: the curvature changes at a constant rate from ``start`` to ``end`` over ``length``."""

    start: float
    end: float
    length: float

    def at(self, distance: FloatArray) -> Place:
        """Exact, by Fresnel integrals: complete the square of the heading start*s + rate/2*s^2 (see ``Shape``)."""
        rate = (self.end - self.start) / self.length
        if abs(rate) < SPIRAL_RATE:
            return Arc(self.start).at(distance)
        scale = np.sqrt(np.pi / abs(rate))
        shift = self.start / rate
        sine, cosine = special.fresnel((distance + shift) / scale)
        sine_start, cosine_start = special.fresnel(shift / scale)
        turned = scale * ((cosine - cosine_start) + 1j * np.sign(rate) * (sine - sine_start))
        point = turned * np.exp(-0.5j * self.start * shift)
        heading = self.start * distance + 0.5 * rate * distance**2
        return Place(point.real, point.imag, heading, self.start + rate * distance)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_INTERVALS = 200


@dataclass(frozen=True, slots=True)
class ParametricCubic:
    """u(p) and v(p), cubics given by ``[4]`` coefficients each, walked by arc length from p = 0 to ``end``.

    s is arc length by definition, so p is found by inverting the curve's length. Where the declared length of the
    element differs from the true one, s is stretched so that the element still ends at ``end``.
    """

    u: FloatArray
    v: FloatArray
    end: float
    length: float

    def at(self, distance: FloatArray) -> Place:
        """See ``Shape``."""
        knots, arc = self.arc_length()
        wanted = distance * (arc[-1] / self.length)
        p = np.interp(wanted, arc, knots)
        for _ in range(2):  # Newton: the table is within a fraction of an interval of the answer
            p = np.clip(p + (wanted - self._arc_at(p, knots, arc)) / np.maximum(self._speed(p), 1e-9), 0.0, self.end)
        du, dv = _derivative(self.u, p), _derivative(self.v, p)
        ddu, ddv = _second(self.u, p), _second(self.v, p)
        speed = np.maximum(np.hypot(du, dv), 1e-9)
        curvature = (du * ddv - dv * ddu) / speed**3
        return Place(_value(self.u, p), _value(self.v, p), np.arctan2(dv, du), curvature)

    def arc_length(self) -> tuple[FloatArray, FloatArray]:
        """Parameters ``[k]`` from 0 to ``end`` and the curve's length up to each, by Gauss-Legendre quadrature."""
        knots = np.linspace(0.0, self.end, _INTERVALS + 1)
        pieces = self._length_between(knots[:-1], knots[1:])
        return knots, np.concatenate([[0.0], np.cumsum(pieces)])

    def _arc_at(self, p: FloatArray, knots: FloatArray, arc: FloatArray) -> FloatArray:
        piece = np.clip(np.searchsorted(knots, p, side="right") - 1, 0, len(knots) - 2)
        return arc[piece] + self._length_between(knots[piece], p)

    def _length_between(self, start: FloatArray, end: FloatArray) -> FloatArray:
        half = 0.5 * (end - start)
        at = 0.5 * (start + end)[:, None] + half[:, None] * _NODES
        return half * (self._speed(at) @ _WEIGHTS)

    def _speed(self, p: FloatArray) -> FloatArray:
        return np.hypot(_derivative(self.u, p), _derivative(self.v, p))


def poly3(coefficients: FloatArray, length: float) -> ParametricCubic:
    """v(u) = a + b u + c u^2 + d u^3 with ``coefficients [4]``, up to the u at which the curve is ``length`` long."""
    along = np.array([0.0, 1.0, 0.0, 0.0])
    knots, arc = ParametricCubic(along, coefficients, length, length).arc_length()  # the curve is no shorter than u
    return ParametricCubic(along, coefficients, float(np.interp(length, arc, knots)), length)


def _value(c: FloatArray, p: FloatArray) -> FloatArray:
    return c[0] + p * (c[1] + p * (c[2] + p * c[3]))


def _derivative(c: FloatArray, p: FloatArray) -> FloatArray:
    return c[1] + p * (2 * c[2] + p * 3 * c[3])


def _second(c: FloatArray, p: FloatArray) -> FloatArray:
    return 2 * c[2] + p * 6 * c[3]


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """The plan view of one road: elements one after the other along s."""

    starts: FloatArray
    """``[n]``: s at which each element begins [m], rising."""
    origins: FloatArray
    """``[n, 3]``: x, y [m] and heading [rad] at which each element begins."""
    shapes: tuple[Shape, ...]

    def at(self, s: FloatArray) -> Place:
        """Points of the line at ``s [n]`` (metres along the road, from 0 to its length)."""
        x, y, heading, curvature = (np.empty_like(s) for _ in range(4))
        element = np.clip(np.searchsorted(self.starts, s, side="right") - 1, 0, None)
        for i in np.unique(element):
            chosen = element == i
            local = self.shapes[i].at(s[chosen] - self.starts[i])
            x0, y0, angle = self.origins[i]
            x[chosen] = x0 + np.cos(angle) * local.x - np.sin(angle) * local.y
            y[chosen] = y0 + np.sin(angle) * local.x + np.cos(angle) * local.y
            heading[chosen] = angle + local.heading
            curvature[chosen] = local.curvature
        return Place(x, y, heading, curvature)


@dataclass(frozen=True, slots=True)
class PiecewiseCubic:
    """a + b d + c d^2 + d d^3 with d = s - start of the piece; 0 where there is no piece at all.

    Elevation, lane offset and lane width are given in this form.
    """

    starts: FloatArray
    """``[n]``: where each piece begins [m], rising. Before the first one, the first one holds."""
    coefficients: FloatArray
    """``[n, 4]``"""

    def at(self, s: FloatArray, first: float = -np.inf, end: float = np.inf) -> tuple[FloatArray, FloatArray]:
        """Value and derivative at ``s [n]``.

        Args:
            s: where [m].
            first: before this s the piece that holds there is used.
            end: at and beyond this s the piece that holds just before it is used: the limit from the left, for
                the last point of a lane section whose successor begins with a jump.
        """
        if len(self.starts) == 0:
            return np.zeros_like(s), np.zeros_like(s)
        inside = np.clip(s, first, end - 1e-9)
        piece = np.clip(np.searchsorted(self.starts, inside, side="right") - 1, 0, None)
        c = self.coefficients[piece].T
        d = s - self.starts[piece]
        return _value(c, d), _derivative(c, d)
