"""Points along routes, and lanes that do not make one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.errors import RouteError
from envs.driving.maps.map_arrays import heading_at, pack, place_at, project
from envs.driving.world.route_points import check_connected, route_points
from tests.envs.driving.small_maps import crossing, ring, straight_road

CROSSING, ROAD, RING = crossing(), straight_road(), ring()
CROSSING_MAP, ROAD_MAP, RING_MAP = pack(CROSSING), pack(ROAD), pack(RING)


def test_unconnected_lanes_are_named():
    check_connected(CROSSING, [0, 8, 7])
    with pytest.raises(
        RouteError, match=r"entries 1 and 2 .* from lane 8 \(key \[8, 0, -1\]\) one gets to lanes \[7\], not to 4"
    ):
        check_connected(CROSSING, [0, 8, 4])
    with pytest.raises(RouteError, match="there is no lane -1; the map has the lanes 0 to 19"):
        check_connected(CROSSING, [0, -1])


@pytest.mark.parametrize("lanes", [[0, 8, 7], [0, 9, 4], [1, 13, 6], [2]])
def test_points_are_a_metre_apart_and_on_their_lanes(lanes):
    route = route_points(CROSSING_MAP, lanes)
    steps = np.hypot(np.diff(route["x"]), np.diff(route["y"]))
    assert steps.max() < 1.02
    assert steps.min() > 0.9
    assert route["arc"] == pytest.approx(np.concatenate([[0], np.cumsum(steps)]))
    assert route["arc"][-1] == pytest.approx(sum(CROSSING.length[lane] for lane in lanes), abs=1.5)
    assert list(dict.fromkeys(route["lane"].tolist())) == lanes
    turned = np.angle(np.exp(1j * (route["heading"][:-1] - np.arctan2(np.diff(route["y"]), np.diff(route["x"])))))
    assert np.abs(turned).max() < 1e-9


def test_a_lane_change_is_smooth():
    route = route_points(ROAD_MAP, [0, 1], first_arc=10.0, last_arc=100.0)
    assert route["y"][0] == 0.0
    assert route["y"][-1] == pytest.approx(3.5)
    assert (np.diff(route["y"]) >= 0).all()
    middle = np.searchsorted(route["y"], 1.75)
    assert route["x"][middle] == pytest.approx(20.0, abs=1.0), "half-way through its 20 m"
    assert np.abs(route["heading"]).max() < np.arctan(1.5 * 3.5 / 20) + 0.01, "the steepest of a cubic step"
    assert route["arc"][-1] == pytest.approx(90.0, abs=1.5)


def test_points_stop_where_there_is_room_no_more():
    assert len(route_points(RING_MAP, [0, 1] * 20, most=100)) == 100


@given(st.integers(0, 1), st.floats(0, 157), st.floats(-2, 2))
def test_projection_undoes_placing(lane, arc, offset):
    (x, y), heading = place_at(RING_MAP, lane, arc), heading_at(RING_MAP, lane, arc)
    x, y = x - offset * np.sin(heading), y + offset * np.cos(heading)
    found_arc, found_offset, _ = project(RING_MAP, lane, 80.0, x, y)
    assert found_arc == pytest.approx(arc, abs=0.06)
    assert found_offset == pytest.approx(offset, abs=0.02)


def test_wanted_speed_falls_towards_a_curve():
    """A turn of radius r allows sqrt(2.5 r), and before it no more than 2 m/s^2 of braking is needed."""
    points, lane = RING_MAP.points, ROAD_MAP.points
    assert np.median(points["speed"]) == pytest.approx(np.sqrt(2.5 * 50.0), rel=1e-3)
    assert points["speed"] == pytest.approx(np.sqrt(2.5 * 50.0), rel=0.1), "at the ends the bend is less certain"
    assert lane["speed"] == pytest.approx(13.9)
    approach = CROSSING_MAP.points[CROSSING_MAP.points["lane"] == 0]
    assert approach["speed"][0] == pytest.approx(13.9)
    assert approach["speed"][-1] <= 8.0
    braking = np.diff(approach["speed"] ** 2) / (2 * np.diff(approach["arc"]))
    assert braking.min() == pytest.approx(-2.0, abs=1e-6)
