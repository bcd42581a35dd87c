"""Ranks of adapters that are cut as a policy learns: when, how far, what begins anew, and bit for bit after a stop."""

import copy

import pytest
import torch

from tests.property.test_masks import trajectory
from tests.support.adaptive_rank_experiment import AdaptedMlp
from tests.support.policies import random_policy
from tests.support.training import episodes as episodes_of_vla
from vlarl.checkpoint import load_checkpoint, save_checkpoint
from vlarl.errors import ConfigError
from vlarl.learner import Learner, LearnerConfig, make_learner
from vlarl.nn.adapter_ranks import AdapterRankConfig
from vlarl.nn.adapters import adapters
from vlarl.nn.low_rank import RankRule, singular_values
from vlarl.objectives.grpo import GrpoConfig
from vlarl.objectives.sac import SacConfig
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import LoadConfig, TorchPolicy
from vlarl.reward import score_all
from vlarl.rewards.success import SuccessConfig
from vlarl.types import RolloutBatch, stack_trajectories

RANKS = AdapterRankConfig(every=2, rule=RankRule(beta=0.8), warmup_updates=4)


def episodes(policy: StateMlp, iteration: int) -> RolloutBatch:
    return stack_trajectories(
        [
            trajectory(policy, group=0, seed=10 * iteration + i, decisions=2, last=3, success=i < 2)  # half succeed
            for i in range(4)
        ]
    )


def learner_of(policy: TorchPolicy, ranks: AdapterRankConfig = RANKS, **changes) -> Learner:
    config = LearnerConfig(learning_rate=1e-2, warmup_updates=0, epochs=3, adapter_ranks=ranks, **changes)
    return Learner(policy, GrpoConfig().build(), config)


def iterate(policy: StateMlp, learner: Learner, iterations: range) -> list[dict[str, float]]:
    return [learner.update(episodes(policy, i), seed=0, iteration=i) for i in iterations]


def test_when_ranks_are_cut():
    def due(**changes) -> list[int]:
        return [i for i in range(1, 13) if AdapterRankConfig(**changes).is_due(i)]

    assert due() == [] and due(first=3) == []
    assert due(every=4) == [4, 8, 12]
    assert due(every=3, first=5, last=11) == [5, 8, 11]
    with pytest.raises(ConfigError, match="no number below 0"):
        AdapterRankConfig(every=-1)


def test_a_cut_lowers_ranks_and_what_belongs_to_them_begins_anew():
    policy = AdaptedMlp()
    learner = learner_of(policy, average_decay=0.9)
    first, second, third = iterate(policy, learner, range(3))
    assert (first["rank_mean"], first["rank_min"]) == (6, 6)
    assert 1 <= second["rank_min"] <= second["rank_mean"] < 6
    assert second["rank_mean"] == pytest.approx(sum(second[f"rank/net.{i}"] for i in (0, 2, 4)) / 3)
    rates = [metrics["learning_rate"] / 1e-2 for metrics in (first, second, third)]  # after 3, 6 and 9 updates
    assert rates == pytest.approx([1.0, 1.0, 1.0])
    ranks, changed = learner.adapter_ranks, learner.adapter_ranks and learner.adapter_ranks.layers["net.4"]
    assert ranks is not None and changed is not None and changed.rank < 6
    assert ranks.last_cut == 6 and [ranks.rate_factor(n) for n in range(6, 11)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    state = learner.optimizer.state
    assert int(state[changed.lora_a]["step"]) == 3  # of 9: it began anew after the sixth
    assert [p.shape for p in learner.average] == [p.shape for p in learner.parameters]
    again = [learner.optimizer.state[p]["exp_avg"].shape for p in learner.parameters]
    assert again == [p.shape for p in learner.parameters]


def test_the_rule_is_kept_and_a_cut_policy_is_not_cut_again_before_it_grows():
    policy = AdaptedMlp()
    learner = learner_of(policy)
    iterate(policy, learner, range(1))
    before = {name: singular_values(*layer.factors()) for name, layer in learner.adapter_ranks.layers.items()}
    moved = [parameter.detach().clone() for parameter in policy.parameters()]
    assert learner.adapter_ranks.cut_if_due(2, 3)
    for name, layer in learner.adapter_ranks.layers.items():
        assert layer.rank == RankRule(beta=0.8).rank(before[name])
        torch.testing.assert_close(singular_values(*layer.factors()), before[name][: layer.rank], atol=1e-5, rtol=1e-4)
    assert learner.adapter_ranks.cut_if_due(4, 3) == []
    frozen = [p for name, p in policy.named_parameters() if ".lora_" not in name]
    kept = [p for p, (name, _) in zip(moved, policy.named_parameters(), strict=True) if ".lora_" not in name]
    assert all(torch.equal(a, b) for a, b in zip(frozen, kept, strict=True))


def test_the_minimum_rank_and_the_papers_rule():
    policy = AdaptedMlp()
    learner = learner_of(policy, AdapterRankConfig(every=1, rule=RankRule(beta=0.01, minimum=2)))
    assert iterate(policy, learner, range(3))[-1]["rank_mean"] == 2
    policy = AdaptedMlp()
    paper = AdapterRankConfig(every=1, rule=RankRule(name="eq14", beta=0.98), reference="current")
    seen = [metrics["rank_mean"] for metrics in iterate(policy, learner_of(policy, paper), range(4))]
    assert seen == sorted(seen, reverse=True) and len(set(seen)) == 4  # it has no fixed point


def test_a_cut_that_costs_success_is_taken_back():
    def played(scores: list[float]) -> tuple[AdaptedMlp, Learner, list[dict[str, float]]]:
        policy = AdaptedMlp()
        learner = learner_of(policy, AdapterRankConfig(every=2, rule=RankRule(beta=0.8), tolerance=0.1))
        found = iter(scores)
        learner.adapter_ranks.score = lambda: next(found)
        return policy, learner, iterate(policy, learner, range(3))

    _, _, kept = played([0.5, 0.46])
    assert kept[1]["rank_mean"] < 6 and kept[1]["rank_reverts"] == 0
    policy, learner, reverted = played([0.5, 0.44])
    assert [metrics["rank_mean"] for metrics in reverted] == [6, 6, 6] and reverted[-1]["rank_reverts"] == 1
    never = AdaptedMlp()
    iterate(never, learner_of(never, AdapterRankConfig(every=99)), range(3))
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), never.parameters(), strict=True))
    assert learner.adapter_ranks.rate_factor(6) == 1.0


