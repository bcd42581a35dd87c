"""Compiling maps: lanes against hand-computed ones, links, neighbours, limits, stop lines, crosswalks, the cache."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.driving import map_compiler
from envs.driving.errors import MapError
from envs.driving.lane_graph import EDGE_BROKEN, EDGE_NONE, EDGE_SOLID, LaneGraph
from envs.driving.map_compiler import compile_map, load_map
from envs.driving.map_generator import shipped_map
from envs.driving.opendrive import parse_opendrive, read_opendrive
from tests.support.maps import compiled, lane, opendrive, road, seams, section, town

TWO_WAY = section(lane(-1), lane(1))


def follows(number: int, contact: str = "start") -> str:
    return f'<successor elementType="road" elementId="{number}" contactPoint="{contact}"/>'


def to_lane(number: int) -> str:
    return f'<successor id="{number}"/>'


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


def test_roads_in_line_and_head_to_head():
    """Road 1 runs east into the end of road 2, which runs west: lanes change their sign."""
    graph = compiled(
        road(1, 10.0, section(lane(-1, links=to_lane(1)), lane(1, links=to_lane(-1))), links=follows(2, "end")),
        road(2, 10.0, TWO_WAY, start=(20.0, 0.0, np.pi)),
    )
    east = (graph.lane_by_key(1, 0, -1), graph.lane_by_key(2, 0, 1))
    west = (graph.lane_by_key(2, 0, -1), graph.lane_by_key(1, 0, 1))
    for first, second in (east, west):
        assert graph.successors_of(first).tolist() == [second]
        assert graph.predecessors_of(second).tolist() == [first]
        assert len(graph.successors_of(second)) == len(graph.predecessors_of(first)) == 0


def test_a_link_against_the_direction_of_travel_is_no_way():
    """Both lanes of road 1 claim to lead into lane -1 of road 2; only the one that travels east does."""
    graph = compiled(
        road(1, 10.0, section(lane(-1, links=to_lane(-1)), lane(1, links=to_lane(-1))), links=follows(2)),
        road(2, 10.0, start=(10.0, 0.0, 0.0)),
    )
    assert graph.successors_of(graph.lane_by_key(1, 0, -1)).tolist() == [graph.lane_by_key(2, 0, -1)]
    assert len(graph.successors) == 1


def test_slivers_are_covered_by_their_neighbours():
    """Sections of a millimetre lie at both ends and between two long ones; the lanes meet, and lead on through them."""
    sections = "".join(
        section(lane(-1, "3" if s == 10.001 else "3.5", links=to_lane(-1)), s=s)
        for s in (0.0, 0.001, 10.0, 10.001, 10.002, 19.999)
    )
    graph = compiled(road(1, 20.0, sections))
    assert graph.lane_key.tolist() == [[1, 1, -1], [1, 4, -1]]
    assert graph.successors_of(0).tolist() == [1]
    assert graph.predecessors_of(1).tolist() == [0]
    np.testing.assert_allclose(graph.length, [10.002, 20 - 10.002])
    assert graph.points[graph.lane_start[:-1], 0].tolist() == [0.0, 10.002]
    np.testing.assert_allclose(graph.width, 3.5)


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


ROUNDABOUT = shipped_map("roundabout").read_text().splitlines()
ATTRIBUTES = [
    (number, match.span(1)) for number, line in enumerate(ROUNDABOUT) for match in re.finditer(r'\w="([^"]*)"', line)
]
VALUES = ["", "x", "-1", "0", "1e308", "-1e308", "nan", "999999", "1e-300", "0.5", "road", "9" * 20]


@settings(max_examples=150)
@given(st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES))
def test_a_file_with_any_value_damaged_compiles_or_is_refused_with_its_place(place, value):
    number, (start, end) = place
    line = ROUNDABOUT[number]
    lines = [*ROUNDABOUT[:number], line[:start] + value + line[end:], *ROUNDABOUT[number + 1 :]]
    try:
        graph = compile_map(parse_opendrive("\n".join(lines).encode(), "damaged.xodr"))
    except MapError as error:
        assert "damaged.xodr, line " in str(error)
    else:
        for name in ("points", "heading", "arc", "width", "elevation", "speed_limit", "left_edge", "right_edge"):
            assert np.all(np.isfinite(getattr(graph, name))), name


def test_a_map_without_drivable_lanes_is_refused():
    with pytest.raises(MapError, match=r"no drivable lane; lane types found: none, sidewalk"):
        compiled(road(lanes=section(lane(-1, kind="sidewalk"))))


@pytest.mark.parametrize("kind", ["road", "junction"])
def test_links_into_nowhere_are_refused(kind):
    link = f'<successor elementType="{kind}" elementId="77" contactPoint="start"/>'
    with pytest.raises(MapError, match=rf"road 1, <road>: is linked to the {kind} '77', which is not in the file"):
        compiled(road(1, lanes=section(lane(-1, links=to_lane(-1))), links=link))


def test_ids_that_are_no_numbers_become_places_in_the_file():
    graph = compiled(road("north"), road("south"))
    assert graph.lane_key[:, 0].tolist() == [0, 1]


def connecting(number: int, length: float, geometry: str, target: int) -> str:
    """A road through junction 9 from the end of road 1."""
    links = '<predecessor elementType="road" elementId="1" contactPoint="end"/>' + follows(target)
    lanes = section(lane(-1, links=to_lane(-1)))
    start = (20.0, 0.0, 0.0)
    return road(number, length, lanes, geometry, junction=9, links=links, extra=f"@{number}", start=start)


BEHIND = '<predecessor elementType="junction" elementId="9"/>'
WAYS = "".join(
    f'<connection id="{n}" incomingRoad="1" connectingRoad="{n}" contactPoint="start"><laneLink from="-1" to="-1"/>'
    "</connection>"
    for n in (4, 5)
)
CONNECTED = [
    road(1, 20.0, links='<successor elementType="junction" elementId="9"/>', extra="@1"),
    road(2, 20.0, start=(40.0, 0.0, 0.0), links=BEHIND),
    road(3, 20.0, start=(30.0, -10.0, -np.pi / 2), links=BEHIND),
    connecting(4, 20.0, "<line/>", target=2),
    connecting(5, 5 * np.pi, '<arc curvature="-0.1"/>', target=3),
    f'<junction id="9">{WAYS}<controller id="20" sequence="1"/><controller id="10" sequence="0"/></junction>',
    '<controller id="10"><control signalId="a"/></controller><controller id="20"><control signalId="b"/></controller>',
]
"""Road 1 comes from the west into junction 9; road 4 leads on to road 2 in the east, road 5 to road 3 in the south."""


def junction_with(**extras: str) -> LaneGraph:
    """``CONNECTED`` with more content for its roads, given as road4="..."."""
    filled = {f"@{n}": extras.get(f"road{n}", "") for n in (1, 4, 5)}
    parts = list(CONNECTED)
    for mark, text in filled.items():
        parts = [part.replace(mark, text) for part in parts]
    return compiled(*parts)


def light(name: str, s: float = 0.5) -> str:
    return f'<signals><signal id="{name}" type="1000001" s="{s}" t="0" orientation="+"/></signals>'


def test_lanes_through_a_junction():
    graph = junction_with()
    lanes = {n: graph.lane_by_key(n, 0, -1) for n in range(1, 6)}
    assert sorted(graph.successors_of(lanes[1])) == [lanes[4], lanes[5]]
    assert graph.successors_of(lanes[4]).tolist() == [lanes[2]]
    assert graph.successors_of(lanes[5]).tolist() == [lanes[3]]
    assert graph.junction[[lanes[n] for n in range(1, 6)]].tolist() == [-1, -1, -1, 9, 9]
    assert len(graph.conflicts) == 0, "they part from one lane"


def test_limits_pass_through_junctions():
    speed = '<type s="0"><speed max="36" unit="km/h"/></type>'
    graph = junction_with(road1=speed)
    np.testing.assert_allclose(graph.speed_limit, 10.0, rtol=1e-6)
    np.testing.assert_allclose(junction_with().speed_limit, 50 / 3.6, rtol=1e-6)
    # Backwards where nothing lies ahead of it: only the connecting road has a limit.
    graph = junction_with(road4=speed)
    limits = {int(key[0]): float(limit) for key, limit in zip(graph.lane_key, graph.speed_limit)}
    assert limits[1] == limits[2] == limits[4] == 10.0
    assert limits[5] == limits[3] == 10.0, "from the lane they come from, which got it backwards"


def test_speed_signs_hold_for_their_lanes_and_behind_them():
    """A sign at s = 20 for lane -1 and one at s = 50 for who comes the other way, on a road of 50 km/h."""
    signs = (
        '<signals><signal id="a" type="274" s="20" t="0" orientation="-" value="30">'
        '<validity fromLane="-1" toLane="-1"/></signal>'
        '<signal id="b" type="274" s="50" t="0" orientation="-" value="20" unit="mph"/></signals>'
    )
    kind = '<type s="0"><speed max="50" unit="km/h"/></type>'
    lanes = "".join(section(lane(-1), lane(1), s=s) for s in (0.0, 30.0, 60.0))
    graph = compiled(road(1, 90.0, lanes, extra=kind + signs))
    limits = {tuple(key[1:]): float(limit) for key, limit in zip(graph.lane_key.tolist(), graph.speed_limit * 3.6)}
    assert [limits[n, -1] for n in range(3)] == pytest.approx([50, 30, 30])
    assert [limits[n, 1] for n in range(3)] == pytest.approx([20 * 1.609344, 20 * 1.609344, 50], rel=1e-5)


def test_a_lanes_own_limit_counts_first():
    own = lane(-1).replace("</lane>", '<speed sOffset="0" max="36" unit="km/h"/></lane>')
    sign = '<signals><signal id="a" type="274" s="0" t="0" orientation="+" value="30"/></signals>'
    assert compiled(road(1, 20.0, section(own), extra=sign)).speed_limit.tolist() == [10.0]


def test_a_direct_junction_joins_roads_without_a_road_between():
    links = '<successor elementType="junction" elementId="9"/>'
    joint = (
        '<junction id="9" type="direct"><connection id="0" incomingRoad="1" linkedRoad="2" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection></junction>'
    )
    graph = compiled(road(1, 20.0, links=links), road(2, 20.0, start=(20.0, 0.0, 0.0)), joint)
    assert graph.successors_of(0).tolist() == [1]
    assert graph.junction.tolist() == [-1, -1]


def test_a_road_may_meet_one_junction_with_both_ends():
    """Each lane of road 1 leaves by its own connecting road and comes back at the other end."""
    ends = '<predecessor elementType="junction" elementId="9"/><successor elementType="junction" elementId="9"/>'
    ways, roads = "", [road(1, 20.0, TWO_WAY, links=ends)]
    for number, (start, contact) in enumerate(((-1, "end"), (1, "start")), 2):
        back = f'<predecessor elementType="road" elementId="1" contactPoint="{contact}"/>'
        back += f'<successor elementType="road" elementId="1" contactPoint="{"start" if start < 0 else "end"}"/>'
        roads.append(road(number, 20.0, section(lane(-1, links=to_lane(start))), junction=9, links=back))
        ways += (
            f'<connection id="{number}" incomingRoad="1" connectingRoad="{number}" contactPoint="start">'
            f'<laneLink from="{start}" to="-1"/></connection>'
        )
    graph = compiled(*roads, f'<junction id="9">{ways}</junction>')
    for start, number in ((-1, 2), (1, 3)):
        one, way = graph.lane_by_key(1, 0, start), graph.lane_by_key(number, 0, -1)
        assert graph.successors_of(one).tolist() == [way]
        assert graph.successors_of(way).tolist() == [one]


def test_a_light_shared_by_all_ways_stops_before_the_junction():
    reference = '<signals><signalReference id="a" s="0.5" t="0" orientation="+"/></signals>'
    graph = junction_with(road4=light("a"), road5=reference)
    assert graph.stop_lane.tolist() == [graph.lane_by_key(1, 0, -1)]
    assert graph.stop_arc.tolist() == [19.0]
    assert (graph.stop_kind[0], graph.stop_group[0], graph.stop_junction[0]) == (0, 0, 9)


def test_a_painted_line_says_where():
    reference = '<signals><signalReference id="a" s="0.5" t="0" orientation="+"/></signals>'
    line = '<objects><object id="1" name="StopLine" s="16" t="-1.75" hdg="1.5708" length="3.5" width="0"/></objects>'
    graph = junction_with(road1=line, road4=light("a"), road5=reference)
    assert graph.stop_arc.tolist() == [16.0]


def test_lights_of_their_own_stay_on_their_ways():
    """Straight on waits for light a, the turn for light b; phases follow the junction's controllers."""
    graph = junction_with(road4=light("a"), road5=light("b"))
    rows = dict(zip(graph.stop_lane.tolist(), zip(graph.stop_arc.tolist(), graph.stop_group.tolist())))
    assert rows == {graph.lane_by_key(4, 0, -1): (0.5, 0), graph.lane_by_key(5, 0, -1): (0.5, 1)}


