"""Ways over small networks whose shortest way is known by counting."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.carla.lane_search import CHANGE_COST, CHANGE_METRES, Lane, Piece, shortest_way


def test_a_way_along_one_lane():
    assert shortest_way({"a": Lane(50.0)}, ("a", 10.0), ("a", 40.0)) == [Piece("a", 10.0, 40.0, False)]


def test_the_shorter_of_two_ways():
    lanes = {
        "start": Lane(10.0, ("long", "short")),
        "long": Lane(30.0, ("goal",)),
        "short": Lane(20.0, ("goal",)),
        "goal": Lane(10.0),
    }
    way = shortest_way(lanes, ("start", 4.0), ("goal", 6.0))
    assert way == [Piece("start", 4.0, 10.0, False), Piece("short", 0.0, 20.0, False), Piece("goal", 0.0, 6.0, False)]


def test_a_goal_behind_is_reached_around_the_block():
    lanes = {"a": Lane(50.0, ("b",)), "b": Lane(20.0, ("a",))}
    way = shortest_way(lanes, ("a", 30.0), ("a", 20.0))
    assert way == [Piece("a", 30.0, 50.0, False), Piece("b", 0.0, 20.0, False), Piece("a", 0.0, 20.0, False)]
    assert shortest_way({"a": Lane(50.0)}, ("a", 30.0), ("a", 20.0)) is None


def test_a_lane_change_leads_on_where_it_arrives():
    lanes = {"left": Lane(100.0, (), ("right",)), "right": Lane(50.0, ("exit",), ("left",)), "exit": Lane(10.0)}
    way = shortest_way(lanes, ("left", 10.0), ("exit", 5.0))
    arrived = (10.0 + CHANGE_METRES) / 100.0 * 50.0  # at the same share of the lane's length
    assert way == [
        Piece("left", 10.0, 10.0, True),
        Piece("right", arrived, 50.0, False),
        Piece("exit", 0.0, 5.0, False),
    ]


def test_a_place_beside_is_not_reached_by_a_change_that_ends_behind_it():
    lanes = {"left": Lane(100.0, (), ("right",)), "right": Lane(100.0)}
    assert shortest_way(lanes, ("left", 10.0), ("right", 10.0 + CHANGE_METRES - 1.0)) is None
    assert shortest_way(lanes, ("left", 10.0), ("right", 10.0 + CHANGE_METRES + 1.0)) is not None
    assert shortest_way(lanes, ("left", 97.0), ("right", 99.0)) is None, "no room for a change"


def test_a_change_is_worth_a_short_detour_only():
    for detour, changes in ((CHANGE_COST - 2.0, False), (CHANGE_COST + 2.0, True)):
        lanes = {
            "left": Lane(60.0, ("around",), ("right",)),
            "right": Lane(60.0, ("goal",)),
            "around": Lane(detour, ("goal",)),
            "goal": Lane(10.0),
        }
        way = shortest_way(lanes, ("left", 0.0), ("goal", 5.0))
        assert any(piece.changes for piece in way) is changes


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=5, max_size=5),
    edges=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12),
)
def test_no_sequence_of_lanes_is_shorter(lengths, edges):
    """Against all simple sequences of up to five lanes."""
    lanes = {i: Lane(float(lengths[i]), tuple(b for a, b in sorted(edges) if a == i)) for i in range(5)}
    way = shortest_way(lanes, (0, 0.0), (4, 1.0))
    costs = [
        sum(lengths[lane] for lane in (0, *middle)) + 1.0
        for count in range(4)
        for middle in itertools.permutations((1, 2, 3), count)
        if all(step in edges for step in itertools.pairwise((0, *middle, 4)))
    ]
    assert (way is None) == (not costs)
    if way is not None:
        assert sum(piece.last - piece.first for piece in way) == pytest.approx(min(costs))
