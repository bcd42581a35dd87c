"""Search for skills that reach a task's subgoals, and clean demonstrations made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from envs.libero.expert.candidates import Skill, candidates
from envs.libero.expert.goals import Goal, order, subgoals
from envs.libero.expert.scene import Scene, Simulator

LIFTED = 0.02
"""An object counts as held once both fingers touched it this far above where it stood [m]."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A subgoal and the skill that reached it."""

    goal: Goal
    skill: Skill


@dataclass(frozen=True, slots=True)
class Performance:
    """One episode of the expert, from the recorded initial state to the step at which the benchmark's goal held."""

    init_state: int
    plan: tuple[PlanStep, ...]
    actions: np.ndarray
    """``float32 [T, 7]``: the expert's clean action at every state it met."""
    executed: np.ndarray
    """``float32 [T, 7]``: what was sent to the simulator (``actions`` plus noise)."""
    succeeded: bool
    """The benchmark's goal held at the last step."""
    held: bool
    """Every object that had to be moved was moved by the hand: see ``HeldMonitor``."""

    @property
    def is_clean(self) -> bool:
        """Fit to be a demonstration."""
        return self.succeeded and self.held


@dataclass(slots=True)
class SkillCache:
    """Skills that worked, by subgoal, most often successful first."""

    counts: dict[Goal, Counter[Skill]] = field(default_factory=dict)

    def add(self, goal: Goal, skill: Skill) -> None:
        """Count a success."""
        self.counts.setdefault(goal, Counter())[skill] += 1

    def known(self, goal: Goal) -> list[Skill]:
        """Skills that reached ``goal`` before."""
        return [skill for skill, _ in self.counts.get(goal, Counter()).most_common()]


class HeldMonitor:
    """Watches whether the subgoal's object is really manipulated.

    Objects to be placed must once be lifted by ``LIFTED`` between both fingers (a bowl shoved or thrown onto a plate
    satisfies the benchmark but is no demonstration); drawers, doors and knobs must be touched by the hand.
    """

    def __init__(self, scene: Scene, goal: Goal) -> None:
        self._scene, self._name = scene, goal[1]
        self._must_lift = goal[0] in ("in", "on", "stack", "up")
        self._start = scene.position(self._name)[2] if self._must_lift else 0.0
        owner = scene.owner(self._name)
        self._body = 0 if owner is None else owner
        self.held = False

    def update(self) -> None:
        """Look at the present state."""
        if self.held:
            return
        if self._must_lift:
            lifted = self._scene.position(self._name)[2] > self._start + LIFTED
            self.held = lifted and self._scene.is_gripped(self._name)
        else:
            self.held = self._scene.touching(self._body) != 0


class CorrelatedNoise:
    """First-order autoregressive action noise of stationary standard deviation ``scale`` (rotation: a tenth).

    Disturbing the executed action while recording the intended one is DART (Laskey et al. 2017, arXiv 1703.09327):
    the demonstrations then show how to correct.
    """

    MEMORY = 0.8

    def __init__(self, scale: float, generator: np.random.Generator) -> None:
        self._scale, self._generator = scale * np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.1]), generator
        self._value = np.zeros(6)

    def disturb(self, action: np.ndarray) -> np.ndarray:
        """``action`` ``float32 [7]`` plus noise on the six arm dimensions, within [-1, 1]."""
        fresh = self._generator.normal(size=6) * self._scale
        self._value = self.MEMORY * self._value + np.sqrt(1.0 - self.MEMORY**2) * fresh
        disturbed = action.copy()
        disturbed[:6] = np.clip(action[:6] + self._value, -1.0, 1.0)
        return disturbed


