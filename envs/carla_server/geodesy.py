"""Latitude and longitude of places on a map, as the 0.9.16 client computes them (``Map.transform_to_geolocation``).

That is the spherical transverse Mercator projection (Snyder 1987, equations 8-6 and 8-7) with the scale 0.9996 whatever
the map says, and with CARLA's y, which points to the right of x, taken for north.
"""

from __future__ import annotations

import math
import re

RADIUS = 6378137.0 * 0.9996
"""Of the Earth at the equator, times the scale, metres."""


def reference(opendrive: str) -> tuple[float, float]:
    """Latitude and longitude of the origin [degrees] by the map's ``geoReference``; without one LibCarla's (42, 2)."""
    found = re.search(r"<geoReference>(.*?)</geoReference>", opendrive, re.DOTALL)
    values = [re.search(rf"\+{name}=([-+0-9.eE]+)", found.group(1) if found else "") for name in ("lat_0", "lon_0")]
    if values[0] is None or values[1] is None:
        return 42.0, 2.0
    return float(values[0].group(1)), float(values[1].group(1))


def locate(origin: tuple[float, float], x: float, y: float) -> tuple[float, float]:
    """Latitude and longitude [degrees] of a place in CARLA's frame [m]."""
    north, east = math.radians(origin[0]) + y / RADIUS, x / RADIUS
    latitude = math.asin(math.sin(north) / math.cosh(east))
    return math.degrees(latitude), origin[1] + math.degrees(math.atan2(math.sinh(east), math.cos(north)))
