"""A point that must reach a target on a plane: the smallest environment with everything a real one has.

Starts in microseconds and needs nothing but numpy; the loop's own tests and the "bring your own task"
page use it. Example::

    vlarl train toy_grpo --iterations 20
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    TaskInfo,
    check_actions,
)

TARGETS = {"red": (0.6, 0.6), "blue": (-0.6, 0.6), "green": (0.6, -0.6), "white": (-0.6, -0.6)}
NUM_INIT_STATES = 20


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Builds ``Toy`` slots."""

    horizon: int = 24
    """Control steps per episode."""
    speed: float = 0.1
    """Distance covered per step at full action."""
    radius: float = 0.15
    """Success within this distance of the target."""
    resolution: int = 16
    """Image side [pixels]."""
    every_frame: bool = False
    """Render every control step, for videos."""

    def make(self) -> Toy:
        """Build one slot."""
        return Toy(self)

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Nothing is shared between slots."""

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name."""
        return {"env": "toy", "horizon": self.horizon, "speed": self.speed, "radius": self.radius}

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """One task per target colour."""
        return [
            TaskInfo(
                suite=suite,
                task=index,
                name=f"reach_{colour}",
                instruction=f"move to the {colour} target",
                num_init_states=NUM_INIT_STATES,
                horizon=self.horizon,
            )
            for index, colour in enumerate(TARGETS)
        ]


class Toy:
    """One slot. State ``float32 [4]``: position and offset to the target. Actions ``[chunk, 2]`` in [-1, 1]."""

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.position = np.zeros(2)
        self.target = np.zeros(2)
        self.steps = 0
        self.instruction = ""
        self.outcome = Outcome.FAILURE

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Place point and target; the initial states are 20 fixed points near the middle."""
        self.target = np.array(list(TARGETS.values())[spec.task])
        self.position = np.random.default_rng(spec.init_state).uniform(-0.3, 0.3, 2)
        self.steps = 0
        self.instruction = spec.instruction
        self.outcome = Outcome.RUNNING
        return self._observe()

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Move, stopping at success or at the horizon."""
        actions = check_actions(actions, 2)
        if self.outcome.has_ended:
            raise EnvError("step_chunk after the episode ended; call reset first")
        executed = np.zeros(len(actions), dtype=np.bool_)
        reward = np.zeros(len(actions), dtype=np.float32)
        frames = []
        for index, action in enumerate(actions):
            self.position = np.clip(self.position + self.config.speed * np.clip(action, -1, 1), -1, 1)
            self.steps += 1
            executed[index] = True
            if self.config.every_frame:
                frames.append({"top": self._draw()})
            if np.linalg.norm(self.position - self.target) < self.config.radius:
                reward[index], self.outcome = 1.0, Outcome.SUCCESS
            elif self.steps >= self.config.horizon:
                self.outcome = Outcome.TRUNCATED
            if self.outcome.has_ended:
                break
        return StepResult(
            observation=self._observe(),
            executed=executed,
            reward=reward,
            outcome=self.outcome,
            frames=tuple(frames),
        )

    def close(self) -> None:
        """Nothing to free."""

    def _observe(self) -> Observation:
        state = np.concatenate([self.position, self.target - self.position]).astype(np.float32)
        return Observation(
            images={"top": self._draw()}, state=state, instruction=self.instruction, time=self.steps * 0.05
        )

    def _draw(self) -> np.ndarray:
        size = self.config.resolution
        image = np.zeros((size, size, 3), dtype=np.uint8)
        for place, channel in ((self.target, 0), (self.position, 2)):
            column, row = ((np.clip(place, -1, 1) * [1, -1] + 1) / 2 * (size - 1)).round().astype(int)
            image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2, channel] = 255
        return image
