"""Routes over a crossing of straight lanes, with CARLA's objects faked; the genuine ones are in client_checks.py."""

from __future__ import annotations

from itertools import pairwise

import pytest

from envs.carla.global_route_planner import GlobalRoutePlanner, RoadOption
from envs.driving.errors import RouteError
from tests.envs.carla.fakes import Map, Place, Straight

IN, BESIDE, AHEAD, RIGHT = (1, 0, -1), (1, 0, -2), (2, 0, -1), (3, 0, -1)
OVER, TURN = (10, 0, -1), (11, 0, -1)


def crossing() -> Map:
    """Two lanes along x; behind the junction one goes straight on, the other turns right, along y (yaw 90)."""
    return Map().add(
        Straight(IN, 0.0, 0.0, 0.0, 60.0, right=BESIDE, successors=(OVER,)),
        Straight(BESIDE, 0.0, 3.5, 0.0, 60.0, left=IN, successors=(TURN,)),
        Straight(OVER, 60.0, 0.0, 0.0, 10.0, junction=True, successors=(AHEAD,)),
        Straight(TURN, 60.0, 3.5, 45.0, 10.0, junction=True, successors=(RIGHT,)),
        Straight(AHEAD, 70.0, 0.0, 0.0, 40.0),
        Straight(RIGHT, 67.0, 10.6, 90.0, 40.0),
    )


def trace(start, end, resolution=2.0):
    return GlobalRoutePlanner(crossing(), resolution).trace_route(Place(*start), Place(*end))


def test_straight_over_a_junction():
    plan = trace((10.0, 0.3), (100.0, -0.3))
    places = [waypoint.transform.location for waypoint, _ in plan]
    assert all(place.y == 0.0 for place in places)
    xs = [place.x for place in places]
    assert xs == sorted(xs) and 10.0 <= xs[0] <= 12.0 and 98.0 <= xs[-1] <= 100.0
    assert {b - a for a, b in pairwise(xs)} <= {2.0}
    options = {waypoint.lane.key: option for waypoint, option in plan}
    assert options == {IN: RoadOption.LANEFOLLOW, OVER: RoadOption.STRAIGHT, AHEAD: RoadOption.LANEFOLLOW}


def test_a_right_turn_is_named_and_reached_by_a_lane_change():
    plan = trace((10.0, 0.0), (67.0, 40.0))
    options = [option for _, option in plan]
    assert options[0] is RoadOption.CHANGELANERIGHT
    assert RoadOption.RIGHT in options and RoadOption.LEFT not in options
    lanes = list(dict.fromkeys(waypoint.lane.key for waypoint, _ in plan))
    assert lanes == [IN, BESIDE, TURN, RIGHT]
    assert plan[1][0].arc >= 30.0, "the change takes 20 m"


def test_a_change_to_the_left():
    plan = trace((10.0, 3.5), (100.0, 0.0))
    assert plan[0][1] is RoadOption.CHANGELANELEFT


def test_where_no_way_leads():
    with pytest.raises(RouteError, match="no way leads from x 80.0, y 0.0 on lane"):
        trace((80.0, 0.0), (10.0, 0.0))


def test_the_resolution_must_be_positive():
    with pytest.raises(ValueError, match="more than 0"):
        GlobalRoutePlanner(crossing(), 0.0)


def test_options_have_the_numbers_that_users_know():
    assert [option.value for option in RoadOption] == [-1, 1, 2, 3, 4, 5, 6]
