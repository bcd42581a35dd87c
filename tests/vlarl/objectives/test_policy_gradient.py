"""The composed objective: what it refuses, what it says of NaN, its two passes, its state, its command-line name."""

import copy
import dataclasses
import json

import pytest
import torch

from configs.toy_grpo import config as toy_config
from tests.property.test_masks import trajectory as truncated_trajectory
from tests.support.batches import batch_of, loss_of
from vlarl.commands.train import with_objective
from vlarl.config_io import from_plain, to_plain
from vlarl.env_protocol import Outcome
from vlarl.errors import ConfigError, NameNotFoundError, NotFiniteError, UserError
from vlarl.flags import apply_flags
from vlarl.learner import Learner, LearnerConfig
from vlarl.objectives.advantages import GroupRelative
from vlarl.objectives.archive import Demonstrations
from vlarl.objectives.critic import Critic, Gae
from vlarl.objectives.grpo import GrpoConfig
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.surrogates import Clip
from vlarl.objectives.trajectory_surrogates import ImplicitClassifier
from vlarl.policies.mlp import MlpConfig, MlpPolicy
from vlarl.policies.state_mlp import StateMlp
from vlarl.resolve import list_presets, resolve_preset
from vlarl.reward import score_all
from vlarl.types import stack_trajectories


def trajectory(*arguments, **options):
    """An invented episode that really ends, with success or without."""
    episode = truncated_trajectory(*arguments, **options)
    episode.outcome = Outcome.SUCCESS if episode.succeeded else Outcome.FAILURE
    return episode


PRESETS = sorted(item.name for item in list_presets("objectives"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"advantage": Gae()}, "needs a critic.*set it to 'separate'"),
        (
            {"advantage": Gae(), "critic": Critic(source="policy", uncertainty=1e-5)},
            "is 'policy': set it to 'separate'",
        ),
        ({"critic": Critic()}, "GroupRelative uses no values.*'none'"),
        ({"surrogate": ImplicitClassifier()}, "set objective.ratio.level to 'trajectory', found 'token'"),
        ({"minibatch_of": "steps"}, "expected 'episodes' or 'decisions'"),
        ({"minibatch_of": "decisions", "ratio": Ratio(level="trajectory_mean")}, "needs whole episodes"),
        ({"demonstrations": Demonstrations(mode="external"), "ratio": Ratio(level="chunk")}, "to 'token', found chunk"),
    ],
)
def test_impossible_combinations_are_refused_when_configured(parts, message):
    with pytest.raises(ConfigError, match=message):
        PolicyGradientConfig(**parts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clip(low=1.5), "0 <= low < 1"),
        (lambda: Clip(dual=0.5), "0 .none. or more than 1"),
        (lambda: Gae() and PolicyGradientConfig(advantage=Gae(), critic=Critic(source="none")), "needs a critic"),
    ],
)
def test_bad_numbers_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_policy_without_value_head_is_refused_before_training():
    config = PolicyGradientConfig(advantage=Gae(), critic=Critic(source="policy"))
    with pytest.raises(ConfigError, match=r"StateMlp has no method values\(inputs\): set it to 'separate'"):
        Learner(StateMlp(), config.build(), LearnerConfig())
    Learner(MlpPolicy(MlpConfig(value_head=True)), config.build(), LearnerConfig())


def two_episodes(policy):
    return [trajectory(policy, group=0, seed=i, decisions=3, last=2, success=i == 0) for i in range(2)]


class Broken:
    name = "broken"

    def score(self, trajectories):
        values = [t.env_rewards[0].repeat(len(t.outputs))[: len(t.outputs)] * 0 for t in trajectories]
        values[1][2] = float("nan")
        return values


def test_nan_rewards_name_trajectory_term_and_step():
    with pytest.raises(NotFiniteError, match=r"reward term 'broken' is nan at decision 2 .*seed 1, group 0"):
        score_all([Broken()], two_episodes(StateMlp()))


def test_nan_log_probs_name_trajectory_and_step():
    episodes = two_episodes(StateMlp())
    broken = episodes[1].outputs[1].log_probs.copy()
    broken[3, 1] = float("nan")
    episodes[1].outputs[1] = dataclasses.replace(episodes[1].outputs[1], log_probs=broken)
    message = r"log-probability is nan at decision 1, chunk step 3, token 1 .*initial state 0, seed 1"
    with pytest.raises(NotFiniteError, match=message):
        stack_trajectories(episodes)


@pytest.mark.parametrize("preset", ["grpo", "gspo", "kl_cov"])
def test_a_policy_that_gives_nan_is_named_and_left_alone(preset):
    policy = StateMlp()
    batch = stack_trajectories(two_episodes(policy))
    objective = resolve_preset(preset, "objectives").build()
    learner = Learner(policy, objective, LearnerConfig(warmup_updates=0, microbatch_decisions=2))
    with torch.no_grad():
        list(policy.parameters())[-1][0] = float("nan")
    before = [p.clone() for p in policy.parameters()]
    with pytest.raises(
        NotFiniteError, match=r"log-probability is nan at decision \d.* trajectory \d of the mini-batch"
    ):
        learner.update(batch, seed=0, iteration=0)
    for old, new in zip(before, policy.parameters(), strict=True):
        assert torch.equal(old.nan_to_num(9.0), new.nan_to_num(9.0))


