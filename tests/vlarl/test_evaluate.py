"""Success rates: errors are counted apart, intervals belong to what was scored."""

import numpy as np
import pytest

from vlarl.env_protocol import EpisodeSpec, Outcome, TaskInfo
from vlarl.evaluate import summarize
from vlarl.types import Trajectory


def episode(task: int, state: int, outcome: Outcome, steps: int = 5) -> Trajectory:
    return Trajectory(
        spec=EpisodeSpec(suite="s", task=task, instruction="do", init_state=state, seed=0),
        observations=[],
        outputs=[],
        executed=[np.ones(steps, np.bool_)],
        env_rewards=[],
        outcome=outcome,
    )


TASKS = [TaskInfo(suite="s", task=i, name=f"t{i}", instruction="do", num_init_states=2, horizon=9) for i in range(2)]


def test_errors_are_neither_success_nor_failure():
    won, lost, broken = Outcome.SUCCESS, Outcome.TRUNCATED, Outcome.ERROR
    played = [episode(0, 0, won, 4), episode(0, 1, lost), episode(0, 0, broken), episode(1, 0, won, 8)]
    result = summarize(TASKS, played)
    assert (result["successes"], result["episodes"], result["errors"]) == (2, 3, 1)
    assert result["success_rate"] == pytest.approx(2 / 3)
    assert result["mean_success_steps"] == 6
    assert [row["success_rate"] for row in result["tasks"]] == [0.5, 1.0]
    assert [row["errors"] for row in result["tasks"]] == [1, 0]
    # Wilson for 2 of 3 at 95 %: centre (2/3 + z2/6) / (1 + z2/3), half width from the same formula
    assert result["ci95"] == pytest.approx([0.2077, 0.9385], abs=2e-4)
    assert result["examples"]["success"]["init_state"] == 0


def test_nothing_scored_is_no_number():
    result = summarize(TASKS, [episode(0, 0, Outcome.ERROR)])
    assert result["success_rate"] is None and result["ci95"] is None and result["errors"] == 1


def test_success_at_k_counts_attempts_from_the_same_state():
    won, lost = Outcome.SUCCESS, Outcome.TRUNCATED
    played = [episode(0, 0, won), episode(0, 0, lost), episode(0, 1, lost), episode(0, 1, lost)]
    result = summarize(TASKS[:1], played)
    assert result["success_at_k"] == {"1": pytest.approx(0.25), "2": pytest.approx(0.5)}