def test_a_light_for_one_way_only_leaves_the_other_free():
    graph = junction_with(road5=light("b"))
    assert graph.stop_lane.tolist() == [graph.lane_by_key(5, 0, -1)]
    assert graph.stop_group.tolist() == [0], "phases are numbered without gaps"


def test_stop_signs_for_all_ways_are_one_before_the_junction():
    signs = [f'<signals><signal id="{n}" type="206" s="0.5" t="-4" orientation="+"/></signals>' for n in "ab"]
    graph = junction_with(road4=signs[0], road5=signs[1])
    assert graph.stop_lane.tolist() == [graph.lane_by_key(1, 0, -1)]
    assert (graph.stop_arc[0], graph.stop_kind[0], graph.stop_group[0], graph.stop_junction[0]) == (19.0, 1, -1, 9)


def test_a_stop_sign_on_the_road_stands_where_it_stands():
    sign = '<signals><signal id="s" type="206" s="18" t="-4" orientation="{}"/></signals>'
    graph = junction_with(road1=sign.format("+"))
    assert graph.stop_lane.tolist() == [graph.lane_by_key(1, 0, -1)]
    assert graph.stop_arc.tolist() == [18.0]
    assert (graph.stop_kind[0], graph.stop_group[0], graph.stop_junction[0]) == (1, -1, 9)
    assert len(junction_with(road1=sign.format("-")).stop_lane) == 0, "it faces the other way"


