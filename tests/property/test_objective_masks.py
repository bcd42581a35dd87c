"""What was not executed changes no objective's loss, gradient or metrics; a mini-batch's padding neither."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_masks import CHUNK, trajectory
from vlarl.env_protocol import Outcome
from vlarl.learner import Learner, LearnerConfig
from vlarl.policies.state_mlp import StateMlp
from vlarl.resolve import list_presets, resolve_preset
from vlarl.types import stack_trajectories

PRESETS = sorted(item.name for item in list_presets("objectives"))


@st.composite
def episodes(draw):
    policy = StateMlp(seed=draw(st.integers(0, 3)))
    played = [
        trajectory(
            policy,
            group=group,
            seed=100 * group + member,
            decisions=draw(st.integers(1, 3)),
            last=draw(st.integers(1, CHUNK)),
            success=member % 2 == 0,
        )
        for group in range(2)
        for member in range(3)
    ]
    for episode in played:  # the helper's failures are cut off by the time limit; these end
        episode.outcome = Outcome.SUCCESS if episode.succeeded else Outcome.FAILURE
    return played


def gradient(preset, batch):
    policy = StateMlp(seed=7)
    config = LearnerConfig(epochs=1, minibatch_trajectories=99, threads=1)
    learner = Learner(policy, resolve_preset(preset, "objectives").build(), config)
    captured = []
    learner._apply = lambda gradients: captured.append(gradients) or 0.0
    metrics = learner.update(batch, seed=0, iteration=0)
    return [g for g in captured[0] if g is not None], {k: v for k, v in metrics.items() if "seconds" not in k}


@pytest.mark.parametrize("preset", PRESETS)
@settings(max_examples=2, deadline=None)
@given(drawn=episodes())
def test_masked_entries_change_nothing(preset, drawn):
    expected, metrics = gradient(preset, stack_trajectories(drawn))
    batch = stack_trajectories(drawn)
    hidden = ~batch.token_mask
    batch.tokens[hidden] = 8
    batch.old_log_probs[hidden] = -3.21
    padded = ~batch.decision_mask
    batch.rewards[padded] = 9.0
    found, other = gradient(preset, batch)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)
    assert metrics == other
