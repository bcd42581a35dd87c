"""The way that a vehicle is to follow, as a line: how far it has come, how the line bends, and what stands on it.

Plain geometry in the plane, of either handedness; knows nothing of CARLA. Metres, seconds and radians.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
BACK, FORTH = 2.0, 20.0
"""The place on the line is looked for so far behind the last one and ahead of it, metres."""
HORIZON = 3.0
"""Others that cross the line are foreseen for so long, seconds."""
MOMENTS = np.arange(0.0, HORIZON + 0.01, 0.5)
CREEP = 4.0
"""Whoever is slower, itself included, is taken to arrive at this speed, m/s."""
CROSSING = math.radians(30.0)
"""Whoever heads along the line within this angle, either way, does not cross it."""
BETWEEN = 2.0
"""Of two arrivals at one place so many seconds apart, neither is in the other's way."""
SAMPLES = np.array([(i / 2.0, j) for i in range(-2, 3) for j in (-1.0, 0.0, 1.0)])
"""Places of a box, in half lengths and half widths."""


class Box(NamedTuple):
    """Somebody seen from above, with a constant velocity."""

    x: float
    y: float
    heading: float
    half_length: float
    half_width: float
    velocity_x: float
    velocity_y: float

    @property
    def speed(self) -> float:
        """m/s."""
        return math.hypot(self.velocity_x, self.velocity_y)


class Gap(NamedTuple):
    """The nearest thing on the line."""

    metres: float
    """From the place on the line; infinity: nothing."""
    speed: float
    """At which it moves along the line, m/s, at least 0."""


