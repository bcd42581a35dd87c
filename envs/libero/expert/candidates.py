"""Which skills to try for a subgoal, the likeliest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from envs.libero.expert.articulated import CloseDoor, CloseDrawer, OpenDoor, OpenDrawer, TurnKnob
from envs.libero.expert.goals import Goal
from envs.libero.expert.grasps import MAX_WIDTH, Grasp, grasp_width, obstruction
from envs.libero.expert.insert import InsertFromFront, enclosure
from envs.libero.expert.motion import Actions
from envs.libero.expert.pick_place import PickAndPlace
from envs.libero.expert.scene import Scene


class Skill(Protocol):
    """A way to reach a subgoal: a small frozen dataclass, comparable and hashable."""

    def actions(self, scene: Scene, goal: Goal) -> Actions:
        """Yield expert actions; the caller steps the simulator in between."""
        ...


def candidates(scene: Scene, goal: Goal, goals: Sequence[Goal] = ()) -> Iterator[Skill]:
    """Skills worth trying for ``goal`` from the scene's present state; ``goals`` are all of the task's goals."""
    if goal[0] in ("in", "on", "stack") and len(goal) == 3:
        if enclosure(scene, goal[2]) is not None:
            for tilt in (45.0, 30.0, 60.0):
                for shift in (0.0, -0.03, 0.03):
                    yield InsertFromFront(tilt=tilt, shift=shift)
        yield from _placements(scene, goal, goals)
    elif goal[0] in ("turnon", "turnoff"):
        for angle in (0.0, 90.0):
            for height in (0.0, -0.008, 0.008):
                yield TurnKnob(grasp=Grasp(angle=angle, height=height))
                yield TurnKnob(grasp=Grasp(angle=angle, height=height), overshoot=0.8)
    elif goal[0] == "open" and not scene.articulation(goal[1]).is_slide:
        for tilt in (60.0, 80.0, 45.0):
            for follow in (-0.3, 0.0, 0.3):
                for flip in (False, True):
                    yield OpenDoor(tilt=tilt, follow=follow, flip=flip)
    elif goal[0] == "open":
        for tilt in (90.0, 70.0, 50.0, 30.0):
            for depth in (0.0, 0.01, -0.008):
                for flip in (False, True):
                    yield OpenDrawer(tilt=tilt, depth=depth, flip=flip)
    elif goal[0] == "close" and scene.articulation(goal[1]).is_slide:
        for tilt in (40.0, 50.0, 30.0, 65.0, 85.0):
            for height in (0.0, 0.02):
                for flip in (False, True):
                    yield CloseDrawer(tilt=tilt, height=height, flip=flip)
    elif goal[0] == "close":
        for height in (-0.02, -0.05):
            for reach in (0.8, 0.6):
                for yaw in (0.0, 90.0, 45.0):
                    yield CloseDoor(reach=reach, height=height, yaw=yaw)


def _placements(scene: Scene, goal: Goal, goals: Sequence[Goal]) -> Iterator[Skill]:
    choices = grasps(scene, goal[1])
    shifts = _shared_shifts(scene, goal, goals)
    turns = (0.0, 90.0, -90.0) if goal[0] == "in" else (0.0,)
    for grasp in choices[:3]:
        for shift in shifts:
            for turn in turns:
                yield PickAndPlace(grasp=grasp, shift=shift, turn=turn)
    for clearance, release in ((0.03, 0.012), (0.06, 0.04), (0.03, 0.0)):
        for shift in shifts:
            for grasp in choices:
                yield PickAndPlace(grasp=grasp, clearance=clearance, release=release, shift=shift)


def _shared_shifts(scene: Scene, goal: Goal, goals: Sequence[Goal]) -> list[tuple[float, float]]:
    """Where in a region to put an object, when several have to stand on the same one: side by side."""
    sharing = [other for other in goals if len(other) == 3 and other[2] == goal[2]]
    if len(sharing) < 2 or goal[0] != "on" or not scene.is_site(goal[2]):
        return [(0.0, 0.0)]
    half = float(min(scene.model.site_size[scene.site(goal[2])][:2]))
    place = (sharing.index(goal) / (len(sharing) - 1) - 0.5) * 2.0 * 0.65 * half
    points = scene.points(scene.body(goal[1]))
    along_x, along_y = (place, 0.0), (0.0, place)
    return [along_x, along_y] if np.ptp(points[:, 0]) < np.ptp(points[:, 1]) else [along_y, along_x]


def grasps(scene: Scene, name: str) -> list[Grasp]:
    """Grasps from above: across the narrow side where the fingers fit, else (or afterwards) over the rim.

    Grasps whose fingers would come down on a neighbour are moved to the end.
    """
    found: list[Grasp] = []
    if grasp_width(scene, name, Grasp(kind="top")) < min(0.05, 0.6 * grasp_width(scene, name, Grasp())):
        found += [Grasp(kind="top", angle=angle, height=h) for h in (0.0, -0.006) for angle in (0.0, 90.0)]
    for angle in (0.0, 90.0, 45.0, -45.0, 20.0, -20.0):
        if grasp_width(scene, name, Grasp(angle=angle)) <= MAX_WIDTH:
            found += [Grasp(angle=angle, height=h, along=a) for h, a in _SHIFTS]
    if grasp_width(scene, name, Grasp()) > 0.05:
        for height in (0.0, -0.01, 0.008):
            found += [Grasp(kind="rim", angle=azimuth, height=height) for azimuth in _AZIMUTHS]
        for lean in (40.0, 55.0):
            found += [Grasp(kind="rim", angle=azimuth, lean=lean) for azimuth in (180.0, 135.0, -135.0, 90.0)]
    return sorted(found, key=lambda grasp: (obstruction(scene, name, grasp) + 5) // 6)


_SHIFTS = ((0.0, 0.0), (0.0, 0.02), (0.0, -0.02), (-0.01, 0.0), (0.012, 0.0), (0.0, 0.032), (0.0, -0.032))
_AZIMUTHS = (90.0, -90.0, 0.0, 180.0, 45.0, -45.0, 135.0, -135.0)