def test_lanes_that_cross_or_merge_are_in_conflict_and_lanes_side_by_side_are_not():
    """Roads 1 and 2 cross, road 3 runs along road 1 with its edge on road 1's, road 4 is far away."""
    graph = compiled(
        road(1, 40.0, junction=9),
        road(2, 40.0, junction=9, start=(20.0, -20.0, np.pi / 2)),
        road(3, 40.0, junction=9, start=(0.0, 3.5, 0.0)),
        road(4, 40.0, junction=9, start=(0.0, 200.0, 0.0)),
        road(5, 40.0, start=(10.0, -20.0, np.pi / 2)),
        '<junction id="9"/>',
    )
    assert [graph.conflicts_of(lane).tolist() for lane in range(5)] == [[1], [0, 2], [1], [], []]


@given(st.floats(-200, 200), st.floats(-50, 50), st.floats(-np.pi, np.pi), st.floats(2.0, 6.0))
def test_crosswalk_corners_turn_with_road_and_object(s_shift, t, turn, length):
    s = 50.0 + s_shift / 10
    thing = f'<object id="1" type="crosswalk" s="{s}" t="{t}" hdg="{turn}" length="{length}" width="3"/>'
    graph = compiled(road(1, 100.0, start=(5.0, -3.0, np.pi / 2), extra=f"<objects>{thing}</objects>"))
    corners = graph.crosswalk(0)
    np.testing.assert_allclose(corners.mean(axis=0), [5.0 - t, -3.0 + s], atol=1e-9)
    sides = np.diff(np.vstack([corners, corners[:1]]), axis=0)
    np.testing.assert_allclose(np.hypot(*sides.T), [length, 3, length, 3], atol=1e-9)
    along = np.array([np.cos(np.pi / 2 + turn), np.sin(np.pi / 2 + turn)])
    np.testing.assert_allclose(np.abs(sides[0] @ along), length, atol=1e-9)


