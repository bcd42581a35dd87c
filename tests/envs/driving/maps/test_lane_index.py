"""The nearest lane, against looking at every piece of every lane."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.errors import MapError
from envs.driving.maps.lane_index import LaneIndex
from envs.driving.maps.map_compiler import compile_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.maps.opendrive import read_opendrive
from tests.support.maps import compiled, lane, road, section

GRAPH = compile_map(read_opendrive(shipped_map("roundabout")))
INDEX = LaneIndex(GRAPH)


def nearest_of_all(x: float, y: float, heading: float | None) -> float:
    best = np.inf
    for number in range(GRAPH.lanes):
        points = GRAPH.points[GRAPH.lane_points(number)]
        start, step = points[:-1], np.diff(points, axis=0)
        along = np.clip(np.sum(([x, y] - start) * step, axis=1) / np.sum(step**2, axis=1), 0, 1)
        distance = np.hypot(*(start + along[:, None] * step - [x, y]).T)
        if heading is not None:
            distance = distance[np.cos(GRAPH.heading[GRAPH.lane_points(number)][:-1] - heading) > 0]
        best = min(best, distance.min(initial=np.inf))
    return best


@given(st.floats(-400, 400), st.floats(-400, 400), st.none() | st.floats(-4, 4))
def test_no_lane_is_nearer(x, y, heading):
    found = INDEX.nearest(x, y, heading)
    assert found.distance == pytest.approx(nearest_of_all(x, y, heading), abs=1e-9)
    foot_x, foot_y, along = GRAPH.place(found.lane, found.arc)
    assert np.hypot(foot_x - x, foot_y - y) == pytest.approx(found.distance, abs=1e-9)
    if heading is not None:
        assert np.cos(along - heading) > -0.1


@given(st.floats(0.5, 9.5), st.floats(-1.7, 1.7))
def test_arc_and_offset_by_hand(ahead, aside):
    """A lane that runs west along y = 1.75: left of it is south."""
    index = LaneIndex(compiled(road(1, 10.0, section("", lane(1)))))
    found = index.nearest(10.0 - ahead, 1.75 - aside)
    assert (found.arc, found.offset, found.distance) == pytest.approx((ahead, aside, abs(aside)), abs=1e-9)


def test_beyond_a_lanes_end():
    found = LaneIndex(compiled(road(1, 10.0))).nearest(13.0, -1.75 + 4.0)
    assert (found.arc, found.offset, found.distance) == pytest.approx((10.0, 4.0, 5.0))


def test_far_away_places_are_found_and_impossible_ones_refused():
    index = LaneIndex(compiled(road(1, 10.0)))
    assert index.nearest(1e6, -1.75).distance == pytest.approx(1e6 - 10.0)
    with pytest.raises(MapError, match="not finite"):
        index.nearest(np.nan, 0.0)
    with pytest.raises(MapError, match="no lane of the map runs within 90 degrees"):
        index.nearest(0.0, 0.0, heading=np.pi)
