"""SAC: its targets by hand, its buffer, exact resume, and that gradients reach what they should."""

import copy

import numpy as np
import pytest
import torch

from tests.support.tiny_env import SignsConfig
from vlarl.collector import Collector, add_final_inputs
from vlarl.errors import ConfigError
from vlarl.learner import LearnerConfig, make_learner
from vlarl.local_slots import LocalSlots
from vlarl.nn.flat import FlatAdam, flatten
from vlarl.nn.twin_critic import TwinCritic
from vlarl.objectives.replay_buffer import ReplayBuffer
from vlarl.objectives.sac import SacConfig, add_parseval_gradients
from vlarl.objectives.sac_gradients import AutogradGradients, DenseGradients, make_gradients
from vlarl.policies.mlp import FactoredMlp, SquashedMlp
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.reward import score_all
from vlarl.rewards.environment import EnvironmentConfig
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories


def rollouts(policy, iteration=0, truncates=False, decisions=2):
    env = SignsConfig(dense=True, truncates=truncates, decisions=decisions)
    specs = training_groups(env.task_specs("s"), split="official", groups=8, group_size=2, seed=0, iteration=iteration)
    with LocalSlots(env, num_slots=2) as slots:
        episodes = Collector(policy, slots).collect(specs, Decoding())
    score_all([EnvironmentConfig().build()], episodes)
    add_final_inputs(policy, episodes, Decoding())
    return stack_trajectories(episodes)


def small(**changes):
    policy = SquashedMlp.for_env(SignsConfig(), hidden=(16, 16))
    config = SacConfig(**({"batch_size": 32, "learning_starts": 32, "hidden": (16, 16), "discount": 0.9} | changes))
    return policy, make_learner(policy, config, LearnerConfig(learning_rate=3e-3))


def test_transitions_end_where_episodes_end_and_go_on_where_they_were_cut():
    policy, learner = small()
    for truncates in (False, True):
        batch = rollouts(policy, truncates=truncates)
        learner.buffer = ReplayBuffer(1000)
        learner.remember(batch)
        columns, count = learner.buffer.columns, learner.buffer.size
        assert count == 32 and learner.num_steps >= 32
        first, last = slice(0, count, 2), slice(1, count, 2)
        torch.testing.assert_close(columns["next_state"][first], columns["state"][last])
        assert columns["discount"][:count][first].tolist() == pytest.approx([0.9] * 16)
        assert columns["discount"][:count][last].tolist() == pytest.approx([0.9 if truncates else 0.0] * 16)
        if truncates:
            torch.testing.assert_close(columns["next_state"][:count][last], batch.final_inputs["state"])
        torch.testing.assert_close(columns["action"][:count], batch.tokens.tanh().flatten(0, 1).flatten(1))


def test_the_buffer_is_a_ring():
    buffer = ReplayBuffer(5)
    for start in (0, 3, 6):
        numbers = torch.arange(start, start + 3).float()
        buffer.append({"reward": numbers, "state": numbers[:, None]})
    assert buffer.size == 5 and sorted(buffer.columns["reward"].tolist()) == [4, 5, 6, 7, 8]
    torch.testing.assert_close(buffer.columns["state"][:, 0], buffer.columns["reward"])
    again = ReplayBuffer(5)
    again.load_state_dict(copy.deepcopy(buffer.state_dict()))
    for ring in (buffer, again):
        ring.append({"reward": torch.tensor([9.0]), "state": torch.tensor([[9.0]])})
    assert again.columns["reward"].tolist() == buffer.columns["reward"].tolist()


def test_twin_critic_is_two_separate_networks():
    critic = TwinCritic(4, (8, 8), torch.Generator().manual_seed(0))
    state, action = torch.randn(6, 3), torch.randn(6, 1)
    found = critic(state, action)
    for member in range(2):
        values = torch.cat((state, action), -1)
        for index in range(3):
            layer = critic.members[member][2 * index]
            values = values @ layer.weight.T + layer.bias
            values = values.relu() if index < 2 else values
        torch.testing.assert_close(found[member], values[:, 0])
    assert not torch.allclose(found[0], found[1])


POLICIES = {
    "plain": lambda: SquashedMlp.for_env(SignsConfig(), hidden=(16, 8)),
    "chunk": lambda: SquashedMlp.for_env(SignsConfig(), hidden=(16,), chunk=3),
    "tanh, normalised": lambda: SquashedMlp.for_env(SignsConfig(), activation="tanh", normalise=True),
    "factored": lambda: FactoredMlp.for_env(SignsConfig(), rank=5),
}


