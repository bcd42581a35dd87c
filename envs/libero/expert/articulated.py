"""Open and close drawers and doors, turn knobs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from envs.libero.expert.clearance import ceiling, corridor_top, towards_base
from envs.libero.expert.geometry import (
    Array,
    gripper_down,
    hand_yaw,
    pointing,
    rotation_about,
    rotation_error,
    wrap_half_turn,
)
from envs.libero.expert.goals import Goal
from envs.libero.expert.grasps import Grasp, grasp_pose
from envs.libero.expert.motion import CLOSE, OPEN, Actions, grip, hold, move
from envs.libero.expert.scene import Joint, Scene

_UP = np.array([0.0, 0.0, 1.0])


def opening_direction(scene: Scene, joint: Joint) -> Array:
    """Unit vector along which a drawer slides open: towards the far end of the joint's range."""
    _, axis = scene.joint_axis(joint)
    return axis if abs(joint.high) > abs(joint.low) else -axis


def _approach(direction: Array, tilt: float) -> Array:
    """Finger direction: straight down for ``tilt`` 0, against the drawer's opening direction for 90 degrees."""
    angle = np.deg2rad(tilt)
    return -np.cos(angle) * _UP - np.sin(angle) * direction


def _nearest(scene: Scene, approach: Array, closing: Array, flip: bool) -> Array:
    """The one of the two equivalent orientations of a parallel gripper that is nearest to the present one (or not)."""
    options = [pointing(approach, closing), pointing(approach, -closing)]
    here = scene.hand_rotation()
    options.sort(key=lambda option: float(np.linalg.norm(rotation_error(option, here))))
    return options[1 if flip else 0]


def _retreat(scene: Scene, away: Array) -> Actions:
    """Move the open hand away by ``away`` [m], then up, turning it down again for whatever comes next."""
    here = scene.hand_position()
    rotation = scene.hand_rotation()
    yield from move(scene, here + away, rotation, OPEN, steps=25, tolerance=0.03)
    upright = gripper_down(wrap_half_turn(hand_yaw(rotation)))
    # Towards the robot: turning the hand down far out would straighten the elbow.
    up = scene.hand_position() + 0.12 * _UP + 0.12 * towards_base(scene, here)
    up[2] = min(up[2], ceiling(scene, up))
    yield from move(scene, up, upright, OPEN, steps=40, tolerance=0.05, turn_tolerance=0.3)


def travel(scene: Scene, target: Array, rotation: Array, finger: float) -> Actions:
    """Go to ``target`` by way of a point above it, high enough to pass over whatever is in between."""
    here = scene.hand_position()
    height = max(corridor_top(scene, here, target, 0.1, ()) + 0.06, target[2] + 0.03)
    height = max(min(height, ceiling(scene, target), ceiling(scene, here)), target[2])
    if here[2] < height - 0.02:
        yield from move(scene, np.array([here[0], here[1], height]), rotation, finger, tolerance=0.03)
    above = np.array([target[0], target[1], max(height, min(here[2], height))])
    yield from move(scene, above, rotation, finger, steps=90, tolerance=0.03, turn_tolerance=0.3)
    yield from move(scene, target, rotation, finger, steps=60, tolerance=0.012, turn_tolerance=0.15)


@dataclass(frozen=True, slots=True)
class OpenDrawer:
    """Grip the handle, pull along the drawer's axis, let go."""

    tilt: float = 0.0
    """Degrees between straight down (0) and straight at the drawer's front (90)."""
    depth: float = 0.0
    """Metres beyond the handle's centre."""
    flip: bool = False
    """The gripper turned by half a turn about its fingers."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that open ``goal[1]``."""
        joint = scene.articulation(goal[1])
        direction = opening_direction(scene, joint)
        handle, _ = scene.outermost(joint.body, direction)
        approach = _approach(direction, self.tilt)
        rotation = _nearest(scene, approach, np.cross(approach, np.cross(direction, _UP)), self.flip)
        target = handle + self.depth * approach
        yield from travel(scene, target - 0.1 * approach, rotation, OPEN)
        yield from move(scene, target, rotation, OPEN, steps=45, tolerance=0.006)
        yield from grip(scene, joint.body, target, rotation)
        start = scene.hand_position()
        end = start + direction * (joint.high - joint.low + 0.1)
        yield from move(
            scene, end, rotation, CLOSE, steps=90, gain=0.4, until=lambda: _has_travelled(scene, joint, goal)
        )
        yield from hold(scene, rotation, OPEN, 8)
        yield from _retreat(scene, -0.1 * approach)


