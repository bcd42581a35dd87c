"""A winding two-lane road up and down a hill, closed to a loop: cubics, gradients, changing limits and no junction."""

from __future__ import annotations

import itertools
import math

from envs.driving.maps.map_drafts import LaneDraft, RoadDraft, SectionDraft, join_roads
from envs.driving.maps.map_pen import Pen, Pose
from envs.driving.maps.map_writer import MapWriter

LANE = 3.25
RADIUS, SWING, LOBES = 170.0, 0.18, 5
"""The loop swings around a circle of this radius by this share of it, so many times."""
BENDS, ROADS = 48, 6
"""Cubics in the loop, and the roads it is cut into."""
HEIGHT, HILLS = 6.0, 2
"""Metres above and below the mean, and how many summits."""
LIMITS = (60.0, 80.0, 50.0)
"""km/h, road by road."""


def winding_road() -> str:
    """The map."""
    writer = MapWriter("winding_road")
    knots = [_knot(2 * math.pi * n / BENDS) for n in range(BENDS)]
    per_road = BENDS // ROADS
    roads = []
    for number in range(ROADS):
        own = [knots[(number * per_road + n) % BENDS] for n in range(per_road + 1)]
        roads.append(_road(writer, own, LIMITS[number % len(LIMITS)], overtaking=number % 2 == 0))
    for road, following in zip(roads, [*roads[1:], roads[0]]):
        join_roads(road, following)
    return writer.text()


def _knot(angle: float) -> tuple[Pose, float, float, float]:
    """Pose, metres of way per knot, height and gradient of the loop at ``angle`` around its middle."""
    radius = RADIUS * (1 + SWING * math.sin(LOBES * angle))
    slope = RADIUS * SWING * LOBES * math.cos(LOBES * angle)
    dx = slope * math.cos(angle) - radius * math.sin(angle)
    dy = slope * math.sin(angle) + radius * math.cos(angle)
    way = math.hypot(dx, dy)
    climb = HEIGHT * HILLS * math.cos(HILLS * angle) / way
    pose = Pose(radius * math.cos(angle), radius * math.sin(angle), math.atan2(dy, dx))
    return pose, way * 2 * math.pi / BENDS, HEIGHT * math.sin(HILLS * angle), climb


def _road(
    writer: MapWriter, knots: list[tuple[Pose, float, float, float]], limit: float, overtaking: bool
) -> RoadDraft:
    pen = Pen(knots[0][0])
    elevation = []
    for (_, leave, height, climb), (target, arrive, next_height, next_climb) in itertools.pairwise(knots):
        s = pen.length
        pen.cubic(target, leave, arrive)
        length = pen.length - s
        rise = next_height - height
        c = (3 * rise / length - 2 * climb - next_climb) / length
        d = (climb + next_climb - 2 * rise / length) / length**2
        elevation.append((s, (height, climb, c, d)))
    mark = "broken" if overtaking else "solid"
    side, other = ([LaneDraft((LANE, 0.0, 0.0, 0.0))] for _ in range(2))
    road = writer.road(pen, [SectionDraft(side, other, centre_mark=mark)], limit)
    road.elevation = elevation
    return road
