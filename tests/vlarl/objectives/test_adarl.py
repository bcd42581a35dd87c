"""AdaRL's learner: when it cuts, what it renews, what it takes back, and that it resumes bit for bit."""

import copy

import numpy as np
import pytest
import torch

from tests.support.tiny_env import SignsConfig
from tests.vlarl.objectives.test_sac import rollouts
from vlarl.errors import ConfigError
from vlarl.learner import LearnerConfig, make_learner
from vlarl.nn.low_rank import RankRule
from vlarl.objectives.adarl import AdaRlConfig, adarl_faithful, adarl_repaired
from vlarl.policies.mlp import FactoredMlp, SquashedMlp
from vlarl.policy import load_policy

SMALL = {"hidden": (16, 16), "batch_size": 16, "learning_starts": 16, "warmup": 4}


def small(config=None, **changes):
    policy = FactoredMlp.for_env(SignsConfig(), hidden=(16, 16), rank=16)
    config = config or AdaRlConfig(**{**SMALL, "every": 8, "rule": RankRule(beta=0.7)} | changes)
    return policy, make_learner(policy, config, LearnerConfig(learning_rate=1e-3))


def test_a_cut_lowers_ranks_renews_optimisers_and_warms_up():
    policy, learner = small()
    learner.remember(rollouts(policy))
    generator, rates = np.random.default_rng(0), []
    for _ in range(12):
        learner.step(generator)
        rates.append(learner.optimizers["policy"].learning_rate)
    assert learner.ranks[0] < 16 and len(learner.controller.history) == 1
    assert rates[:8] == [1e-3] * 8
    assert rates[8:] == pytest.approx([0.0, 0.25e-3, 0.5e-3, 0.75e-3])
    assert learner.optimizers["critic"].steps == 4
    assert [p.shape for p in learner.target.parameters()] == [p.shape for p in learner.critic.parameters()]


def test_the_papers_rule_never_stops_cutting():
    policy, learner = small(adarl_faithful(**SMALL, every=4))
    learner.remember(rollouts(policy))
    seen = []
    for _ in range(5):
        learner.cut()
        seen.append(learner.ranks[0])
    assert seen == sorted(seen, reverse=True) and len(set(seen)) == 5
    _, repaired = small(adarl_repaired(**SMALL, every=4))
    repaired.cut()
    once = repaired.ranks
    repaired.cut()
    assert repaired.ranks == once


def test_a_cut_that_hurts_is_taken_back():
    policy, learner = small(tolerance=0.1)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    scores = iter([100.0, 50.0])
    learner.evaluate = lambda: next(scores)
    learner.cut()
    assert learner.ranks == [16, 16, 16] and learner.controller.history[0]["reverted"]
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_cut_that_hurts_is_tried_again_half_as_far():
    policy, learner = small(tolerance=0.1, attempts=3)
    scores = iter([100.0, 50.0, 80.0, 95.0])
    learner.evaluate = lambda: next(scores)
    wanted = learner.controller.wanted()
    learner.cut()
    halfway = [(16 + rank + 1) // 2 for rank in wanted]
    assert learner.ranks == [(16 + rank + 1) // 2 for rank in halfway]
    assert [event["reverted"] for event in learner.controller.history] == [True, True, False]
    learner.remember(rollouts(policy))
    learner.step(np.random.default_rng(0))  # targets and optimisers fit the shapes


def test_weights_that_grew_are_not_cut_to_one_direction():
    policy, repaired = small(adarl_repaired(**SMALL, every=4))
    with torch.no_grad():
        for layer in repaired.controller.layers:
            layer.first.mul_(10.0)
    repaired.cut()
    sigma = torch.linalg.svdvals((policy.body[2].first @ policy.body[2].second).detach())
    assert 8 < repaired.ranks[0] < 16  # the same as before they grew: what counts is the shape of the spectrum
    assert float(sigma.sum()) == pytest.approx(0.9 * repaired.controller.totals[0], rel=0.1)


def test_a_policy_that_stalls_at_its_fixed_point_gets_directions_back():
    def ranks_after(scores: list[float], **changes) -> list[int]:
        policy, learner = small(every=4, **changes)
        found = iter(scores)
        learner.evaluate = lambda: next(found)
        seen = []
        for _ in range(2):
            learner.cut()
            seen.append(learner.ranks[0])
        learner.remember(rollouts(policy))
        learner.step(np.random.default_rng(0))  # targets and optimisers fit the shapes
        return seen

    cut, later = ranks_after([10.0, 10.0, 10.2], regrow=3)  # before the cut, after it, at the next event
    assert cut + 3 < 16 and later == cut + 3
    assert ranks_after([10.0, 10.0, 12.0], regrow=3) == [cut, cut]  # it still improves
    assert ranks_after([10.0, 10.0, 10.2]) == [cut, cut]


def test_growing_changes_no_decision_and_ends_at_full_rank():
    policy, learner = small(every=4)
    learner.cut()
    rank, state = learner.ranks[0], torch.ones(5, policy.config.state_size)
    before = policy.body(state).detach()
    assert learner.controller.grow(2) and learner.ranks[0] == rank + 2
    torch.testing.assert_close(policy.body(state).detach(), before, atol=1e-6, rtol=1e-5)
    assert learner.controller.grow(99) and learner.ranks[0] == 16
    assert not learner.controller.grow(99)


def test_a_fixed_rank_stays():
    policy, learner = small(every=0, rank=3)
    learner.remember(rollouts(policy))
    for _ in range(5):
        learner.step(np.random.default_rng(0))
    assert learner.ranks == [16, 3, 3]


def test_a_run_resumed_after_a_cut_continues_bit_for_bit(tmp_path):
    policy, learner = small()
    for iteration in range(2):
        learner.update(rollouts(policy, iteration), seed=0, iteration=iteration)
    assert learner.ranks[0] < 16
    again, resumed = small()
    again.load_state_dict(copy.deepcopy(policy.state_dict()))
    resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert resumed.ranks == learner.ranks
    resumed.update(rollouts(again, 2), seed=0, iteration=2)
    learner.update(rollouts(policy, 2), seed=0, iteration=2)
    for a, b in zip(policy.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    policy.save_pretrained(tmp_path / "p")
    loaded = load_policy(tmp_path / "p")
    for a, b in zip(policy.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_policy_without_factors_is_refused():
    with pytest.raises(ConfigError, match="policy='vlarl.policies.mlp:FactoredMlp'"):
        make_learner(SquashedMlp.for_env(SignsConfig()), AdaRlConfig(), LearnerConfig())