def _has_travelled(scene: Scene, joint: Joint, goal: Goal) -> bool:
    """Whether a joint is past its goal with a little to spare, so that it stays there when let go."""
    middle = joint.low if abs(joint.low) > abs(joint.high) else joint.high
    return scene.holds(goal) and abs(scene.joint_value(joint) - middle) < 0.012


@dataclass(frozen=True, slots=True)
class CloseDrawer:
    """Push the handle with closed fingers until the drawer is shut.

    The fingers lean towards the drawer (``tilt``): a hand pointing straight down would meet the handles of the drawers
    above before the drawer is shut, and one pointing straight at it brings the wrist down to the table.
    """

    tilt: float = 40.0
    standoff: float = 0.07
    height: float = 0.0
    """Metres above the handle's centre."""
    flip: bool = False

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that close ``goal[1]``."""
        joint = scene.articulation(goal[1])
        direction = opening_direction(scene, joint)
        handle, extent = scene.outermost(joint.body, direction)
        approach = _approach(direction, self.tilt)
        rotation = _nearest(scene, approach, np.cross(direction, _UP), self.flip)
        face = handle + direction * float(np.abs(extent @ direction)) + self.height * _UP
        yield from travel(scene, face + self.standoff * direction, rotation, CLOSE)
        remaining = abs(scene.joint_value(joint)) + 0.05
        yield from move(
            scene,
            face - remaining * direction,
            rotation,
            CLOSE,
            steps=110,
            gain=0.7,
            until=lambda: scene.holds(goal),
        )
        here = scene.hand_position()
        yield from move(scene, here + 0.06 * direction, rotation, CLOSE, steps=20, tolerance=0.03)


@dataclass(frozen=True, slots=True)
class CloseDoor:
    """Push a hinged door shut from outside, along the arc of the door, fingers closed and pointing down."""

    reach: float = 0.8
    """Where on the door, as a fraction of its width from the hinge."""
    height: float = -0.02
    """Grip site over the door's upper edge [m]."""
    standoff: float = 0.06
    yaw: float = 0.0
    """Turn of the gripper about the vertical [degrees]."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that close ``goal[1]``."""
        joint = scene.articulation(goal[1])
        anchor, axis = scene.joint_axis(joint)
        points = scene.points(joint.body)
        radial, outward, width, thickness = _door_frame(points, anchor, axis, opens_negative=joint.low < -0.1)
        top = float(points[:, 2].max()) + self.height
        start = scene.joint_value(joint)
        sign = np.sign(axis[2])

        def contact(value: float, gap: float) -> Array:
            turn = rotation_about(_UP, sign * (value - start))
            flat = anchor + turn @ (radial * self.reach * width + outward * (thickness + gap))
            return np.array([flat[0], flat[1], top])

        rotation = gripper_down(np.deg2rad(self.yaw))
        yield from travel(scene, contact(start, self.standoff), rotation, CLOSE)
        for _ in range(120):
            if scene.holds(goal):
                break
            value = scene.joint_value(joint)
            # Aim a little ahead of the door's face, so that the hand presses on it.
            ahead = min(0.0, value + 0.25) if joint.low < -0.1 else max(0.0, value - 0.25)
            target = contact(ahead, -0.01 if abs(value) > 0.1 else -0.03)
            yield from move(scene, target, rotation, CLOSE, steps=1, tolerance=0.0)
        here = scene.hand_position()
        yield from move(scene, here + 0.1 * _UP, rotation, CLOSE, steps=20, tolerance=0.03)


