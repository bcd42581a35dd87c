"""Lights and stop signs on a straight way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.carla.path_ahead import PathAhead
from envs.carla.road_rules import BEFORE_LINE, StopLine, line_speed, lines_on_way
from tests.envs.carla.fakes import Actors, Map, Place, Pose, Straight, Waypoint, light, stop_sign

WAY = np.column_stack([np.arange(0.0, 101.0, 2.0), np.zeros(51)])
LANE = Straight((1, 0, -1), 0.0, 0.0, 0.0, 100.0)
ONCOMING = Straight((1, 0, 1), 100.0, -3.5, 180.0, 100.0)


def allowed(line, front, speed=8.0, heed=(True, True)):
    return line_speed([line], front, speed, 60.0, 2.5, heed)


def test_lines_are_found_on_the_way_only():
    town = Map().add(LANE, ONCOMING)
    mine, theirs = light([Waypoint(town, LANE, 41.0)]), light([Waypoint(town, ONCOMING, 41.0)])
    sign = stop_sign(Pose(70.0, 6.0, 90.0), Place(-6.0, 0.0))
    lines = lines_on_way(PathAhead(WAY), Actors([theirs, sign, mine]), town)
    assert [(line.arc, line.light) for line in lines] == [(pytest.approx(41.0), mine), (pytest.approx(70.0), None)]


def test_a_way_that_comes_by_twice_has_the_line_twice():
    square = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 30.0], [0.0, 30.0], [0.0, 0.0], [40.0, 0.0]])
    town = Map().add(LANE)
    lines = lines_on_way(PathAhead(square), Actors([light([Waypoint(town, LANE, 20.0)])]), town)
    assert [line.arc for line in lines] == [pytest.approx(20.0), pytest.approx(160.0)]


def test_red_halts_before_the_line_and_green_does_not():
    line = StopLine(50.0, light([]))
    assert allowed(line, 30.0) == pytest.approx(math.sqrt(2 * 2.5 * (20.0 - BEFORE_LINE)))
    assert allowed(line, 49.5) == 0.0
    assert allowed(line, 50.6) == math.inf, "passed"
    assert allowed(line, 30.0, heed=(False, True)) == math.inf
    line.light.state = "Green"
    assert allowed(line, 30.0) == math.inf


def test_yellow_halts_who_still_can():
    line = StopLine(50.0, light([], "Yellow"))
    assert allowed(line, 30.0, speed=8.0) < math.inf
    assert allowed(line, 45.0, speed=8.0) == math.inf  # 64 / 7 = 9.1 m are needed


def test_a_stop_sign_lets_on_who_has_halted():
    line = StopLine(50.0)
    assert allowed(line, 48.5, speed=3.0) < 2.0
    assert allowed(line, 30.0, speed=0.0) < math.inf and not line.served, "halted too early"
    assert allowed(line, 48.5, speed=0.1) == math.inf and line.served
    assert allowed(line, 49.0, speed=3.0) == math.inf
    assert allowed(StopLine(50.0), 48.5, speed=3.0, heed=(True, False)) == math.inf
