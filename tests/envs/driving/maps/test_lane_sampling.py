"""Lanes of one road against hand-computed ones: centre lines, widths, edges, markings."""

import numpy as np
import pytest

from envs.driving.errors import MapError
from envs.driving.maps.lane_graph import EDGE_BROKEN, EDGE_NONE, EDGE_SOLID
from tests.support.maps import TWO_WAY, compiled, lane, road, section


def test_a_straight_two_way_road_by_hand():
    graph = compiled(road(7, 10.0, TWO_WAY))
    assert graph.lane_key.tolist() == [[7, 0, 1], [7, 0, -1]]
    left, right = (graph.lane_by_key(7, 0, number) for number in (1, -1))
    np.testing.assert_allclose(graph.points[graph.lane_points(right)], [[x, -1.75] for x in range(11)])
    np.testing.assert_allclose(graph.points[graph.lane_points(left)], [[10 - x, 1.75] for x in range(11)])
    np.testing.assert_allclose(graph.arc[graph.lane_points(left)], np.arange(11))
    np.testing.assert_allclose(np.cos(graph.heading[graph.lane_points(left)]), -1)
    np.testing.assert_allclose(graph.left_edge[graph.lane_points(left)], [[10 - x, 0] for x in range(11)], atol=1e-6)
    np.testing.assert_allclose(graph.right_edge[graph.lane_points(right)], [[x, -3.5] for x in range(11)], atol=1e-6)
    np.testing.assert_allclose(graph.left_edge[graph.lane_points(right)], [[x, 0] for x in range(11)], atol=1e-6)
    assert graph.edge_kind[graph.lane_points(right)].tolist() == [[EDGE_BROKEN, EDGE_SOLID]] * 11
    assert graph.opposite.tolist() == [1, 0]
    assert graph.left.tolist() == graph.right.tolist() == [-1, -1]
    assert graph.length.tolist() == [10.0, 10.0]


def test_with_left_hand_traffic_everything_runs_the_other_way():
    graph = compiled(road(7, 10.0, section(lane(-1) + lane(-2), lane(1)), rule="LHT"))
    inner, outer = graph.lane_by_key(7, 0, -1), graph.lane_by_key(7, 0, -2)
    assert graph.points[graph.lane_points(inner)][0].tolist() == [10.0, -1.75]
    assert (graph.left[inner], graph.right[inner], graph.right[outer]) == (outer, -1, inner)
    np.testing.assert_allclose(graph.left_edge[graph.lane_points(outer)][0], [10.0, -7.0], atol=1e-6)
    assert graph.opposite[inner] == graph.lane_by_key(7, 0, 1)


def test_lanes_of_a_bend_by_hand():
    """A quarter circle of radius 20 to the left: the lanes' centres have the radii 21.75 and 18.25."""
    graph = compiled(road(1, 10 * np.pi, TWO_WAY, geometry='<arc curvature="0.05"/>'))
    middle = np.array([0.0, 20.0])
    for number, radius in ((-1, 21.75), (1, 18.25)):
        part = graph.lane_points(graph.lane_by_key(1, 0, number))
        np.testing.assert_allclose(np.hypot(*(graph.points[part] - middle).T), radius, atol=1e-9)
        # The chain of chords is shorter than the arc by a factor of 1 - (step / radius)^2 / 24.
        assert graph.arc[part][-1] == pytest.approx(radius * np.pi / 2, rel=2e-4)
        assert graph.arc[part][-1] < radius * np.pi / 2
        assert np.max(np.diff(graph.arc[part])) <= 1.0


