"""Latitude and longitude against numbers that the 0.9.16 client gave (``carla.Map.transform_to_geolocation``)."""

from __future__ import annotations

import pytest

from envs.carla_server.geodesy import locate, reference


@pytest.mark.parametrize(
    ("origin", "x", "y", "expected"),
    [
        ((0.0, 0.0), 100, 200, (0.0017973495078211733, 0.0008986747544264554)),
        ((0.0, 0.0), -300, 500, (0.004493373765131202, -0.0026960242693592463)),
        ((49.0, 8.0), 100, 200, (49.001797341399985, 8.00136985720182)),
        ((49.0, 8.0), 1000, 0, (48.99999918924545, 8.013698077472796)),
    ],
)
def test_against_the_client(origin, x, y, expected):
    assert locate(origin, x, y) == pytest.approx(expected, abs=1e-12)


def test_reference():
    text = "<geoReference><![CDATA[+lat_0=4.9000000000000000e+1 +lon_0=-8.5]]></geoReference>"
    assert reference(text) == (49.0, -8.5)
    assert reference("<OpenDRIVE/>") == (42.0, 2.0)
