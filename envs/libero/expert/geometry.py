"""Rotations for the expert's waypoints. All matrices are ``float64 [3, 3]``, lengths in metres, angles in radians."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Orientation of the grip site with the gripper pointing straight down: its x axis is the world's y axis, its z axis
# points to the floor. The fingers then close along the world's y axis. (Mean posture of LIBERO's initial states,
# rounded to the exact rotation.)
GRIPPER_DOWN: Array = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def rotation_about(axis: ArrayLike, angle: float) -> Array:
    """Rotation by ``angle`` about ``axis`` (Rodrigues' formula)."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def gripper_down(yaw: float) -> Array:
    """Gripper pointing down, turned by ``yaw`` about the vertical; it closes along ``closing_axis(yaw)``."""
    return rotation_about((0.0, 0.0, 1.0), yaw) @ GRIPPER_DOWN


def closing_axis(yaw: float) -> Array:
    """Horizontal unit vector along which the fingers of ``gripper_down(yaw)`` close."""
    return np.array([-np.sin(yaw), np.cos(yaw), 0.0])


def hand_yaw(rotation: Array) -> float:
    """Yaw [rad] of the upright gripper whose fingers close nearest to those of ``rotation``."""
    across = rotation[:, 0]
    return float(np.arctan2(-across[0], across[1]))


def pointing(approach: ArrayLike, closing: ArrayLike) -> Array:
    """Orientation of a gripper whose fingers point along ``approach`` and close along ``closing``."""
    forward = np.asarray(approach, dtype=np.float64) / np.linalg.norm(approach)
    side = np.asarray(closing, dtype=np.float64)
    side = side - forward * float(side @ forward)
    side = side / np.linalg.norm(side)
    return np.column_stack([side, np.cross(forward, side), forward])


def rotation_error(target: Array, current: Array) -> Array:
    """Axis-angle vector ``[3]`` that turns ``current`` into ``target``, in the world frame."""
    delta = target @ current.T
    axis = np.array([delta[2, 1] - delta[1, 2], delta[0, 2] - delta[2, 0], delta[1, 0] - delta[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2.0, (np.trace(delta) - 1.0) / 2.0
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        return axis / (2.0 * sine) * angle
    if cosine > 0.0:
        return axis / 2.0
    # A half turn: the axis is the column of (R + I) with the largest diagonal entry.
    half = delta + np.eye(3)
    column = half[:, int(np.argmax(np.diag(half)))]
    return column / np.linalg.norm(column) * np.pi


def wrap_half_turn(angle: float) -> float:
    """``angle`` modulo pi in (-45, 135] degrees: half a turn makes the same gripper.

    With the gripper down, the Panda's last joint stands near 45 degrees minus the yaw: this range keeps it furthest
    from its limits, so that the hand can still be tilted.
    """
    wrapped = (angle + np.pi / 4.0) % np.pi - np.pi / 4.0
    return float(wrapped + np.pi if np.isclose(wrapped, -np.pi / 4.0) else wrapped)
