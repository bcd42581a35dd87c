"""Rotations of the expert: hand-computed cases and properties."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from envs.libero.expert.geometry import (
    GRIPPER_DOWN,
    closing_axis,
    gripper_down,
    hand_yaw,
    pointing,
    rotation_about,
    rotation_error,
    wrap_half_turn,
)

angles = st.floats(-3.1, 3.1)
axes = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


def test_a_quarter_turn_about_z_takes_x_to_y():
    np.testing.assert_allclose(rotation_about((0, 0, 2), np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@given(axes, angles)
def test_the_rotation_error_is_the_rotation_vector(axis, angle):
    start = rotation_about((1.0, 2.0, -1.0), 0.7)
    expected = np.asarray(axis) / np.linalg.norm(axis) * angle
    np.testing.assert_allclose(rotation_error(rotation_about(axis, angle) @ start, start), expected, atol=1e-6)


@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 1.0, 0), (0.6, 0.0, 0.8)])
def test_the_error_of_a_half_turn_is_pi_long(axis):
    error = rotation_error(rotation_about(axis, np.pi), np.eye(3))
    np.testing.assert_allclose(np.abs(error), np.pi * np.abs(axis), atol=1e-6)


def test_gripper_down_points_to_the_floor_and_closes_along_its_axis():
    for yaw in (-0.5, 0.0, 1.0, 2.0):
        rotation = gripper_down(yaw)
        np.testing.assert_allclose(rotation[:, 2], [0, 0, -1], atol=1e-15)
        np.testing.assert_allclose(rotation[:, 0], closing_axis(yaw), atol=1e-15)
        assert hand_yaw(rotation) == pytest.approx(yaw)
    np.testing.assert_array_equal(gripper_down(0.0), GRIPPER_DOWN)


@given(axes, axes.filter(lambda v: abs(v[0]) > 0.2))
def test_pointing_is_a_rotation_with_the_fingers_along_the_approach(approach, closing):
    approach = np.asarray(approach)
    if np.linalg.norm(np.cross(approach, closing)) < 1e-3:
        return
    rotation = pointing(approach, closing)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[:, 2], approach / np.linalg.norm(approach), atol=1e-12)
    assert rotation[:, 0] @ np.asarray(closing) > 0


@given(st.floats(-20, 20))
def test_half_turns_are_dropped(angle):
    wrapped = wrap_half_turn(angle)
    assert -np.pi / 4 < wrapped <= 3 * np.pi / 4 + 1e-9
    turns = (wrapped - angle) / np.pi
    assert turns == pytest.approx(round(turns), abs=1e-6)