@dataclass(frozen=True, slots=True)
class OpenDoor:
    """Grip the upright handle of a hinged door and pull it along its arc."""

    tilt: float = 60.0
    """Degrees between straight down (0) and straight at the door (90)."""
    follow: float = -0.3
    """How much of the door's turn the hand makes; the rest is slip about the upright handle. A little against the door
    (negative) keeps the wrist away from its limits."""
    flip: bool = False
    """The gripper turned by half a turn about its fingers."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that open ``goal[1]``."""
        joint = scene.articulation(goal[1])
        anchor, axis = scene.joint_axis(joint)
        opens_negative = abs(joint.low) > abs(joint.high)
        radial, outward, _, _ = _door_frame(scene.points(joint.body), anchor, axis, opens_negative)
        handle, _ = scene.outermost(joint.body, outward)
        approach = _approach(outward, self.tilt)
        rotation = _nearest(scene, approach, radial, self.flip)
        yield from travel(scene, handle - 0.09 * approach, rotation, OPEN)
        yield from move(scene, handle, rotation, OPEN, steps=45, tolerance=0.006)
        yield from grip(scene, joint.body, handle, rotation)
        start, arm = scene.joint_value(joint), scene.hand_position() - anchor
        sign = (-1.0 if opens_negative else 1.0) * float(np.sign(axis[2]))
        for _ in range(110):
            if scene.holds(goal):
                break
            # Aim a little ahead of where the door is, so that the hand pulls.
            turned = abs(scene.joint_value(joint) - start) + 0.2
            point = anchor + rotation_about(_UP, sign * turned) @ arm
            turn = rotation_about(_UP, sign * turned * self.follow) @ rotation
            yield from move(scene, point, turn, CLOSE, steps=1, tolerance=0.0)
        yield from hold(scene, scene.hand_rotation(), OPEN, 8)
        yield from _retreat(scene, -0.08 * scene.hand_rotation()[:, 2])


def _door_frame(points: Array, anchor: Array, axis: Array, opens_negative: bool) -> tuple[Array, Array, float, float]:
    """Horizontal unit vectors along the door (from the hinge) and out of its outer face, its width and half depth."""
    flat = points - anchor
    flat[:, 2] = 0.0
    far = flat[int(np.argmax(np.linalg.norm(flat, axis=1)))]
    radial = np.array([far[0], far[1], 0.0])
    middle = flat.mean(axis=0)
    radial = middle / np.linalg.norm(middle)
    # Opening turns the door towards its outer face: that is where velocity points when the joint opens.
    turning = np.cross(np.array([0.0, 0.0, np.sign(axis[2])]), radial)
    outward = -turning if opens_negative else turning
    return radial, outward, float((flat @ radial).max()), float((flat @ outward).max())


@dataclass(frozen=True, slots=True)
class TurnKnob:
    """Grip a knob from above and turn it about its axis."""

    grasp: Grasp = field(default_factory=Grasp)
    overshoot: float = 0.3
    """Radians the hand turns beyond the need, for slip."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that turn ``goal[1]`` on or off."""
        joint = scene.articulation(goal[1])
        anchor, axis = scene.joint_axis(joint)
        target, rotation = grasp_pose(scene, joint.body, self.grasp)
        yield from travel(scene, target + 0.08 * _UP, rotation, OPEN)
        yield from move(scene, target, rotation, OPEN, steps=45, tolerance=0.006)
        yield from grip(scene, joint.body, target, rotation)
        turning_on = goal[0] == "turnon"
        total = (0.7 if turning_on else joint.low - scene.joint_value(joint)) * float(np.sign(axis[2]))
        total += float(np.sign(total)) * self.overshoot
        steps = max(6, int(abs(total) / 0.08))
        arm = target - anchor
        arm[2] = 0.0
        for step in range(1, steps + 6):
            if scene.holds(goal):
                break
            turn = rotation_about(_UP, total * min(1.0, step / steps))
            point = np.array([*(anchor + turn @ arm)[:2], target[2]])
            yield from move(scene, point, turn @ rotation, CLOSE, steps=1, tolerance=0.0)
        rotation = scene.hand_rotation()
        yield from hold(scene, rotation, OPEN, 6)
        yield from move(scene, scene.hand_position() + 0.1 * _UP, rotation, OPEN, steps=25, tolerance=0.03)
