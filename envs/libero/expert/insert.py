"""Put something into a box that opens to the front: a microwave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.libero.expert.articulated import travel
from envs.libero.expert.geometry import Array, pointing, rotation_about
from envs.libero.expert.goals import Goal
from envs.libero.expert.motion import CLOSE, OPEN, Actions, grip, hold, move
from envs.libero.expert.scene import Scene

_UP = np.array([0.0, 0.0, 1.0])


def enclosure(scene: Scene, target: str) -> Array | None:
    """Horizontal unit vector out of the door of the box that holds region ``target``; None if it has no hinged door.

    It points from the region to where the middle of the door is when the door is shut.
    """
    owner = scene.owner(target) if scene.is_site(target) and "heating" in target else None
    if owner is None:
        return None
    try:
        joint = scene.articulation(target)
    except ValueError:
        return None
    if joint.is_slide:
        return None
    anchor, axis = scene.joint_axis(joint)
    middle = scene.points(joint.body).mean(axis=0)
    shut = anchor + rotation_about(axis, -scene.joint_value(joint)) @ (middle - anchor)
    outward = shut - scene.position(target)
    # Boxes are parallel to the table's edges: drop the smaller component.
    outward[2] = 0.0
    outward[int(np.argmin(np.abs(outward[:2])))] = 0.0
    return outward / np.linalg.norm(outward)


@dataclass(frozen=True, slots=True)
class InsertFromFront:
    """Grip what sticks out of the object towards the front (a mug's handle), lift, push it straight in, let go.

    The hand stays outside: the fingers lean forward by ``tilt``, and the object goes in ahead of them.
    """

    tilt: float = 45.0
    """Degrees between straight down and straight into the box."""
    shift: float = 0.0
    """Metres sideways from the middle of the region."""
    inside: float = 0.02
    """How far beyond the region's front edge the object's origin is taken [m]."""
    lift: float = 0.012
    """Height of the object's lowest point over the box's floor [m]."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that make ``goal`` (``in``, object, region) hold."""
        outward = enclosure(scene, goal[2])
        assert outward is not None
        name, body = goal[1], scene.body(goal[1])
        side = np.cross(outward, _UP)
        handle, _ = scene.outermost(body, outward)
        angle = np.deg2rad(self.tilt)
        approach = -np.cos(angle) * _UP - np.sin(angle) * outward
        options = sorted(
            (pointing(approach, sign * side) for sign in (1.0, -1.0)),
            key=lambda rotation: -float(np.trace(rotation @ scene.hand_rotation().T)),
        )
        rotation = options[0]
        grip_point = handle + 0.008 * _UP
        yield from travel(scene, grip_point - 0.08 * approach, rotation, OPEN)
        yield from move(scene, grip_point, rotation, OPEN, steps=45, tolerance=0.006)
        yield from grip(scene, body, grip_point, rotation)
        yield from self._push_in(scene, goal, outward, side, rotation)
        if not scene.is_gripped(name):
            return
        yield from hold(scene, rotation, OPEN, 8)
        here = scene.hand_position()
        yield from move(scene, here + 0.14 * outward, rotation, OPEN, steps=30, tolerance=0.02)
        here = scene.hand_position()
        yield from move(scene, here + 0.12 * _UP, rotation, OPEN, steps=25, tolerance=0.03)

    def _push_in(self, scene: Scene, goal: Goal, outward: Array, side: Array, rotation: Array) -> Actions:
        """Carry the object to the middle of the front, then straight in."""
        name, region = goal[1], scene.position(goal[2])
        index = scene.site(goal[2])
        size = np.abs(scene.data.site_xmat[index].reshape(3, 3) @ scene.model.site_size[index])
        depth = float(np.abs(size @ outward))
        floor = float(region[2] - size[2]) + self.lift
        end = region + (depth - self.inside) * outward + self.shift * side
        rise = floor - scene.bottom(name)

        def at(point: Array) -> Array:
            return scene.hand_position() + point - scene.position(name)

        height = float(scene.position(name)[2]) + rise
        end[2] = height
        start = scene.position(name)
        start[2] = height
        front = end + 0.14 * outward
        yield from move(scene, lambda: at(start), rotation, CLOSE, steps=40, tolerance=0.01)
        if not scene.is_gripped(name):
            return
        if float((start - front) @ outward) > 0.0:
            yield from move(scene, lambda: at(front), rotation, CLOSE, steps=80, tolerance=0.02)
        yield from move(scene, lambda: at(end), rotation, CLOSE, steps=60, tolerance=0.008)