@pytest.mark.parametrize("name", POLICIES)
def test_gradients_by_hand_are_those_of_autograd(name):
    policy, generator = POLICIES[name](), torch.Generator().manual_seed(1)
    size, actions = policy.config.state_size, policy.config.chunk * len(policy.config.low)
    policy.moments.update(torch.randn(50, size, generator=generator) * 3.0)
    critics = [TwinCritic(size + actions, (12, 12), generator, factored=name == "factored", rank=4) for _ in range(2)]
    state, action, wanted, noise = (
        torch.randn(shape, generator=generator) for shape in ((64, size), (64, actions), (64,), (64, actions))
    )
    with torch.no_grad():  # some deviations beyond either bound, where the gradient is 0
        policy.head.weight.normal_(std=60.0, generator=generator)
        policy.head.bias.sub_(policy._action_parameters(state).mean(0).flatten())
    results = []
    for kind, dtype in ((AutogradGradients, torch.float64), (DenseGradients, torch.float32)):
        networks = [copy.deepcopy(network).to(dtype) for network in (policy, *critics)]
        parameters = [[p for p in network.parameters() if p.requires_grad] for network in networks]
        for part in parameters:
            flatten(part)
        gradients = make_gradients(*networks) if kind is DenseGradients else kind(*networks)
        assert isinstance(gradients, kind)
        data = {"next_state": state, "reward": wanted, "discount": wanted.sigmoid()}
        targets = gradients.targets({name: value.to(dtype) for name, value in data.items()}, noise.to(dtype), 0.7)
        critic = gradients.critic(state.to(dtype), action.to(dtype), wanted.to(dtype))
        of_critics = [p.grad.clone() for p in parameters[1]]
        of_policy = gradients.policy(state.to(dtype), noise.to(dtype), 0.7)
        slopes = [p.grad.clone() for p in parameters[0]]
        results.append((targets, torch.tensor(critic), *of_critics, torch.tensor(of_policy), *slopes))
    log_std = policy._action_parameters(state).chunk(2, dim=-1)[1]
    assert (log_std > 2).any() and (log_std < -5).any() and ((log_std < 2) & (log_std > -5)).any()
    for by_autograd, by_hand in zip(*results, strict=True):
        atol = 1e-4 * float(by_autograd.abs().max())
        torch.testing.assert_close(by_hand, by_autograd, rtol=1e-4, atol=atol, check_dtype=False)


def test_a_policy_of_another_kind_is_differentiated_by_autograd():
    class Own(torch.nn.Module):
        """Some network that is no ``MlpPolicy``."""

    critic = TwinCritic(4, (8,), torch.Generator())
    assert isinstance(make_gradients(Own(), critic, critic), AutogradGradients)


def test_flattened_parameters_are_moved_by_the_flat_one():
    parts = [torch.nn.Parameter(torch.arange(4.0).view(2, 2)), torch.nn.Parameter(torch.tensor([7.0]))]
    flat = flatten(parts)
    assert flat.tolist() == [0, 1, 2, 3, 7]
    parts[1].grad.fill_(2.0)
    torch.optim.SGD([flat], lr=0.5).step()
    assert parts[0].flatten().tolist() == [0, 1, 2, 3] and parts[1].tolist() == [6.0]


def test_flat_adam_is_torchs():
    generator = torch.Generator().manual_seed(0)
    start, results = torch.randn(1000, generator=generator), []
    gradients = torch.randn((30, 1000), generator=generator) * torch.logspace(-6, 2, 1000)
    theirs = torch.nn.Parameter(start.clone())
    flat = flatten([torch.nn.Parameter(start.clone())])
    optimizers = torch.optim.Adam([theirs], lr=1e-2), FlatAdam(flat, 1e-2)
    for index, gradient in enumerate(gradients):
        if index == 15:  # another rate, and a resumed one
            optimizers[0].param_groups[0]["lr"] = 3e-3
            again = FlatAdam(flat, 3e-3)
            again.load_state_dict(copy.deepcopy(optimizers[1].state_dict()))
            optimizers = optimizers[0], again
        theirs.grad = gradient.clone()
        flat.grad.copy_(gradient)
        for optimizer in optimizers:
            optimizer.step()
        results.append((theirs.detach().clone(), flat.detach().clone()))
    for expected, found in results:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_one_step_does_what_the_formulas_say():
    policy, learner = small()
    learner.remember(rollouts(policy))
    before = copy.deepcopy(learner)
    torch.manual_seed(0)
    losses = learner.step(np.random.default_rng(5))
    generator = np.random.default_rng(5)
    data = before.buffer.sample(generator, 32)
    noise = torch.from_numpy(generator.standard_normal((2, 32, 1), dtype=np.float32))
    with torch.no_grad():
        action, log_prob = before.policy.draw(data["next_state"], noise[0])
        both = torch.stack([before.target(data["next_state"], action)[member] for member in range(2)])
        target = data["reward"] + data["discount"] * (torch.minimum(*both) - 1.0 * log_prob)
        values = before.critic(data["state"], data["action"])
        expected = sum(0.5 * torch.nn.functional.mse_loss(values[member], target) for member in range(2))
    assert float(losses["critic_loss"]) == pytest.approx(float(expected), rel=1e-5)
    moved = [not torch.equal(a, b) for a, b in zip(before.policy.parameters(), policy.parameters(), strict=True)]
    assert any(moved) and float(learner.log_alpha.detach()) != 0.0
    old, online = before.target.members[0][0].weight, learner.critic.members[0][0].weight.detach()
    torch.testing.assert_close(learner.target.members[0][0].weight, old + 0.005 * (online - old))