def test_width_offset_and_elevation_by_hand():
    """Lane offset 1 m; inner lane 3 m; outer lane opens from 0 to 4 m over 40 m: its centre drifts away by 5 %."""
    offset = '<laneOffset s="0" a="1" b="0" c="0" d="0"/>'
    height = '<elevationProfile><elevation s="0" a="1" b="0.05" c="0" d="0"/></elevationProfile>'
    graph = compiled(road(1, 40.0, offset + section(lane(-1, "3") + lane(-2, "0 0.1")), extra=height))
    inner, outer = (graph.lane_points(graph.lane_by_key(1, 0, number)) for number in (-1, -2))
    x = graph.points[outer][:, 0]
    np.testing.assert_allclose(graph.points[inner][:, 1], 1 - 1.5)
    np.testing.assert_allclose(graph.points[outer][:, 1], 1 - 3 - 0.05 * x)
    np.testing.assert_allclose(graph.width[outer], 0.1 * x, rtol=1e-6)
    np.testing.assert_allclose(graph.heading[outer], -np.arctan(0.05))
    np.testing.assert_allclose(graph.elevation[outer], 1 + 0.05 * x, rtol=1e-6)
    np.testing.assert_allclose(graph.right_edge[outer][:, 1], 1 - 3 - 0.1 * x, rtol=1e-5)


@pytest.mark.parametrize(
    ("mark", "kinds"),
    [
        ("none", (EDGE_NONE, EDGE_NONE)),
        ("broken", (EDGE_BROKEN, EDGE_BROKEN)),
        ("botts dots", (EDGE_BROKEN, EDGE_BROKEN)),
        ("curb", (EDGE_SOLID, EDGE_SOLID)),
        ("solid broken", (EDGE_SOLID, EDGE_BROKEN)),
        ("broken solid", (EDGE_BROKEN, EDGE_SOLID)),
    ],
)
def test_of_a_double_centre_line_each_side_sees_its_own(mark, kinds):
    """The parts of a centre line are named from left to right."""
    graph = compiled(road(1, 10.0, section(lane(-1), lane(1), centre=mark)))
    left, right = (graph.edge_kind[graph.lane_points(graph.lane_by_key(1, 0, n))][0, 0] for n in (1, -1))
    assert (left, right) == kinds


@pytest.mark.parametrize(("side", "number"), [("right", -1), ("left", 1)])
def test_of_a_double_line_between_lanes_the_inner_lane_sees_the_first_part(side, number):
    inner, outer = lane(number, mark="solid broken"), lane(2 * number)
    lanes = section(inner + outer) if side == "right" else section("", outer + inner)
    graph = compiled(road(1, 10.0, lanes))
    inner_lane, outer_lane = graph.lane_by_key(1, 0, number), graph.lane_by_key(1, 0, 2 * number)
    assert graph.right[inner_lane] == outer_lane
    assert graph.left[outer_lane] == inner_lane
    assert graph.edge_kind[graph.lane_start[inner_lane], 1] == EDGE_SOLID
    assert graph.edge_kind[graph.lane_start[outer_lane], 0] == EDGE_BROKEN


def test_markings_change_along_the_lane():
    both = lane(-1).replace("</lane>", '<roadMark sOffset="4" type="broken"/></lane>')
    graph = compiled(road(1, 10.0, section(both)))
    assert graph.edge_kind[:, 1].tolist() == [EDGE_SOLID] * 4 + [EDGE_BROKEN] * 7


def test_a_jump_of_the_geometry_is_refused():
    text = road(1, 20.0).replace(
        "</planView>", '<geometry s="10" x="15" y="0" hdg="0" length="10"><line/></geometry></planView>'
    )
    with pytest.raises(MapError, match=r"test.xodr, line 2, road 1, <road>: lane -1 jumps by 5\.\d+ m near s=\S+: "):
        compiled(text)


@pytest.mark.parametrize("slope", ["1000", "1e30"])
def test_a_lane_that_flies_away_is_refused(slope):
    with pytest.raises(MapError, match=r"road 1, <road>: lane -1 jumps by"):
        compiled(road(1, 20.0, section(lane(-1, f"3 {slope}"))))


@pytest.mark.parametrize("height", ["20000", "-1e30"])
def test_a_road_in_the_sky_is_refused(height):
    profile = f'<elevationProfile><elevation s="0" a="{height}" b="0" c="0" d="0"/></elevationProfile>'
    with pytest.raises(MapError, match=r"test.xodr, line 2, road 1, <road>: has an elevation of"):
        compiled(road(1, 20.0, extra=profile))
