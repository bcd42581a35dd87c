"""An environment that a policy learns in a second: say the sign of what you see, twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vlarl.env_protocol import Observation, Outcome, StepResult, TaskInfo, check_actions

STARTS = 16


@dataclass(frozen=True, kw_only=True)
class SignsConfig:
    decisions: int = 2
    dense: bool = False
    """Reward per right answer in place of success at the end."""
    truncates: bool = False
    """End by the time limit, not by success or failure."""

    def make(self) -> Signs:
        return Signs(self)

    def warm_up(self, tasks: list[tuple[str, int]]) -> None: ...

    def protocol(self) -> dict[str, Any]:
        return {"env": "signs"}

    def task_specs(self, suite: str) -> list[TaskInfo]:
        return [
            TaskInfo(suite=suite, task=0, name="signs", instruction="", num_init_states=STARTS, horizon=self.decisions)
        ]

    def spaces(self) -> dict[str, Any]:
        return {"state_size": 3, "low": (-1.0,), "high": (1.0,)}


class Signs:
    """State: two numbers and which of them counts; an action of the right sign (beyond 1/3) is right."""

    def __init__(self, config: SignsConfig) -> None:
        self.config = config

    def reset(self, spec):
        self.signs = np.random.default_rng(spec.init_state).choice([-1.0, 1.0], self.config.decisions)
        self.done, self.right, self.outcome = 0, 0, Outcome.RUNNING
        return self.observe()

    def step_chunk(self, actions):
        actions = check_actions(actions, 1)
        right = bool(actions[0, 0] * self.signs[self.done] > 1 / 3)
        self.right += right
        self.done += 1
        if self.done == self.config.decisions:
            won = self.right == self.config.decisions
            self.outcome = Outcome.SUCCESS if won else Outcome.FAILURE
            if self.config.truncates:
                self.outcome = Outcome.TRUNCATED
        reward = float(right) if self.config.dense else 0.0
        executed = np.arange(len(actions)) < 1
        return StepResult(
            observation=self.observe(),
            executed=executed,
            reward=(executed * reward).astype(np.float32),
            outcome=self.outcome,
        )

    def close(self): ...

    def observe(self):
        place = min(self.done, self.config.decisions - 1)
        state = np.array([self.signs[place], self.right == self.done, self.done / self.config.decisions], np.float32)
        return Observation(images={}, state=state, instruction="", time=float(self.done))
