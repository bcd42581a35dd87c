"""How a batch is cut cannot matter (what is masked: test_objective_masks.py); first ratios, advantages and weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlarl.env_protocol import EpisodeSpec, Observation, Outcome
from vlarl.learner import Learner, LearnerConfig
from vlarl.objectives.grpo import GrpoConfig
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.types import Trajectory, stack_trajectories

CHUNK = 4


def trajectory(policy: StateMlp, *, group: int, seed: int, decisions: int, last: int, success: bool) -> Trajectory:
    """An invented episode of ``decisions`` chunks whose last one ran ``last`` steps."""
    rng = np.random.default_rng(seed)
    observations = [
        Observation(images={}, state=rng.normal(size=4).astype(np.float32), instruction="", time=0.0)
        for _ in range(decisions)
    ]
    noise = [rng.random((CHUNK, 2), dtype=np.float32) for _ in range(decisions)]
    executed = [np.arange(CHUNK) < (last if i == decisions - 1 else CHUNK) for i in range(decisions)]
    rewards = np.zeros(decisions, np.float32)
    rewards[-1] = success
    return Trajectory(
        spec=EpisodeSpec(suite="toy", task=0, instruction="", init_state=0, seed=seed, group=group),
        observations=observations,
        outputs=policy.act(observations, noise, Decoding(temperature=1.3)),
        executed=executed,
        env_rewards=[np.zeros(CHUNK, np.float32)] * decisions,
        outcome=Outcome.SUCCESS if success else Outcome.TRUNCATED,
        rewards={"success": rewards},
    )


@st.composite
def batches(draw):
    policy = StateMlp(seed=draw(st.integers(0, 5)))
    episodes = [
        trajectory(
            policy,
            group=group,
            seed=100 * group + member,
            decisions=draw(st.integers(1, 4)),
            last=draw(st.integers(1, CHUNK)),
            success=member % 2 == 0,
        )
        for group in range(2)
        for member in range(draw(st.integers(2, 4)))
    ]
    return policy, stack_trajectories(episodes)


def gradient(policy, batch, **changes):
    learner = Learner(policy, GrpoConfig().build(), LearnerConfig(epochs=1, minibatch_trajectories=99, **changes))
    captured = []
    learner._apply = lambda gradients: captured.append(gradients) or 0.0  # look, do not step
    learner.update(batch, seed=0, iteration=0)
    return torch.cat([g.flatten() for g in captured[0]])


@settings(max_examples=15, deadline=None)
@given(batches())
def test_thread_count_changes_no_bit_and_microbatch_size_only_rounding(drawn):
    policy, batch = drawn
    expected = gradient(policy, batch, threads=1, microbatch_decisions=3)
    assert torch.equal(gradient(policy, batch, threads=3, microbatch_decisions=3), expected)
    torch.testing.assert_close(gradient(policy, batch, microbatch_decisions=64), expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(batches())
def test_ratio_before_the_first_update_is_one(drawn):
    policy, batch = drawn
    metrics = Learner(policy, GrpoConfig().build(), LearnerConfig(epochs=1)).update(batch, seed=0, iteration=0)
    assert metrics["ratio_before_update"] == pytest.approx(1.0, abs=1e-6)


def test_hand_computed_advantage_and_weights():
    policy = StateMlp()
    episodes = [trajectory(policy, group=0, seed=i, decisions=2, last=1 + i, success=i == 0) for i in range(2)]
    objective = GrpoConfig().build()
    batch, metrics = objective.prepare(stack_trajectories(episodes))
    # returns (1, 0): mean 1/2, unbiased std sqrt(1/2), advantages +-(1/2)/sqrt(1/2) = +-0.70711
    assert batch.advantages[0, 0, 0, 0].item() == pytest.approx(0.70711, abs=1e-4)
    assert batch.advantages[1, 0, 0, 0].item() == pytest.approx(-0.70711, abs=1e-4)
    assert metrics["groups_kept"] == 1
    # episode 0 executed 4 + 1 steps of 2 tokens: each token weighs 1/10 of half the mini-batch
    weights = objective.token_weights(batch)
    assert weights[0, 1, 0].tolist() == pytest.approx([0.05, 0.05])
    assert weights[0, 1, 1].tolist() == [0.0, 0.0]
    assert weights.sum().item() == pytest.approx(1.0)


def test_groups_without_signal_teach_nothing():
    policy = StateMlp()
    episodes = [trajectory(policy, group=0, seed=i, decisions=1, last=2, success=True) for i in range(4)]
    learner = Learner(policy, GrpoConfig().build(), LearnerConfig())
    before = [p.clone() for p in policy.parameters()]
    metrics = learner.update(stack_trajectories(episodes), seed=0, iteration=0)
    assert metrics["groups_kept"] == 0 and metrics["updates"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
