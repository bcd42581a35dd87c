"""Draws plan views: a pen that walks from pose to pose and leaves OpenDRIVE geometry behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from envs.driving.maps.reference_line import Arc, ParametricCubic, Shape, Spiral


@dataclass(frozen=True, slots=True)
class Pose:
    """A place [m] and a heading [rad]."""

    x: float
    y: float
    heading: float

    def ahead(self, distance: float) -> Pose:
        """Straight on by ``distance``; negative: backwards."""
        return Pose(
            self.x + distance * math.cos(self.heading), self.y + distance * math.sin(self.heading), self.heading
        )

    def left(self, distance: float) -> Pose:
        """Sideways to the left by ``distance``; negative: to the right."""
        x, y = self.x - distance * math.sin(self.heading), self.y + distance * math.cos(self.heading)
        return Pose(x, y, self.heading)

    def turned(self, angle: float) -> Pose:
        """On the spot by ``angle``, positive to the left."""
        return Pose(self.x, self.y, self.heading + angle)


@dataclass(frozen=True, slots=True)
class Stroke:
    """One geometry element: where it starts along the road and in the plane, how long it is, and its attributes."""

    s: float
    start: Pose
    length: float
    tag: str
    attributes: dict[str, float | str]


@dataclass
class Pen:
    """Draws from a pose; every stroke begins where the last one ended, with its heading."""

    pose: Pose
    strokes: list[Stroke] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.pose

    @property
    def length(self) -> float:
        """Metres drawn so far."""
        return self.strokes[-1].s + self.strokes[-1].length if self.strokes else 0.0

    def line(self, length: float) -> Pen:
        """Straight on."""
        return self._draw(Arc(0.0), length, "line", {})

    def arc(self, angle: float, radius: float) -> Pen:
        """Turn by ``angle`` (positive: left) on a circle of ``radius``."""
        curvature = math.copysign(1.0 / radius, angle)
        return self._draw(Arc(curvature), abs(angle) * radius, "arc", {"curvature": curvature})

    def spiral(self, length: float, start: float, end: float) -> Pen:
        """A clothoid from one curvature [1/m] to another."""
        return self._draw(Spiral(start, end, length), length, "spiral", {"curvStart": start, "curvEnd": end})

    def turn_to(self, target: Pose) -> Pen:
        """A straight line, an arc and a straight line to ``target``, the arc as wide as it fits.

        Raises:
            ValueError: the two headings are parallel, or the target lies behind.
        """
        turn = math.remainder(target.heading - self.pose.heading, 2 * math.pi)
        dx, dy = target.x - self.pose.x, target.y - self.pose.y
        sine = math.sin(turn)
        if abs(sine) < 1e-6:
            raise ValueError(f"no single arc leads from {self.pose} to {target}: their headings are parallel")
        # Distances to the crossing of the two tangents, from the start and to the target.
        before = (dx * math.sin(target.heading) - dy * math.cos(target.heading)) / sine
        after = (dy * math.cos(self.pose.heading) - dx * math.sin(self.pose.heading)) / sine
        tangent = min(before, after)
        if tangent <= 0:
            raise ValueError(f"no single arc leads from {self.pose} to {target}: it lies behind")
        if before - tangent > 1e-6:
            self.line(before - tangent)
        self.arc(turn, tangent / math.tan(0.5 * abs(turn)))
        if after - tangent > 1e-6:
            self.line(after - tangent)
        return self

    def curve_to(self, target: Pose) -> Pen:
        """One cubic (paramPoly3) that leaves and arrives tangentially; its handles are as long as the way is."""
        reach = math.hypot(target.x - self.pose.x, target.y - self.pose.y)
        return self.cubic(target, reach, reach)

    def cubic(self, target: Pose, leave: float, arrive: float) -> Pen:
        """One cubic with the speeds ``leave`` and ``arrive`` [m per unit of p] along the headings at its ends."""
        cos, sin = math.cos(self.pose.heading), math.sin(self.pose.heading)
        dx, dy = target.x - self.pose.x, target.y - self.pose.y
        u, v = cos * dx + sin * dy, -sin * dx + cos * dy
        turn = target.heading - self.pose.heading
        du, dv = arrive * math.cos(turn), arrive * math.sin(turn)
        # Hermite: value and slope at p = 0 and p = 1.
        along = np.array([0.0, leave, 3 * u - 2 * leave - du, -2 * u + leave + du])
        aside = np.array([0.0, 0.0, 3 * v - dv, -2 * v + dv])
        length = float(ParametricCubic(along, aside, 1.0, 1.0).arc_length()[1][-1])
        attributes: dict[str, float | str] = {f"{name}U": float(value) for name, value in zip("abcd", along)}
        attributes |= {f"{name}V": float(value) for name, value in zip("abcd", aside)}
        shape = ParametricCubic(along, aside, 1.0, length)
        return self._draw(shape, length, "paramPoly3", attributes | {"pRange": "normalized"})

    def _draw(self, shape: Shape, length: float, tag: str, attributes: dict[str, float | str]) -> Pen:
        start = self.pose
        end = shape.at(np.array([length]))
        u, v, turn = float(end.x[0]), float(end.y[0]), float(end.heading[0])
        self.strokes.append(Stroke(self.length, start, length, tag, attributes))
        self.pose = start.ahead(u).left(v).turned(turn)
        return self
