"""PPO with a critic improves Gaussian, Beta and categorical policies, with an own and with a shared value network."""

from dataclasses import replace

import pytest

from tests.support.tiny_env import SignsConfig
from vlarl.collector import Collector, add_final_inputs
from vlarl.learner import LearnerConfig, make_learner
from vlarl.local_slots import LocalSlots
from vlarl.objectives.critic import Critic
from vlarl.objectives.presets.ppo import ppo
from vlarl.policies.mlp import BetaMlp, MlpConfig, MlpPolicy
from vlarl.policies.state_mlp import StateMlp, StateMlpConfig
from vlarl.policy import Decoding
from vlarl.reward import score_all
from vlarl.rewards.environment import EnvironmentConfig
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories

CASES = {
    "gaussian": lambda: MlpPolicy.for_env(SignsConfig(), hidden=(16,)),
    "gaussian, shared value network": lambda: MlpPolicy.for_env(SignsConfig(), hidden=(16,), value_head=True),
    "beta": lambda: BetaMlp.for_env(SignsConfig(), hidden=(16,)),
    "categorical": lambda: StateMlp(StateMlpConfig(state_size=3, chunk=1, action_dim=1, bins=3, hidden=16)),
}


@pytest.mark.parametrize("name", CASES)
def test_ppo_learns(name):
    policy, env = CASES[name](), SignsConfig(dense=True, decisions=4, truncates=True)
    source = "policy" if "shared" in name else "separate"
    objective = replace(ppo(), critic=Critic(source=source, hidden=(16,), normalise_returns=True, clip=0.5))
    config = LearnerConfig(
        learning_rate=1e-2, warmup_updates=0, epochs=4, minibatch_trajectories=48, microbatch_decisions=48, threads=1
    )
    learner, returns = make_learner(policy, objective, config), []
    with LocalSlots(env, num_slots=4) as slots:
        collector = Collector(policy, slots)
        for iteration in range(12):
            specs = training_groups(
                env.task_specs("s"), split="official", groups=48, group_size=1, seed=0, iteration=iteration
            )
            episodes = collector.collect(specs, Decoding())
            score_all([EnvironmentConfig().build()], episodes)
            add_final_inputs(policy, episodes, Decoding())
            metrics = learner.update(stack_trajectories(episodes), seed=0, iteration=iteration)
            assert metrics["ratio_before_update"] == pytest.approx(1.0, abs=1e-5)
            returns.append(sum(t.env_return for t in episodes) / len(episodes))
    assert returns[0] < 2.2 and sum(returns[-3:]) / 3 > 2.9, returns  # of 4


def test_warm_up_trains_the_critic_alone():
    policy = MlpPolicy(MlpConfig(state_size=3, low=(-1.0,), high=(1.0,)))
    env = SignsConfig(dense=True)
    objective = replace(ppo(), critic=Critic(warmup_iterations=1))
    learner = make_learner(policy, objective, LearnerConfig(warmup_updates=0, weight_decay=0.1))
    before = [p.clone() for p in policy.parameters()]
    with LocalSlots(env) as slots:
        for iteration in range(2):
            specs = training_groups(
                env.task_specs("s"), split="official", groups=8, group_size=1, seed=0, iteration=iteration
            )
            episodes = Collector(policy, slots).collect(specs, Decoding())
            score_all([EnvironmentConfig().build()], episodes)
            learner.update(stack_trajectories(episodes), seed=0, iteration=iteration)
            same = all(a.equal(b) for a, b in zip(before, policy.parameters(), strict=True))
            assert same is (iteration == 0)
    assert learner.objective.value.network.layers[-1].bias.abs() > 0


def test_warm_up_of_a_shared_critic_leaves_the_shared_layers_alone():
    policy = MlpPolicy(MlpConfig(state_size=3, low=(-1.0,), high=(1.0,), value_head=True))
    env = SignsConfig(dense=True)
    objective = replace(ppo(), critic=Critic(source="policy", warmup_iterations=1))
    learner = make_learner(policy, objective, LearnerConfig(warmup_updates=0, weight_decay=0.1))
    before = {name: p.clone() for name, p in policy.named_parameters()}
    with LocalSlots(env) as slots:
        for iteration in range(2):
            specs = training_groups(
                env.task_specs("s"),
                split="official",
                groups=8,
                group_size=1,
                seed=0,
                iteration=iteration,
            )
            episodes = Collector(policy, slots).collect(specs, Decoding())
            score_all([EnvironmentConfig().build()], episodes)
            learner.update(stack_trajectories(episodes), seed=0, iteration=iteration)
            moved = {name for name, p in policy.named_parameters() if not p.equal(before[name])}
            head = {name for name in before if name.startswith("value.")}
            assert moved == head if iteration == 0 else moved > head
