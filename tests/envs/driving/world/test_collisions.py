"""Overlap of boxes against clipping one polygon by the other, and the grid against all pairs."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.world.collisions import actors_overlap, boxes_overlap, find_contacts
from envs.driving.world.occupancy import make_scratch
from envs.driving.world.records import ACTOR

PLACE, ANGLE, HALF = st.floats(-6, 6), st.floats(-4, 4), st.floats(0.2, 4)


def corners(x, y, heading, half_length, half_width):
    along = np.array([math.cos(heading), math.sin(heading)])
    left = np.array([-along[1], along[0]])
    signs = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    return [np.array([x, y]) + a * half_length * along + b * half_width * left for a, b in signs]


def common_area(one, other):
    """Sutherland and Hodgman's clipping, then the shoelace formula."""
    polygon = one
    for a, b in zip(other, other[1:] + other[:1], strict=True):
        inside = [(b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) for p in polygon]
        clipped = []
        for i, p in enumerate(polygon):
            q, here, there = polygon[(i + 1) % len(polygon)], inside[i], inside[(i + 1) % len(polygon)]
            if here >= 0:
                clipped.append(p)
            if here * there < 0:
                clipped.append(p + here / (here - there) * (q - p))
        polygon = clipped
        if not polygon:
            return 0.0
    x, y = np.array(polygon).T
    return 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@given(PLACE, PLACE, ANGLE, HALF, HALF, ANGLE, HALF, HALF)
def test_overlap_is_having_common_area(x, y, heading, length, width, other_heading, other_length, other_width):
    one, other = (0.0, 0.0, heading, length, width), (x, y, other_heading, other_length, other_width)
    area = common_area(corners(*one), corners(*other))
    if area > 1e-6:
        assert boxes_overlap(*one, *other)
    grown = (x, y, other_heading, other_length + 1e-6, other_width + 1e-6)
    if common_area(corners(*one), corners(*grown)) == 0.0:
        assert not boxes_overlap(*one, *other)


def test_touching_edges_do_not_overlap():
    assert not boxes_overlap(0.0, 0.0, 0.0, 2.0, 1.0, 4.0, 0.0, 0.0, 2.0, 1.0)
    assert boxes_overlap(0.0, 0.0, 0.0, 2.0, 1.0, 3.999, 0.0, 0.0, 2.0, 1.0)


def test_forecast_moves_both():
    """Bumpers 6 m apart, closing at 10 m/s: they meet after 0.6 s."""
    actors = np.zeros(2, ACTOR)
    actors["half_length"], actors["half_width"] = 2.0, 1.0
    actors["x"], actors["velocity_x"] = [0, 10], [8, -2]
    assert not actors_overlap(actors[0], actors[1], 0.59)
    assert actors_overlap(actors[0], actors[1], 0.61)


@given(st.integers(0, 2**32 - 1))
def test_grid_finds_what_all_pairs_find(seed):
    random = np.random.default_rng(seed)
    actors = np.zeros(24, ACTOR)
    actors["active"] = random.random(24) < 0.8
    actors["x"], actors["y"] = random.uniform(-20, 20, (2, 24))
    actors["heading"] = random.uniform(-np.pi, np.pi, 24)
    actors["half_length"], actors["half_width"] = random.uniform(0.3, 4, 24), random.uniform(0.3, 1.3, 24)
    scratch = make_scratch(1, 24)
    find_contacts(actors, scratch)
    for i in range(24):
        near = [
            j
            for j in range(24)
            if i != j and actors["active"][i] and actors["active"][j] and actors_overlap(actors[i], actors[j], 0.0)
        ]
        assert actors["touching"][i] == min(near, default=-1)
    assert (scratch.cell_head == -1).all()