def test_a_resumed_run_continues_bit_for_bit():
    policy, learner = small()
    again, resumed = small()
    for iteration in range(4):
        if iteration == 2:
            again.load_state_dict(copy.deepcopy(policy.state_dict()))
            resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
        if iteration >= 2:
            resumed.update(rollouts(again, iteration), seed=0, iteration=iteration)
        learner.update(rollouts(policy, iteration), seed=0, iteration=iteration)
    assert resumed.num_updates == learner.num_updates == 4 * 32
    for a, b in zip(policy.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_critics_begin_as_the_seed_says():
    policy = SquashedMlp.for_env(SignsConfig(), hidden=(16, 16))
    first, again, other = (
        make_learner(policy, SacConfig(hidden=(8,)), LearnerConfig(), seed=seed).flat_critic for seed in (3, 3, 4)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_it_refuses_what_cannot_work():
    with pytest.raises(ConfigError, match="policy='vlarl.policies.mlp:SquashedMlp'"):
        make_learner(StateMlp(), SacConfig(), LearnerConfig())
    with pytest.raises(ConfigError, match="must hold a batch of 256"):
        SacConfig(capacity=100)
    with pytest.raises(ConfigError, match="build_learner"):
        SacConfig().build()


def parseval_penalty(weight):
    width = len(weight)
    return (64 / width) ** 2 * ((weight @ weight.T - 2.0 * torch.eye(width)) ** 2).sum()


def test_parsevals_gradient_is_that_of_its_penalty():
    assert float(parseval_penalty(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))) == pytest.approx(3.0 * 32**2)
    assert float(parseval_penalty(2**0.5 * torch.eye(2))) == pytest.approx(0.0, abs=1e-6)
    weight, other = torch.nn.Parameter(torch.randn(5, 5)), torch.nn.Parameter(torch.randn(5, 4))
    for parameter in (weight, other):
        parameter.grad = torch.ones_like(parameter)
    add_parseval_gradients([weight, other], 1e-3)
    slope = torch.autograd.grad(1e-3 * parseval_penalty(weight), weight)[0]
    torch.testing.assert_close(weight.grad, 1.0 + slope)
    assert bool((other.grad == 1.0).all())


def test_parseval_regularisation_draws_hidden_layers_of_critics_and_policy_to_orthogonality():
    def distance(learner) -> list[float]:
        found = [learner.policy.body[2].weight, *(member[2].weight for member in learner.critic.members)]
        return [float(parseval_penalty(weight.detach())) for weight in found]

    results = []
    for parseval in (0.0, 1e-2):
        policy, learner = small(parseval=parseval)
        learner.remember(rollouts(policy))
        before = distance(learner)
        for _ in range(40):
            learner.step(np.random.default_rng(0))
        results.append(distance(learner))
    assert before[0] == pytest.approx(0.0, abs=1e-3)  # the policy starts orthogonal, the critics do not
    (free_policy, *free), (held_policy, *held) = results
    assert held_policy < free_policy / 2 and len(held) == 2
    assert all(b < 0.7 * min(a, start) for a, b, start in zip(free, held, before[1:], strict=True))


@pytest.mark.parametrize("truncates", [False, True])
def test_sac_learns(truncates):
    policy, learner = small(updates_per_step=2.0)
    rewards = []
    for iteration in range(10):
        batch = rollouts(policy, iteration, truncates)
        rewards.append(float(batch.returns.mean()))
        learner.update(batch, seed=0, iteration=iteration)
    assert sum(rewards[:2]) / 2 < 1.3 and sum(rewards[-3:]) / 3 > 1.6, rewards
