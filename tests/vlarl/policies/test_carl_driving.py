"""CaRL's policy made small: its rows are independent, it is saved whole, its critic sees more than its actor."""

import dataclasses

import numpy as np
import pytest
import torch

from envs.drive import DriveConfig
from envs.toy import ToyConfig
from vlarl.env_protocol import Observation
from vlarl.errors import ConfigError
from vlarl.policies.block_acting import BLOCK
from vlarl.policies.carl_driving import CarlDriving, CarlDrivingConfig
from vlarl.policy import Decoding, fitted, load_policy

ENV = DriveConfig(layers=64, layers_metres=48.0)


@pytest.fixture(scope="module")
def policy():
    made = CarlDriving.for_env(ENV, seed=3)
    with torch.no_grad():  # a fresh head says nothing: every action would be the same
        made.actions[-1].weight.mul_(100.0)
    return made


def observations(count):
    random = np.random.default_rng(5)
    return [
        Observation(
            images={"layers": (255 * (random.random((64, 64, 10)) < 0.2)).astype(np.uint8)},
            state=random.normal(size=19).astype(np.float32),
            instruction="",
            time=0.0,
        )
        for _ in range(count)
    ]


def noises(count):
    return list(np.random.default_rng(6).uniform(0.01, 0.99, (count, 1, 2)).astype(np.float32))


def stacked(outputs):
    return {name: torch.stack([output.inputs[name] for output in outputs]) for name in outputs[0].inputs}


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(mode="greedy")])
def test_a_decision_depends_on_its_own_episode_only(policy, decoding):
    seen, noise = observations(2 * BLOCK + 5), noises(2 * BLOCK + 5)
    expected = policy.act(seen, noise, decoding)
    assert len({tuple(output.actions[0]) for output in expected}) == len(expected)
    for part in (slice(0, 1), slice(3, 3 + BLOCK), slice(7, 30), slice(36, 37)):
        found = policy.act(seen[part], noise[part], decoding)
        for a, b in zip(found, expected[part], strict=True):
            for name in ("actions", "tokens", "log_probs"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_evaluate_gives_what_act_was(policy):
    outputs = policy.act(observations(20), noises(20), Decoding(temperature=1.3))
    tokens = torch.from_numpy(np.stack([output.tokens for output in outputs]))
    log_probs, entropies = policy.evaluate(stacked(outputs), tokens, 1.3)
    recorded = np.stack([output.log_probs for output in outputs])
    np.testing.assert_allclose(log_probs.detach().numpy(), recorded, atol=1e-5)
    assert log_probs.shape == entropies.shape == (20, 1, 2)
    actions = np.stack([output.actions for output in outputs])
    np.testing.assert_allclose(actions, 2.0 * tokens.numpy() - 1.0, atol=1e-6)
    assert np.abs(actions).max() <= 1.0


def test_only_the_value_sees_the_privileged_numbers(policy):
    inputs = stacked(policy.act(observations(4), noises(4), Decoding()))
    other = {**inputs, "state": inputs["state"].clone()}
    other["state"][:, 8:] += 1.0
    tokens = torch.full((4, 1, 2), 0.3)
    assert torch.equal(policy.evaluate(inputs, tokens, 1.0)[0], policy.evaluate(other, tokens, 1.0)[0])
    assert (policy.values(inputs) != policy.values(other)).all()
    other["state"][:, 8:] -= 1.0
    other["state"][:, 3] += 1.0
    assert (policy.evaluate(inputs, tokens, 1.0)[0] != policy.evaluate(other, tokens, 1.0)[0]).any()


def test_values_are_the_same_with_and_without_features_that_evaluate_left(policy):
    inputs = stacked(policy.act(observations(4), noises(4), Decoding()))
    expected = policy.values(inputs)
    policy.evaluate(inputs, torch.full((4, 1, 2), 0.3), 1.0)
    shared = policy.values(inputs)
    assert torch.equal(shared, expected)
    policy.evaluate(inputs, torch.full((4, 1, 2), 0.3), 1.0)
    other = {name: value.flip(0) for name, value in inputs.items()}  # not what was evaluated
    torch.testing.assert_close(policy.values(other), expected.flip(0))
    shared.sum().backward()
    assert all(p.grad is not None for p in policy.image.parameters())
    policy.zero_grad()


def test_it_is_saved_whole(policy, tmp_path):
    policy.save_pretrained(tmp_path)
    again = load_policy(tmp_path)
    assert isinstance(again, CarlDriving) and again.config.metres == 48.0
    seen, noise = observations(3), noises(3)
    for a, b in zip(policy.act(seen, noise, Decoding()), again.act(seen, noise, Decoding()), strict=True):
        np.testing.assert_array_equal(a.tokens, b.tokens)
    for (name, a), (other, b) in zip(policy.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other and torch.equal(a, b)


def test_the_environment_is_fitted_to_the_policy(policy):
    assert fitted(DriveConfig(difficulty=0.7), policy) == dataclasses.replace(ENV, difficulty=0.7)
    with pytest.raises(ConfigError, match="ToyConfig has no ten-channel view"):
        fitted(ToyConfig(), policy)
    with pytest.raises(ConfigError, match=r"--env.layers 64"):
        CarlDriving.for_env(DriveConfig())
    with pytest.raises(ConfigError, match=r"32 pixels.*from 44"):
        CarlDriving.for_env(DriveConfig(layers=32))


def test_sizes_of_the_default():
    count = sum(parameter.numel() for parameter in CarlDriving(CarlDrivingConfig()).parameters())
    assert 300_000 < count < 400_000  # CaRL's has about 2 million