def test_crosswalk_outlines_along_a_bend_and_closed_ones():
    """Corners given as s, t on a quarter circle of radius 20; a repeated first corner is dropped."""
    corners = "".join(f'<cornerRoad s="{s}" t="{t}"/>' for s, t in ((0, 2), (0, -2), (10 * np.pi, -2), (0, 2)))
    thing = f'<objects><object id="1" type="crosswalk" s="0" t="0"><outline>{corners}</outline></object></objects>'
    graph = compiled(road(1, 10 * np.pi, geometry='<arc curvature="0.05"/>', extra=thing))
    np.testing.assert_allclose(graph.crosswalk(0), [[0, 2], [0, -2], [22, 20]], atol=1e-9)


def test_compiled_maps_are_kept_by_content(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.xodr", tmp_path / "cache"
    path.write_bytes(opendrive(road(1, 10.0)))
    first = load_map(path, cache)
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(map_compiler, "compile_map", lambda _: pytest.fail("compiled again"))
        assert load_map(path, cache).points.tolist() == first.points.tolist()
    path.write_bytes(opendrive(road(1, 20.0)))
    assert load_map(path, cache).length.tolist() == [20.0]
    assert len(list(cache.iterdir())) == 2
    path.write_bytes(opendrive(road(1, 10.0)))
    kept.write_bytes(kept.read_bytes()[:100])
    assert load_map(path, cache).length.tolist() == [10.0], "a damaged one is made anew"
    assert load_map(path, tmp_path / "a.xodr" / "no folder").length.tolist() == [10.0], "nowhere to write"


@pytest.mark.parametrize(
    ("name", "lights", "crosswalks", "ends"),
    [
        ("Town01", 36, 0, 0),
        ("Town02", 24, 0, 0),
        ("Town03-nosignals", 0, 0, 2),
        ("Town05-nosignals", 0, 0, 0),
        ("Town06", 66, 14, 1),
        ("Town10HD", 32, 16, 0),
    ],
)
def test_a_carla_town_is_whole(name, lights, crosswalks, ends):
    """Lanes lead on seamlessly and straight, slivers or not; every light has a phase of a junction."""
    graph = compile_map(read_opendrive(town(name)))
    assert np.count_nonzero(np.diff(graph.successor_start) == 0) == ends
    gap, turn = seams(graph)
    assert gap.max() < 0.002
    assert turn.max() < 0.001
    assert np.max(np.diff(graph.arc)[np.diff(graph.arc) > 0]) <= 1.0
    assert np.count_nonzero(graph.stop_kind == 0) == lights
    assert np.all(graph.junction[graph.stop_lane] == -1)
    assert np.all(graph.stop_junction >= 0)
    assert np.all((graph.stop_group >= 0) == (graph.stop_kind == 0))
    assert len(graph.crosswalk_start) - 1 == crosswalks
