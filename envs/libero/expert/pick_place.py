"""Pick an object up and put it on or into something."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from envs.libero.expert.clearance import ceiling, corridor_top, way_from_under
from envs.libero.expert.geometry import Array, rotation_about
from envs.libero.expert.goals import Goal
from envs.libero.expert.grasps import FINGER_BELOW_SITE, Grasp, grasp_pose
from envs.libero.expert.motion import CLOSE, OPEN, Actions, grip, hold, move
from envs.libero.expert.scene import Scene


@dataclass(frozen=True, slots=True)
class PickAndPlace:
    """Grip from above, lift, carry over the target, lower until the predicate holds, let go, retreat."""

    grasp: Grasp = field(default_factory=Grasp)
    clearance: float = 0.03
    """Metres between what is carried and what it is carried over."""
    release: float = 0.012
    """Height of the object's lowest point over its support when the fingers open [m]."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Placement offset from the target's centre [m], world x and y."""
    turn: float = 0.0
    """Degrees by which the object is turned about the vertical while it is carried."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield the actions that make ``goal`` (``in`` or ``on``, object, target) hold."""
        name, target = goal[1], goal[2]
        yield from self._pick(scene, name, target)
        if not scene.is_gripped(name):
            return
        yield from self._carry_and_place(scene, goal)

    def _pick(self, scene: Scene, name: str, target: str) -> Actions:
        grip_point, rotation = grasp_pose(scene, scene.body(name), self.grasp)
        fingers = rotation[:, 2]
        here = scene.hand_position()
        crossing = corridor_top(scene, here, grip_point, 0.06, ()) + FINGER_BELOW_SITE + 0.03
        hover = grip_point.copy()
        hover[2] = max(scene.top(name) + FINGER_BELOW_SITE + 0.03, min(crossing, here[2]))
        if self.grasp.lean > 0.0:
            hover = grip_point - 0.1 * fingers
            crossing = min(crossing, hover[2])
        if crossing > here[2] + 0.01:
            yield from move(scene, np.array([here[0], here[1], crossing]), rotation, OPEN, tolerance=0.03)
            hover[2] = max(hover[2], crossing)
        hover[2] = max(min(hover[2], ceiling(scene, hover)), grip_point[2] + 0.03)
        yield from move(scene, hover, rotation, OPEN, steps=80, tolerance=0.015, turn_tolerance=0.12)
        yield from move(scene, grip_point, rotation, OPEN, steps=45, tolerance=0.006)
        yield from grip(scene, scene.body(name), grip_point, rotation)

    def _carry_and_place(self, scene: Scene, goal: Goal) -> Actions:
        name, target = goal[1], goal[2]
        rotation = rotation_about((0.0, 0.0, 1.0), np.deg2rad(self.turn)) @ scene.hand_rotation()
        here = scene.hand_position()
        hang = here[2] - scene.bottom(name)
        above = self._destination(scene, goal)
        crossing = corridor_top(scene, here, above, 0.08, (name,))
        carry = max(here[2] + 0.04, max(crossing, self._support(scene, target)) + self.clearance + hang)
        yield from self._clear_overhang(scene, name, rotation)
        here = scene.hand_position()
        lift = min(carry, max(ceiling(scene, here), here[2] + 0.05))
        carry = min(carry, max(ceiling(scene, above), self._support(scene, target) + hang + 0.02))
        yield from move(scene, np.array([here[0], here[1], lift]), rotation, CLOSE, tolerance=0.02)
        if not scene.is_gripped(name):
            return

        def over(height: float) -> Array:
            destination = self._destination(scene, goal)
            offset = scene.hand_position() - self._anchor(scene, goal)
            return np.array([destination[0] + offset[0], destination[1] + offset[1], height])

        yield from move(scene, lambda: over(carry), rotation, CLOSE, steps=90, tolerance=0.015)
        hang = scene.hand_position()[2] - scene.bottom(name)
        low = self._support(scene, target) + hang + self.release
        done = lambda: scene.holds(goal)  # noqa: E731
        yield from move(scene, lambda: over(low), rotation, CLOSE, steps=45, tolerance=0.008, until=done)
        yield from hold(scene, rotation, OPEN, 9)
        here = scene.hand_position()
        up = np.array([here[0], here[1], min(here[2] + 0.1, max(ceiling(scene, here), here[2] + 0.04))])
        yield from move(scene, up, rotation, OPEN, steps=25, tolerance=0.02)
        yield from hold(scene, rotation, OPEN, 10, until=done)

    def _clear_overhang(self, scene: Scene, name: str, rotation: Array) -> Actions:
        """Slide an object out from under something, an open drawer say, before it is lifted."""
        start = scene.position(name)
        escape = way_from_under(scene, name)
        if escape is None:
            return
        grip_offset = scene.hand_position() - start
        low = start + grip_offset + np.array([0.0, 0.0, 0.015])
        yield from move(scene, low, rotation, CLOSE, steps=12, tolerance=0.006)
        yield from move(scene, low + escape, rotation, CLOSE, steps=40, tolerance=0.01)

    def _destination(self, scene: Scene, goal: Goal) -> Array:
        return scene.position(goal[2]) + np.array([*self.shift, 0.0])

    @staticmethod
    def _anchor(scene: Scene, goal: Goal) -> Array:
        """The point of the object that is brought over the destination.

        The benchmark looks at the body's origin. To fit into a region, the middle of the shape counts too: aim with a
        point in between, such that the origin stays well inside.
        """
        origin = scene.position(goal[1])
        if goal[0] != "in" or not scene.is_site(goal[2]):
            return origin
        index = scene.site(goal[2])
        half = np.abs(scene.data.site_xmat[index].reshape(3, 3) @ scene.model.site_size[index])
        points = scene.points(scene.body(goal[1]))
        middle = (points.min(axis=0) + points.max(axis=0)) / 2.0
        shift = np.clip(middle - origin, -0.6 * half, 0.6 * half)
        return origin + np.array([shift[0], shift[1], 0.0])

    @staticmethod
    def _support(scene: Scene, target: str) -> float:
        """Height on which the object will rest: the floor of a region, or a body's highest point as an upper bound."""
        if not scene.is_site(target):
            return scene.top(target)
        index = scene.site(target)
        extent = np.abs(scene.data.site_xmat[index].reshape(3, 3) @ scene.model.site_size[index])
        return float(scene.data.site_xpos[index][2] - extent[2])
