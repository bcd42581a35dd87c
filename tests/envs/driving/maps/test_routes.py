"""Routes: hand-made ones, lane changes, ways around, and maps that do not connect."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from envs.driving.errors import RouteError
from envs.driving.maps.lane_graph import EDGE_SOLID
from envs.driving.maps.map_compiler import compile_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.maps.opendrive import read_opendrive
from envs.driving.maps.routes import LANE_CHANGE, find_route
from tests.support.maps import compiled, lane, road, section

TOWN = compile_map(read_opendrive(shipped_map("grid_town")))
RING = compile_map(read_opendrive(shipped_map("ring_road")))
AHEAD = '<successor id="{}"/>'


def test_along_one_lane():
    route = find_route(compiled(road(1, 50.0)), (0, 10.0), (0, 35.0))
    assert (route.lanes, route.length) == ((0,), 25.0)


def test_backwards_on_one_lane_is_no_way():
    with pytest.raises(RouteError, match=r"no way leads from lane 0 \(road 1, section 0, lane -1\) to lane 0"):
        find_route(compiled(road(1, 50.0)), (0, 35.0), (0, 10.0))


def test_backwards_on_a_loop_is_once_around():
    loop = '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
    loop += '<successor elementType="road" elementId="1" contactPoint="start"/>'
    inner = lane(-1, links='<predecessor id="-1"/><successor id="-1"/>')
    graph = compiled(road(1, 40 * np.pi, section(inner), '<arc curvature="0.05"/>', links=loop))
    route = find_route(graph, (0, 35.0), (0, 10.0))
    assert route.lanes == (0, 0)
    assert route.length == pytest.approx(graph.length[0] - 25.0)


def test_a_lane_is_changed_where_the_line_is_broken():
    both = [lane(-1, mark="broken"), lane(-2, links=AHEAD.format(-2))]
    two = road(1, 30.0, section("".join(both)) + section(lane(-1) + lane(-2), s=20.0))
    graph = compiled(two)
    lanes = {tuple(key[1:]): n for n, key in enumerate(graph.lane_key.tolist())}
    route = find_route(graph, (lanes[0, -1], 5.0), (lanes[1, -2], 5.0))
    assert route.lanes == (lanes[0, -1], lanes[0, -2], lanes[1, -2])
    assert route.length == pytest.approx(20.0)
    with pytest.raises(RouteError, match="from the first, 3 of 4 lanes can be reached"):
        find_route(graph, (lanes[0, -1], 5.0), (lanes[1, -1], 5.0))


def test_a_solid_line_is_not_crossed_and_none_inside_a_junction():
    beside = section(lane(-1, mark="solid") + lane(-2))
    with pytest.raises(RouteError):
        find_route(compiled(road(1, 30.0, beside)), (0, 0.0), (1, 10.0))
    inside = section(lane(-1, mark="broken") + lane(-2))
    with pytest.raises(RouteError):
        find_route(compiled(road(1, 30.0, inside, junction=9), '<junction id="9"/>'), (0, 0.0), (1, 10.0))
    assert find_route(compiled(road(1, 30.0, inside)), (0, 0.0), (1, 10.0)).lanes == (0, 1)


def test_the_other_direction_of_a_dead_end_cannot_be_reached():
    graph = compiled(road(1, 30.0, section(lane(-1), lane(1))))
    with pytest.raises(RouteError, match="from the first, 1 of 2 lanes can be reached"):
        find_route(graph, (0, 0.0), (1, 0.0))


@pytest.mark.parametrize(
    ("lane_number", "arc", "told"), [(-1, 0.0, "no lane -1"), (9, 0.0, "lanes 0 to 0"), (0, 31.0, "30.00 m long")]
)
def test_places_off_the_map_are_refused(lane_number, arc, told):
    with pytest.raises(RouteError, match=told):
        find_route(compiled(road(1, 30.0)), (0, 0.0), (lane_number, arc))


def cost_by_matrix(graph) -> np.ndarray:
    """Cheapest way from the start of every lane to the start of every other, by scipy."""
    source = np.repeat(np.arange(graph.lanes), np.diff(graph.successor_start))
    price = np.full((graph.lanes, graph.lanes), np.inf)
    price[source, graph.successors] = graph.length[source]
    for lane_number in np.flatnonzero(graph.junction < 0):
        for side, other in enumerate((graph.left[lane_number], graph.right[lane_number])):
            if other >= 0 and np.any(graph.edge_kind[graph.lane_points(lane_number), side] != EDGE_SOLID):
                price[lane_number, other] = min(price[lane_number, other], LANE_CHANGE)
    return dijkstra(csr_matrix(np.where(np.isinf(price), 0.0, price)))


COSTS = {id(graph): cost_by_matrix(graph) for graph in (TOWN, RING)}


@given(st.sampled_from([TOWN, RING]), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_route_is_cheaper(graph, start, end):
    start, end = start % graph.lanes, end % graph.lanes
    route = find_route(graph, (start, 0.0), (end, 0.0))
    changes = 0
    for one, other in zip(route.lanes, route.lanes[1:]):
        beside = other in (graph.left[one], graph.right[one])
        assert beside or other in graph.successors_of(one)
        changes += beside
    assert route.length + changes * LANE_CHANGE == pytest.approx(COSTS[id(graph)][start, end])