class PathAhead:
    """See the module.

    Args:
        points: ``[N, 2]``, N at least 1.
    """

    def __init__(self, points: Points) -> None:
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise ValueError(f"points have shape {points.shape}; [N, 2] with N of at least 1 is needed")
        distinct = np.r_[True, np.hypot(*np.diff(points, axis=0).T) > 1e-6]
        points = points[distinct]
        if len(points) == 1:
            points = np.concatenate([points, points + [1e-3, 0.0]])
        self.points = points
        self.steps = np.diff(points, axis=0)
        self.lengths = np.hypot(*self.steps.T)
        self.arcs = np.r_[0.0, np.cumsum(self.lengths)]
        self.headings = np.arctan2(self.steps[:, 1], self.steps[:, 0])
        self.arc = 0.0
        """How far the vehicle has come, metres; never falls."""

    @property
    def left(self) -> float:
        """Metres to the end."""
        return float(self.arcs[-1]) - self.arc

    def advance(self, x: float, y: float) -> None:
        """The vehicle is at a place now."""
        arcs, _, distances = self.project(np.array([[x, y]]), self.arc - BACK, self.arc + FORTH)
        if distances[0] < FORTH:
            self.arc = max(self.arc, float(arcs[0]))

    def place(self, arc: float) -> tuple[float, float]:
        """The point of the line at an arc; beyond its end, the end."""
        x, y = (float(np.interp(arc, self.arcs, self.points[:, axis])) for axis in (0, 1))
        return x, y

    def heading(self, arc: float) -> float:
        """The direction of the line at an arc, radians."""
        return float(self.headings[self._segment(arc)])

    def project(self, places: Points, first: float, last: float) -> tuple[Points, Points, Points]:
        """Arc, offset and distance of the nearest point of a part of the line, for each of ``places [P, 2]``.

        The offset is signed: positive where a turn from x to y leads. It counts across the line only; what lies beyond
        the part's ends is further away than that.
        """
        low, high = self._segment(max(first, 0.0)), self._segment(last) + 1
        start, step, length = self.points[low:high], self.steps[low:high], self.lengths[low:high]
        relative = places[:, None] - start
        share = np.clip((relative * step).sum(2) / length**2, 0.0, 1.0)
        away = relative - share[..., None] * step
        distance = np.hypot(away[..., 0], away[..., 1])
        best, rows = distance.argmin(1), np.arange(len(places))
        arcs = self.arcs[low:high][best] + share[rows, best] * length[best]
        side = step[best, 0] * relative[rows, best, 1] - step[best, 1] * relative[rows, best, 0]
        return arcs, side / length[best], distance[rows, best]

    def bend_speed(self, reach: float, across: float, braking: float) -> float:
        """The speed, m/s, that the bends ahead allow.

        Args:
            reach: how far to look, metres.
            across: acceleration to the side that is allowed, m/s^2.
            braking: deceleration before a bend, m/s^2.
        """
        low, high = max(self._segment(self.arc) - 1, 0), self._segment(self.arc + reach) + 1
        turned = np.diff(self.headings[low:high])
        turned = np.abs(np.arctan2(np.sin(turned), np.cos(turned)))
        over = 0.5 * (self.lengths[low : high - 1] + self.lengths[low + 1 : high])
        curvature = turned / np.maximum(over, 0.5)
        before = np.maximum(self.arcs[low + 1 : high] - self.arc, 0.0)
        allowed = across / np.maximum(curvature, 1e-6) + 2.0 * braking * before
        return math.sqrt(allowed.min(initial=np.inf)) if len(allowed) else math.inf

    def gap(self, others: list[Box], half_width: float, speed: float, reach: float) -> Gap:
        """The nearest of others that is on the line ahead, or will be when the vehicle gets there.

        Args:
            others: who else is there.
            half_width: of the corridor along the line, metres.
            speed: of the vehicle, m/s.
            reach: how far to look, metres.
        """
        nearest = Gap(math.inf, 0.0)
        for other in others:
            x, y = self.place(self.arc)
            if math.hypot(other.x - x, other.y - y) > reach + other.half_length + HORIZON * other.speed:
                continue
            found = self._gap_to(other, half_width, speed, reach)
            if found.metres < nearest.metres:
                nearest = found
        return nearest

    def _gap_to(self, other: Box, half_width: float, speed: float, reach: float) -> Gap:
        cos, sin = math.cos(other.heading), math.sin(other.heading)
        shape = SAMPLES * [other.half_length, other.half_width]
        places = shape @ [[cos, sin], [-sin, cos]] + [other.x, other.y]
        arcs, inside = self._on_line(places, half_width, reach)
        if inside.any():
            arc = float(arcs[inside].min())
            heading = self.heading(arc)
            along = other.velocity_x * math.cos(heading) + other.velocity_y * math.sin(heading)
            return Gap(arc - self.arc, max(along, 0.0))
        if other.speed < 0.3 or not self._crosses(other):
            return Gap(math.inf, 0.0)
        moved = MOMENTS[:, None, None] * [other.velocity_x, other.velocity_y]
        arcs, inside = self._on_line((places + moved).reshape(-1, 2), half_width, reach)
        arrival = (arcs - self.arc) / max(speed, CREEP)
        meets = inside & (np.abs(arrival - np.repeat(MOMENTS, len(places))) < BETWEEN)
        return Gap(float(arcs[meets].min()) - self.arc, 0.0) if meets.any() else Gap(math.inf, 0.0)

    def _crosses(self, other: Box) -> bool:
        arcs, _, _ = self.project(np.array([[other.x, other.y]]), self.arc, self.arcs[-1])
        course = math.atan2(other.velocity_y, other.velocity_x)
        angle = abs(math.remainder(course - self.heading(float(arcs[0])), 2.0 * math.pi))
        return CROSSING < angle < math.pi - CROSSING

    def _on_line(self, places: Points, half_width: float, reach: float) -> tuple[Points, NDArray[np.bool_]]:
        arcs, _, distances = self.project(places, self.arc, self.arc + reach)
        return arcs, (distances <= half_width) & (arcs > self.arc + 1e-6)

    def _segment(self, arc: float) -> int:
        return int(np.clip(np.searchsorted(self.arcs, arc, side="right") - 1, 0, len(self.steps) - 1))


def approach_speed(distance: float, lead_speed: float, braking: float) -> float:
    """The speed, m/s, from which braking comfortably leads to ``lead_speed`` after ``distance`` metres."""
    return math.sqrt(lead_speed**2 + 2.0 * braking * distance) if distance > 0.0 else 0.0
