"""From a task's goal predicates to an ordered list of subgoals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envs.libero.expert.scene import Scene

Goal = tuple[str, ...]

_STAGE = {"turnon": 0, "turnoff": 0, "open": 1, "on": 2, "in": 2, "up": 2, "stack": 2, "close": 3}


def normalise(state: Sequence[str]) -> Goal:
    """``("on", "bowl_1", "plate_1")`` from LIBERO's parsed predicate, the name in lower case."""
    return (str(state[0]).lower(), *(str(part) for part in state[1:]))


def order(goals: Iterable[Sequence[str]]) -> list[Goal]:
    """Subgoals in the order in which they can be reached: turn, open, place, close.

    Among placements, whatever another object is to be put on goes first, so that a stack is built from below.
    """
    goals = [normalise(goal) for goal in goals]
    staged = sorted(goals, key=lambda goal: _STAGE.get(goal[0], 2))
    ordered: list[Goal] = []
    for goal in staged:
        # A placement goes before the placements that rest on its object.
        later = [i for i, other in enumerate(ordered) if _STAGE.get(goal[0], 2) == 2 and goal[1] in other[2:]]
        ordered.insert(later[0] if later else len(ordered), goal)
    return ordered


def needs_opening(scene: Scene, goal: Goal) -> Goal | None:
    """The ``open`` subgoal that putting something into a closed drawer or microwave requires, if any."""
    if goal[0] not in ("in", "on") or len(goal) < 3 or not scene.is_site(goal[2]):
        return None
    target = goal[2]
    if scene.joint_above(int(scene.model.site_bodyid[scene.site(target)])) is not None:
        opening: Goal = ("open", target)
    elif "microwave" in target and "heating" in target:
        opening = ("open", "_".join(target.split("_")[:2]))
    else:
        return None
    return None if scene.holds(opening) else opening


def subgoals(scene: Scene, goal_state: Iterable[Sequence[str]]) -> list[Goal]:
    """All subgoals of a task from the scene's present state, the ones that hold already left out."""
    goals = order(goal_state)
    missing = [goal for goal in goals if goal[0] == "close" or not scene.holds(goal)]
    openings = {opening for goal in missing if (opening := needs_opening(scene, goal)) is not None}
    return order([*openings, *missing])
