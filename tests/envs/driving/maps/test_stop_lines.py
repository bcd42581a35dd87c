"""Where lights and stop signs let cars stop, and the phases of lights."""

from tests.support.junction_map import junction_with


def light(name: str, s: float = 0.5) -> str:
    return f'<signals><signal id="{name}" type="1000001" s="{s}" t="0" orientation="+"/></signals>'


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
