"""Latitude and longitude of places on a map, as LibCarla computes them (``geom/GeoLocation.cpp``)."""

from __future__ import annotations

import math
import re

EARTH_RADIUS = 6378137.0
"""At the equator, metres."""


def reference(opendrive: str) -> tuple[float, float]:
    """Latitude and longitude of the origin [degrees] by the map's ``geoReference``; without one LibCarla's (42, 2)."""
    found = re.search(r"<geoReference>(.*?)</geoReference>", opendrive, re.DOTALL)
    values = [re.search(rf"\+{name}=([-+0-9.eE]+)", found.group(1) if found else "") for name in ("lat_0", "lon_0")]
    if values[0] is None or values[1] is None:
        return 42.0, 2.0
    return float(values[0].group(1)), float(values[1].group(1))


def locate(origin: tuple[float, float], x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude [degrees] of a place in CARLA's frame [m]: Mercator, scaled at the origin."""
    latitude, longitude = origin
    scale = math.cos(math.radians(latitude)) * EARTH_RADIUS
    east = math.radians(longitude) * scale + x
    north = scale * math.log(math.tan(math.radians(90.0 + latitude) / 2.0)) - y
    return 2.0 * math.degrees(math.atan(math.exp(north / scale))) - 90.0, math.degrees(east / scale)
