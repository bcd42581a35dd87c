"""Geometry of reference lines, against hand-computed points, quadrature and their own derivatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from envs.driving.maps.reference_line import (
    Arc,
    ParametricCubic,
    PiecewiseCubic,
    ReferenceLine,
    Shape,
    Spiral,
    poly3,
)

curvatures = st.floats(-0.2, 0.2)
small = st.floats(-0.02, 0.02)


def test_a_quarter_circle_ends_where_it_must():
    place = Arc(1 / 20.0).at(np.array([0.0, 10 * np.pi]))
    np.testing.assert_allclose(place.x, [0, 20], atol=1e-12)
    np.testing.assert_allclose(place.y, [0, 20], atol=1e-12)
    np.testing.assert_allclose(place.heading, [0, np.pi / 2], atol=1e-12)


def test_an_arc_without_curvature_is_a_line():
    place = Arc(0.0).at(np.array([0.0, 12.5]))
    np.testing.assert_array_equal(place.x, [0.0, 12.5])
    np.testing.assert_array_equal(place.y, [0.0, 0.0])


@given(curvatures, curvatures, st.floats(1.0, 150.0))
def test_a_clothoid_is_the_integral_of_its_heading(start, end, length):
    def heading(s):
        return start * s + 0.5 * (end - start) / length * s * s

    s = np.array([0.37 * length, length])
    place = Spiral(start, end, length).at(s)
    for i, stop in enumerate(s):
        x, _ = integrate.quad(lambda t: np.cos(heading(t)), 0, stop, epsabs=1e-10, limit=400)
        y, _ = integrate.quad(lambda t: np.sin(heading(t)), 0, stop, epsabs=1e-10, limit=400)
        assert abs(place.x[i] - x) < 1e-6
        assert abs(place.y[i] - y) < 1e-6
        assert abs(place.heading[i] - heading(stop)) < 1e-9


@pytest.mark.parametrize("rate", [1e-4, 1e-6, 1e-8, 1e-10, 1e-11, 1e-13])
def test_a_clothoid_that_hardly_changes_is_an_arc(rate):
    """The Fresnel form loses digits where the curvature changes slowly; it must not lose millimetres."""
    s = np.linspace(0.0, 100.0, 21)
    spiral, arc = Spiral(0.02, 0.02 + rate * 100.0, 100.0).at(s), Arc(0.02).at(s)
    drift = rate * s**3  # the heading differs by rate s^2 / 2, the place by less than its integral
    assert np.all(np.hypot(spiral.x - arc.x, spiral.y - arc.y) <= drift + 1e-5)


shapes = st.one_of(
    st.builds(Arc, curvatures),
    st.builds(Spiral, curvatures, curvatures, st.just(40.0)),
    st.builds(lambda c, d: poly3(np.array([0.0, 0.0, c, d / 10]), 40.0), small, st.floats(-0.005, 0.005)),
    st.builds(
        lambda v1, v2, v3: ParametricCubic(np.array([0, 40.0, 5.0, -5.0]), np.array([0, v1, v2, v3]), 1.0, 40.0),
        *[st.floats(-15.0, 15.0)] * 3,
    ),
)


@given(shapes)
def test_heading_and_curvature_are_the_curves_own(shape: Shape):
    s, h = np.linspace(1.0, 39.0, 30), 1e-4
    ahead, behind, here = shape.at(s + h), shape.at(s - h), shape.at(s)
    dx, dy = (ahead.x - behind.x), (ahead.y - behind.y)
    turn = np.angle(np.exp(1j * (np.arctan2(dy, dx) - here.heading)))
    assert np.max(np.abs(turn)) < 1e-5
    bend = np.angle(np.exp(1j * (ahead.heading - behind.heading))) / np.hypot(dx, dy)
    np.testing.assert_allclose(bend, here.curvature, atol=1e-4, rtol=1e-3)


@given(shapes)
def test_curves_are_walked_at_an_even_speed(shape: Shape):
    """Equal steps of s are equal steps along the curve, also where u(p), v(p) are not."""
    place = shape.at(np.linspace(0.0, 40.0, 2001))
    steps = np.hypot(np.diff(place.x), np.diff(place.y))
    np.testing.assert_allclose(steps, steps.mean(), rtol=2e-3)


def test_poly3_is_as_long_as_it_says_and_lies_on_its_polynomial():
    c = np.array([0.0, 0.1, 0.01, -0.0002])
    place = poly3(c, 30.0).at(np.linspace(0.0, 30.0, 3001))
    np.testing.assert_allclose(place.y, c[1] * place.x + c[2] * place.x**2 + c[3] * place.x**3, atol=1e-9)
    assert abs(np.sum(np.hypot(np.diff(place.x), np.diff(place.y))) - 30.0) < 1e-4


def test_a_parametric_cubic_ends_at_its_end_even_if_its_length_is_misstated():
    u, v = np.array([0.0, 10.0, 0.0, 0.0]), np.array([0.0, 0.0, 3.0, -2.0])
    true_length = ParametricCubic(u, v, 1.0, 1.0).arc_length()[1][-1]
    place = ParametricCubic(u, v, 1.0, true_length * 1.01).at(np.array([true_length * 1.01]))
    np.testing.assert_allclose([place.x[0], place.y[0]], [10.0, 1.0], atol=1e-9)


def test_elements_are_placed_one_after_the_other():
    """10 m east, then a quarter turn to the left of radius 5, placed with its own origin."""
    line = ReferenceLine(np.array([0.0, 10.0]), np.array([[1.0, 2.0, 0.0], [11.0, 2.0, 0.0]]), (Arc(0.0), Arc(0.2)))
    place = line.at(np.array([0.0, 5.0, 10.0, 10.0 + 2.5 * np.pi]))
    np.testing.assert_allclose(place.x, [1, 6, 11, 16], atol=1e-12)
    np.testing.assert_allclose(place.y, [2, 2, 2, 7], atol=1e-12)
    np.testing.assert_allclose(place.curvature, [0, 0, 0.2, 0.2])


def test_piecewise_cubics_by_hand():
    """1 + 2d on [0, 10), then 5 - d^2; at 10 the second piece holds, just before it the first."""
    cubic = PiecewiseCubic(np.array([0.0, 10.0]), np.array([[1.0, 2.0, 0, 0], [5.0, 0, -1.0, 0]]))
    value, slope = cubic.at(np.array([0.0, 4.0, 10.0, 12.0]))
    np.testing.assert_allclose(value, [1, 9, 5, 1])
    np.testing.assert_allclose(slope, [2, 2, 0, -4])
    value, _ = cubic.at(np.array([4.0, 10.0]), end=10.0)
    np.testing.assert_allclose(value, [9, 21])
    value, _ = cubic.at(np.array([8.0, 9.0, 12.0]), first=10.0)
    np.testing.assert_allclose(value, [5 - 4, 5 - 1, 1])


def test_no_piece_at_all_is_zero():
    value, slope = PiecewiseCubic(np.zeros(0), np.zeros((0, 4))).at(np.array([3.0]))
    assert value[0] == slope[0] == 0.0