def test_a_ratio_that_overflows_is_told_apart():
    objective = PolicyGradientConfig().build()
    batch = batch_of([[1]], [[-200.0]], [1], [0])
    batch.advantages = torch.full((1, 1, 1, 1), -1.0)
    with pytest.raises(NotFiniteError, match="a ratio overflows .largest log-ratio 200"):
        loss_of(objective, torch.tensor([0.0]), batch)


def updated(preset, *, pieces, seed=0):
    """Gradient of one mini-batch, cut into pieces of this many decisions."""
    policy = StateMlp(seed=seed)
    episodes = [
        trajectory(policy, group=g, seed=10 * g + i, decisions=1 + (g + i) % 3, last=1 + i % 4, success=i % 2 == 0)
        for g in range(2)
        for i in range(4)
    ]
    other = StateMlp(seed=seed + 1)  # the learner's policy has moved on: ratios are not 1
    learner = Learner(
        other,
        resolve_preset(preset, "objectives").build(),
        LearnerConfig(epochs=1, minibatch_trajectories=99, microbatch_decisions=pieces, warmup_updates=0),
    )
    captured = []
    learner._apply = lambda gradients: captured.append(gradients) or 0.0
    metrics = learner.update(stack_trajectories(episodes), seed=0, iteration=0)
    gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(learner.parameters, captured[0], strict=True)]
    return torch.cat([g.flatten() for g in gradients]), metrics


@pytest.mark.parametrize("preset", PRESETS)
def test_how_a_minibatch_is_cut_changes_only_rounding(preset):
    whole, metrics = updated(preset, pieces=999)
    parts, other = updated(preset, pieces=3)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
    assert whole.abs().sum() > 0
    for name in ("clipfrac", "approx_kl", "entropy"):
        assert metrics[name] == pytest.approx(other[name], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("preset", ["ppo", "spear", "flowrl", "hpt"])
def test_a_resumed_objective_continues_bit_for_bit(preset):
    def make():
        policy = StateMlp()
        config = LearnerConfig(warmup_updates=0, minibatch_trajectories=4)
        return policy, Learner(policy, resolve_preset(preset, "objectives").build(), config)

    def batch(policy, iteration):
        seeds = range(100 * iteration, 100 * iteration + 8)
        return stack_trajectories(
            [trajectory(policy, group=s // 4, seed=s, decisions=2, last=3, success=s % 3 == 0) for s in seeds]
        )

    policy, learner = make()
    again, resumed = make()
    for iteration in range(4):
        if iteration == 2:
            again.load_state_dict(copy.deepcopy(policy.state_dict()))
            resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
        learner.update(batch(policy, iteration), seed=0, iteration=iteration)
        if iteration >= 2:
            resumed.update(batch(again, iteration), seed=0, iteration=iteration)
    for a, b in zip(learner.parameters, resumed.parameters, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("preset", ["ppo", "flowrl"])
def test_own_networks_begin_as_the_seed_says(preset):
    def weights(seed):
        policy = StateMlp()
        config = LearnerConfig(learning_rate=0.0, warmup_updates=0)
        learner = Learner(policy, resolve_preset(preset, "objectives").build(), config, seed=seed)
        episodes = [trajectory(policy, group=s // 4, seed=s, decisions=2, last=3, success=s % 3 == 0) for s in range(8)]
        learner.update(stack_trajectories(episodes), seed=0, iteration=0)
        return torch.cat([p.detach().flatten() for p in learner.objective.parameters()])

    first, again, other = weights(3), weights(3), weights(4)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_grpo_config_is_a_choice_of_parts():
    parts = GrpoConfig(keep_low=0.0, keep_high=1.0, clip_high=0.2).parts()
    assert parts == PolicyGradientConfig(groups=parts.groups) and parts.advantage == GroupRelative()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_documented_and_survives_its_config_file(preset):
    config = dataclasses.replace(toy_config(), objective=resolve_preset(preset, "objectives"))
    saved = json.loads(json.dumps(to_plain(config)))
    assert from_plain(saved, type(config)) == config
    summary = next(item.summary for item in list_presets("objectives") if item.name == preset)
    assert len(summary) > 20 and summary.endswith(".")


def test_the_command_line_takes_a_preset_and_then_its_flags():
    words = ["--iterations", "3", "--objective", "gspo", "--objective.surrogate.high", "0.01"]
    config = with_objective(toy_config(), words, resumed=False)
    assert words == ["--iterations", "3", "--objective.surrogate.high", "0.01"]
    changed, _ = apply_flags(config, words, command="train toy_grpo")
    assert changed.objective.ratio.level == "trajectory_mean" and changed.objective.surrogate.high == 0.01
    assert changed.iterations == 3
    for preset in ("ppo", "flowrl", "spear", "ead", "dapo_overlong", "areal"):
        apply_flags(with_objective(toy_config(), ["--objective", preset], resumed=False), [], command="train")


def test_a_misspelt_preset_gets_the_nearest_name():
    with pytest.raises(NameNotFoundError, match="Did you mean 'dr_grpo'"):
        resolve_preset("dr-grp", "objectives")
    with pytest.raises(UserError, match="leave --objective away"):
        with_objective(toy_config(), ["--objective=ppo"], resumed=True)
