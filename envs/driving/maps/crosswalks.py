"""Crosswalks and painted stop lines of a road, as points in the plane."""

from __future__ import annotations

import numpy as np

from envs.driving.maps.lane_graph import Floats64
from envs.driving.maps.opendrive_types import Road, RoadObject


def outline(road: Road, thing: RoadObject) -> Floats64:
    """The corners ``[n, 2]`` of an object, without a repeated first corner [m]."""
    if thing.corners_along_road:
        s, t = np.array(thing.corners_along_road, dtype=np.float64).T
        place = road.line.at(s)
        corners = np.stack([place.x - t * np.sin(place.heading), place.y + t * np.cos(place.heading)], axis=1)
    else:
        place = road.line.at(np.array([thing.s]))
        angle = float(place.heading[0])
        x = float(place.x[0]) - thing.t * np.sin(angle)
        y = float(place.y[0]) + thing.t * np.cos(angle)
        u, v = np.array(thing.corners, dtype=np.float64).T
        turn = angle + thing.heading
        corners = np.stack([x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn)], axis=1)
    if len(corners) > 2 and np.allclose(corners[0], corners[-1], atol=1e-3):
        corners = corners[:-1]
    return corners


def crosswalk_outlines(roads: list[Road]) -> list[Floats64]:
    """All crosswalks with at least three corners."""
    found = [outline(road, thing) for road in roads for thing in road.objects if thing.kind == "crosswalk"]
    return [corners for corners in found if len(corners) >= 3]
