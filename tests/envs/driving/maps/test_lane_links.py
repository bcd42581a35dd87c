"""Which lane leads into which, across roads, sections, slivers and junctions; which are in each other's way."""

import numpy as np
import pytest

from envs.driving.errors import MapError
from tests.support.junction_map import junction_with
from tests.support.maps import TWO_WAY, compiled, follows, lane, road, section, to_lane


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


@pytest.mark.parametrize("kind", ["road", "junction"])
def test_links_into_nowhere_are_refused(kind):
    link = f'<successor elementType="{kind}" elementId="77" contactPoint="start"/>'
    with pytest.raises(MapError, match=rf"road 1, <road>: is linked to the {kind} '77', which is not in the file"):
        compiled(road(1, lanes=section(lane(-1, links=to_lane(-1))), links=link))


def test_lanes_through_a_junction():
    graph = junction_with()
    lanes = {n: graph.lane_by_key(n, 0, -1) for n in range(1, 6)}
    assert sorted(graph.successors_of(lanes[1])) == [lanes[4], lanes[5]]
    assert graph.successors_of(lanes[4]).tolist() == [lanes[2]]
    assert graph.successors_of(lanes[5]).tolist() == [lanes[3]]
    assert graph.junction[[lanes[n] for n in range(1, 6)]].tolist() == [-1, -1, -1, 9, 9]
    assert len(graph.conflicts) == 0, "they part from one lane"


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
