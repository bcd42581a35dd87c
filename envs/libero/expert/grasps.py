"""Where to grip an object from above, from its collision shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.libero.expert.geometry import Array, closing_axis, gripper_down, rotation_about, wrap_half_turn
from envs.libero.expert.scene import Scene

MAX_WIDTH = 0.074
"""Widest object side the fingers are sent around [m]; they open to 80 mm."""
PALM_DEPTH = 0.028
"""How far below an object's top the grip site may be before the palm touches the object [m]."""
TOP_BAND = 0.008
"""Geoms that reach this close to an object's highest point make up its topmost feature [m]."""
FINGER_BELOW_SITE = 0.019
"""How far the finger tips reach below the grip site [m]."""


@dataclass(frozen=True, slots=True)
class Grasp:
    """How to grip, relative to the object's present shape, so that it carries over to other initial states.

    ``kind`` is ``"across"`` (both sides of the object, along its narrow side turned by ``angle`` degrees), ``"top"``
    (the same, of the object's topmost feature: a lid's knob, a bottle's neck) or ``"rim"`` (one wall of something
    hollow, found at ``angle`` degrees of azimuth).
    """

    kind: str = "across"
    angle: float = 0.0
    height: float = 0.0
    """Metres added to the default height of the grip."""
    along: float = 0.0
    """Across grasps: metres by which the grip is moved along the object's other side."""
    lean: float = 0.0
    """Rim grasps: degrees by which the hand leans outwards, to reach under something."""
    inset: float = 0.006
    """Rim grasps: metres from the outermost point to the middle of the wall."""


def narrow_yaw(points: Array) -> float:
    """Yaw [rad] for which the fingers close across the narrowest side of ``points``; ties go to the smallest turn."""
    yaws = np.deg2rad(np.arange(-90, 90, 5))
    order = np.argsort(np.abs(yaws), kind="stable")
    widths = [float(np.ptp(points @ closing_axis(yaws[i]))) for i in order]
    best = min(widths)
    return wrap_half_turn(next(float(yaws[i]) for i, w in zip(order, widths, strict=True) if w < best + 0.002))


def grasp_pose(scene: Scene, body: int, grasp: Grasp) -> tuple[Array, Array]:
    """Target of the grip site [m] and orientation ``[3, 3]`` of the gripper for gripping ``body`` now."""
    points = scene.points(body)
    bottom, top = float(points[:, 2].min()), float(points[:, 2].max())
    lowest = bottom + FINGER_BELOW_SITE - 0.003
    if grasp.kind != "rim":
        height = max(min((bottom + top) / 2.0, top - 0.01), top - PALM_DEPTH, lowest) + grasp.height
        near = scene.points(body, height - 0.015, height + 0.015)
        if grasp.kind == "top":
            height, near = top - 0.012 + grasp.height, scene.points(body, top - TOP_BAND)
        near = points if len(near) == 0 else near
        yaw = wrap_half_turn(narrow_yaw(near) + np.deg2rad(grasp.angle))
        axis = closing_axis(yaw)
        side = np.array([axis[1], -axis[0], 0.0])
        middle = sum(a * (float((near @ a).min()) + float((near @ a).max())) / 2.0 for a in (axis, side))
        middle = middle + grasp.along * side
        return np.array([middle[0], middle[1], height]), gripper_down(yaw)
    azimuth = np.deg2rad(grasp.angle)
    direction = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    rim = scene.points(body, top - 0.01)
    centre = (rim.min(axis=0) + rim.max(axis=0)) / 2.0
    across = np.array([-direction[1], direction[0], 0.0])
    strip = rim[np.abs((rim - centre) @ across) < 0.02]
    strip = rim if len(strip) == 0 else strip
    radius = float(((strip - centre) @ direction).max()) - grasp.inset
    target = centre + radius * direction
    target[2] = max(top - 0.018, lowest) + grasp.height
    # Fingers close along the azimuth; closing_axis(yaw) points to azimuth yaw + 90 degrees.
    upright = gripper_down(wrap_half_turn(azimuth - np.pi / 2.0))
    return target, rotation_about(across, np.deg2rad(grasp.lean)) @ upright


def grasp_width(scene: Scene, name: str, grasp: Grasp) -> float:
    """Extent of the object between the fingers [m]."""
    target, rotation = grasp_pose(scene, scene.body(name), grasp)
    near = scene.points(scene.body(name), target[2] - 0.015, target[2] + 0.015)
    if grasp.kind == "top":
        near = scene.points(scene.body(name), scene.top(name) - TOP_BAND)
    return float(np.ptp(near @ rotation[:, 0])) if len(near) else 0.0


def obstruction(scene: Scene, name: str, grasp: Grasp) -> int:
    """How much of other objects is where the open fingers or the palm would come down; 0 for a free grasp."""
    target, rotation = grasp_pose(scene, scene.body(name), grasp)
    points = 0
    for other in scene.object_names:
        if other == name:
            continue
        offset = (scene.points(scene.body(other)) - target) @ rotation
        across, side, behind = np.abs(offset[:, 0]), np.abs(offset[:, 1]), -offset[:, 2]
        fingers = (across > 0.034) & (across < 0.06) & (side < 0.014) & (behind > -0.015)
        palm = (across < 0.11) & (side < 0.035) & (behind > 0.035)
        points += int(np.count_nonzero(fingers | palm))
    return points