class Expert:
    """Privileged expert for one task of one simulator."""

    def __init__(self, simulator: Simulator, *, max_steps: int = 600, max_attempts: int = 60) -> None:
        self.simulator = simulator
        self.scene = Scene(simulator)
        self.cache = SkillCache()
        self.max_steps = max_steps
        self.max_attempts = max_attempts
        self._goals: list[Goal] = []
        self.attempts = 0
        """Skills tried in the latest search."""

    def plan(self, init_state: int) -> tuple[PlanStep, ...] | None:
        """Search skills that lead from a recorded initial state to the goal; None when nothing worked.

        Depth first over subgoals, with the skills that worked before tried first; every attempt starts from a
        snapshot of the state the earlier subgoals led to.
        """
        self.attempts = 0
        self.simulator.reset(init_state)
        self._goals = order(self.simulator.goal_state)
        pending = subgoals(self.scene, self.simulator.goal_state)
        found = self._search(pending, steps_left=self.max_steps)
        if found is None:
            return None
        for step in found:
            self.cache.add(step.goal, step.skill)
        return tuple(found)

    def _search(self, pending: Sequence[Goal], steps_left: int) -> list[PlanStep] | None:
        if not pending:
            return [] if self.simulator.success() else None
        goal, rest = pending[0], pending[1:]
        start = self.simulator.snapshot()
        # Candidates look at the scene as it is now; what worked before comes first, and nothing is tried twice.
        for skill in dict.fromkeys([*self.cache.known(goal), *candidates(self.scene, goal, self._goals)]):
            if self.attempts >= self.max_attempts:
                return None
            self.attempts += 1
            self.simulator.restore(start)
            steps, held = self._attempt(goal, skill, steps_left, is_last=not rest)
            if not held or not self._reached(goal, is_last=not rest):
                continue
            found = self._search(rest, steps_left - steps)
            if found is not None:
                return [PlanStep(goal, skill), *found]
        return None

    def _reached(self, goal: Goal, is_last: bool) -> bool:
        return self.simulator.success() if is_last else self.scene.holds(goal)

    def _attempt(self, goal: Goal, skill: Skill, steps_left: int, is_last: bool) -> tuple[int, bool]:
        """Run one skill without noise; returns the steps it took and whether the object was held."""
        monitor = HeldMonitor(self.scene, goal)
        steps = 0
        for action in skill.actions(self.scene, goal):
            if steps >= steps_left:
                return steps, False
            self.simulator.step(action.astype(np.float32))
            steps += 1
            monitor.update()
            if is_last and self.simulator.success():
                break
        return steps, monitor.held

    def perform(
        self, init_state: int, plan: Sequence[PlanStep], *, noise: float = 0.0, seed: Sequence[int] = (0,)
    ) -> Performance:
        """Run a plan as one continuous episode from the recorded initial state."""
        self.simulator.reset(init_state)
        disturbance = CorrelatedNoise(noise, np.random.default_rng(list(seed))) if noise > 0.0 else None
        actions: list[np.ndarray] = []
        executed: list[np.ndarray] = []
        held, succeeded = True, False
        for step in plan:
            monitor = HeldMonitor(self.scene, step.goal)
            for raw in step.skill.actions(self.scene, step.goal):
                action = raw.astype(np.float32)
                sent = action if disturbance is None else disturbance.disturb(action).astype(np.float32)
                self.simulator.step(sent)
                actions.append(action)
                executed.append(sent)
                monitor.update()
                succeeded = self.simulator.success()
                if succeeded or len(actions) >= self.max_steps:
                    break
            held = held and monitor.held
            if succeeded or len(actions) >= self.max_steps:
                break
        return Performance(
            init_state=init_state,
            plan=tuple(plan),
            actions=np.array(actions, dtype=np.float32).reshape(-1, 7),
            executed=np.array(executed, dtype=np.float32).reshape(-1, 7),
            succeeded=succeeded,
            held=held,
        )

    def _known_plan(self, init_state: int) -> list[PlanStep]:
        """The skills that worked most often, one per subgoal; empty where a subgoal was never reached."""
        self.simulator.reset(init_state)
        pending = subgoals(self.scene, self.simulator.goal_state)
        steps = [PlanStep(goal, skill) for goal in pending for skill in self.cache.known(goal)[:1]]
        return steps if len(steps) == len(pending) else []

    def demonstrate(
        self, init_state: int, *, noise: float = 0.0, seed: Sequence[int] = (0,), tries: int = 3
    ) -> Performance | None:
        """A clean episode from ``init_state``, or None when the expert cannot do it.

        With noise, the skills that worked before are tried at once. Where that fails, a plan is searched without noise
        and then repeated with other noise, with half of it, and noise-free in the end: the plan was found noise-free
        from this very state, and repeating it is exact.
        """
        if noise > 0.0 and (known := self._known_plan(init_state)):
            performance = self.perform(init_state, known, noise=noise, seed=[*seed, tries * 2])
            if performance.is_clean:
                return performance
        plan = self.plan(init_state)
        if plan is None:
            return None
        scales = [noise] * tries + [noise / 2.0] * tries if noise > 0.0 else []
        for attempt, scale in enumerate([*scales, 0.0]):
            performance = self.perform(init_state, plan, noise=scale, seed=[*seed, attempt])
            if performance.is_clean:
                return performance
        return None