def test_layers_that_have_learned_nothing_or_do_not_learn_keep_their_rank():
    policy = AdaptedMlp()
    learner = learner_of(policy, frozen=("net.0",))
    assert learner.adapter_ranks.cut_if_due(2, 0) == []  # B is zero everywhere
    (metrics,) = iterate(policy, learner, range(1, 2))
    assert "rank/net.0" not in metrics and metrics["rank/net.2"] < 6
    assert policy.net[0].rank == 6


def test_a_run_continued_from_its_checkpoint_ends_with_the_same_bits(tmp_path):
    policy = AdaptedMlp()
    learner = learner_of(policy, average_decay=0.9)
    iterate(policy, learner, range(4))
    save_checkpoint(tmp_path, 4, policy.state_dict(), learner.state_dict(), {})
    iterate(policy, learner, range(4, 9))
    again = AdaptedMlp(seed=7)
    resumed = learner_of(again, average_decay=0.9)
    weights, state, _ = load_checkpoint(tmp_path / "checkpoints" / "iteration-000004")
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    iterate(again, resumed, range(4, 9))
    assert resumed.adapter_ranks.metrics() == learner.adapter_ranks.metrics()
    assert resumed.adapter_ranks.state_dict() == learner.adapter_ranks.state_dict()
    for a, b in zip([*policy.parameters(), *learner.average], [*again.parameters(), *resumed.average], strict=True):
        assert torch.equal(a, b)


def test_a_vla_whose_ranks_are_cut_stays_on_policy_and_is_saved_with_them(tmp_path):
    random_policy().save_pretrained(tmp_path / "base")
    policy = OpenVlaOft.from_pretrained(tmp_path / "base", load=LoadConfig(adapter_rank=8))
    learner = learner_of(policy, AdapterRankConfig(every=2, last=2, rule=RankRule(beta=0.8)))
    found = []
    for iteration in range(3):
        played = episodes_of_vla(policy, decisions=(2, 1, 2, 1))
        score_all([SuccessConfig().build()], played)
        found.append(learner.update(stack_trajectories(played), seed=0, iteration=iteration))
    assert [metrics["ratio_before_update"] for metrics in found] == pytest.approx([1.0, 1.0, 1.0], abs=1e-6)
    assert found[0]["rank_mean"] == 8 and found[1]["rank_mean"] == found[2]["rank_mean"] < 8
    policy.save_pretrained(tmp_path / "cut")
    again = OpenVlaOft.from_pretrained(tmp_path / "cut")
    ranks = {name: layer.rank for name, layer in learner.adapter_ranks.layers.items()}
    assert {name: layer.rank for name, layer in adapters(again)} == ranks and len(ranks) == 24
    for one, two in zip(episodes_of_vla(policy), episodes_of_vla(again), strict=True):
        for a, b in zip(one.outputs, two.outputs, strict=True):
            assert (a.log_probs == b.log_probs).all()


def test_without_cuts_nothing_is_different():
    one, two = AdaptedMlp(), AdaptedMlp()
    never = AdapterRankConfig(every=2, first=100, reference="current")
    plain, watched = learner_of(one, AdapterRankConfig()), learner_of(two, never)
    iterate(one, plain, range(3))
    iterate(two, watched, range(3))
    assert plain.adapter_ranks is None and all(
        torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)
    )
    assert "ranks" not in copy.deepcopy(plain.state_dict())


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(ConfigError, match=r"every is 2, but no low-rank adapter is trained.*--load.adapter-rank 16"):
        learner_of(StateMlp())
    with pytest.raises(ConfigError, match=r"SacConfig brings a learner of its own.*--learner.adapter-ranks.every 0"):
        make_learner(StateMlp(), SacConfig(), LearnerConfig(adapter_ranks=RANKS))
