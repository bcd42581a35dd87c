"""Lines whose geometry is known: straight along x, a corner, a circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.carla.path_ahead import Box, PathAhead, approach_speed

STRAIGHT = np.column_stack([np.arange(0.0, 101.0, 2.0), np.zeros(51)])


def box(x, y, heading=0.0, vx=0.0, vy=0.0):
    return Box(x, y, heading, 2.0, 1.0, vx, vy)


def gap(path, *others, speed=0.0, reach=60.0):
    return path.gap(list(others), 1.2, speed, reach)


@given(along=st.floats(0, 100), aside=st.floats(-5, 5))
def test_projection_on_a_straight_line(along, aside):
    arcs, offsets, distances = PathAhead(STRAIGHT).project(np.array([[along, aside]]), 0.0, 100.0)
    assert arcs[0] == pytest.approx(along, abs=1e-9)
    assert offsets[0] == pytest.approx(aside, abs=1e-9)
    assert distances[0] == pytest.approx(abs(aside), abs=1e-9)


def test_progress_never_falls_and_does_not_jump_over_a_loop():
    there_and_back = np.concatenate([STRAIGHT, STRAIGHT[::-1] + [0.0, 3.5]])
    path = PathAhead(there_and_back)
    path.advance(10.0, 0.4)
    assert path.arc == pytest.approx(10.0)
    path.advance(8.5, 0.0)
    assert path.arc == pytest.approx(10.0)
    path.advance(12.0, 3.4)  # nearer to the way back, which comes much later
    assert path.arc == pytest.approx(12.0)
    assert path.left == pytest.approx(path.arcs[-1] - 12.0)
    path.advance(60.0, 50.0)
    assert path.arc == pytest.approx(12.0), "lost: no progress"


def test_places_and_headings():
    path = PathAhead(np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 0.0], [10.0, 5.0]]))
    assert path.place(4.0) == (4.0, 0.0)
    assert path.place(12.0) == (10.0, 2.0)
    assert path.place(99.0) == (10.0, 5.0)
    assert (path.heading(4.0), path.heading(12.0)) == (0.0, math.pi / 2)


def test_one_point_is_a_way_that_is_done():
    assert PathAhead(np.array([[3.0, 4.0]])).left < 0.01
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        PathAhead(np.zeros((0, 2)))


def test_bends_limit_the_speed():
    angles = np.linspace(0.0, math.pi, 60)
    radius = 20.0
    bend = np.column_stack([radius * np.sin(angles), radius * (1 - np.cos(angles))])
    path = PathAhead(bend)
    path.advance(*bend[10])
    assert path.bend_speed(10.0, 2.0, 3.0) == pytest.approx(math.sqrt(2.0 * radius), rel=0.02)
    assert PathAhead(STRAIGHT).bend_speed(50.0, 2.0, 3.0) > 1000.0
    ahead = PathAhead(np.concatenate([STRAIGHT[:11], bend[1:] + [20.0, 0.0]]))
    assert ahead.bend_speed(25.0, 2.0, 3.0) == pytest.approx(math.sqrt(2.0 * radius + 2 * 3.0 * 20.0), rel=0.05)


def test_who_stands_on_the_line():
    path = PathAhead(STRAIGHT)
    assert gap(path, box(30.0, 0.0)).metres == pytest.approx(28.0)
    assert gap(path, box(30.0, 0.0, vx=6.0)) == (pytest.approx(28.0), pytest.approx(6.0))
    assert gap(path, box(30.0, 2.1)).metres == pytest.approx(28.0), "its side reaches into the corridor"
    assert gap(path, box(30.0, 2.3)).metres == math.inf
    assert gap(path, box(30.0, 0.0, heading=math.pi / 2)).metres == pytest.approx(29.0), "it stands across"
    assert gap(path, box(80.0, 0.0)).metres == math.inf, "beyond the reach"
    assert gap(path, box(50.0, 0.0), box(30.0, 0.0)).metres == pytest.approx(28.0), "the nearest counts"


def test_who_is_behind_does_not_count():
    path = PathAhead(STRAIGHT)
    path.advance(20.0, 0.0)
    assert gap(path, box(15.0, 0.0, vx=9.0)).metres == math.inf


def test_who_will_cross():
    path = PathAhead(STRAIGHT)
    walker = Box(8.0, -4.0, math.pi / 2, 0.2, 0.2, 0.0, 2.0)  # on the line after 2 s; so is the vehicle at 4 m/s
    assert gap(path, walker).metres == pytest.approx(7.8)
    assert gap(path, walker._replace(velocity_y=0.0)).metres == math.inf
    assert gap(path, walker._replace(velocity_y=-2.0)).metres == math.inf, "it walks away"
    assert gap(path, walker._replace(x=50.0)).metres == math.inf, "it is over before the vehicle comes"
    beside = box(10.0, 3.5, heading=math.pi, vx=-10.0, vy=-0.5)
    assert gap(path, beside).metres == math.inf, "oncoming traffic does not cross"


def test_the_speed_before_a_halt():
    assert approach_speed(10.0, 0.0, 2.0) == pytest.approx(math.sqrt(40.0))
    assert approach_speed(10.0, 3.0, 2.0) == pytest.approx(7.0)
    assert approach_speed(0.0, 3.0, 2.0) == 0.0
    assert approach_speed(math.inf, 0.0, 2.0) == math.inf
