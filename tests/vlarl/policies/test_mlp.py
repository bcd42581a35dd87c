"""Small policies: their densities against scipy and numerical integration, and act against evaluate."""

import numpy as np
import pytest
import torch
from scipy import stats

from envs.toy import ToyConfig
from tests.support.tiny_env import SignsConfig
from vlarl.env_protocol import Observation
from vlarl.errors import CheckpointError, ConfigError
from vlarl.policies.distributions import Beta, Gaussian, SquashedGaussian
from vlarl.policies.mlp import BetaMlp, MlpConfig, MlpPolicy, SquashedMlp
from vlarl.policy import Decoding, load_policy


def test_gaussian_density_entropy_and_temperature():
    parameters = torch.tensor([[[0.3, -0.5]]])  # mean .3, log deviation -.5
    tokens = torch.tensor([[[0.9]]])
    for temperature in (1.0, 1.7):
        reference = stats.norm(0.3, np.exp(-0.5) * temperature)
        log_probs, entropy = Gaussian(1).log_probs(parameters, tokens, temperature)
        assert float(log_probs) == pytest.approx(reference.logpdf(0.9), abs=1e-6)
        assert float(entropy) == pytest.approx(reference.entropy(), abs=1e-6)
        rows = Gaussian(1).log_probs(parameters, tokens, torch.full((1, 1, 1, 1), temperature))
        torch.testing.assert_close(rows[0], log_probs)
        drawn = Gaussian(1).sample(parameters, torch.tensor([[[0.8]]]), temperature)
        assert float(drawn) == pytest.approx(reference.ppf(0.8), abs=1e-5)


def test_squashed_gaussian_is_a_density_of_the_action():
    parameters = torch.tensor([[[0.4, -0.2]]])
    actions = np.linspace(-0.9999, 0.9999, 20001)
    tokens = torch.from_numpy(np.arctanh(actions)).float()[:, None, None]
    log_probs, _ = SquashedGaussian(1).log_probs(parameters.expand(len(tokens), 1, 2), tokens, 1.0)
    assert np.trapezoid(log_probs.exp().flatten().numpy(), actions) == pytest.approx(1.0, abs=2e-3)


def test_beta_density_sample_and_mode():
    raw = torch.tensor([[[0.7, 1.9]]])
    alpha, beta = (1 + np.log1p(np.exp(v)) for v in (0.7, 1.9))
    reference = stats.beta(alpha, beta)
    part = Beta(1)
    log_probs, entropy = part.log_probs(raw, torch.tensor([[[0.25]]]), 1.0)
    assert float(log_probs) == pytest.approx(reference.logpdf(0.25), abs=1e-5)
    assert float(entropy) == pytest.approx(reference.entropy(), abs=1e-5)
    assert float(part.sample(raw, torch.tensor([[[0.8]]]), 1.0)) == pytest.approx(reference.ppf(0.8), abs=1e-5)
    assert float(part.mode(raw)) == pytest.approx((alpha - 1) / (alpha + beta - 2), abs=1e-5)


POLICIES = {
    "gaussian": lambda: MlpPolicy(MlpConfig(state_size=3, chunk=2)),
    "squashed": lambda: SquashedMlp.for_env(SignsConfig(), hidden=(16,), chunk=2),
    "beta": lambda: BetaMlp.for_env(SignsConfig(), chunk=2),
    "categorical": lambda: MlpPolicy(MlpConfig(state_size=3, choices=5, distribution="categorical", chunk=2)),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_evaluate_repeats_what_act_said(name, temperature):
    policy = POLICIES[name]()
    rng = np.random.default_rng(0)
    seen = [
        Observation(images={}, state=rng.normal(size=3).astype(np.float32), instruction="", time=0) for _ in range(5)
    ]
    noise = [rng.random(policy.noise_shape, dtype=np.float32) for _ in seen]
    outputs = policy.act(seen, noise, Decoding(temperature=temperature))
    tokens = torch.from_numpy(np.stack([o.tokens for o in outputs]))
    tokens = tokens.long() if name == "categorical" else tokens
    states = torch.stack([o.inputs["state"] for o in outputs])
    log_probs, entropies = policy.evaluate({"state": states}, tokens, temperature)
    np.testing.assert_allclose(log_probs.detach(), np.stack([o.log_probs for o in outputs]), atol=2e-6)
    assert torch.isfinite(entropies).all() and log_probs.requires_grad
    for output in outputs:
        assert output.actions.dtype == np.float32 and output.actions.shape[0] == 2
        low, high = (0, 4) if name == "categorical" else (-1, 1)
        assert (low <= output.actions).all() and (output.actions <= high).all()
    alone = policy.act(seen[2:3], noise[2:3], Decoding(temperature=temperature))[0]
    assert np.array_equal(alone.tokens, outputs[2].tokens) and np.array_equal(alone.log_probs, outputs[2].log_probs)
    greedy = policy.act(seen[:1], noise[:1], Decoding(mode="greedy"))[0]
    assert np.isfinite(greedy.actions).all()


def test_save_and_load_keep_every_bit(tmp_path):
    policy = MlpPolicy(MlpConfig(state_size=3, value_head=True), seed=3)
    policy.learn_moments({"state": torch.randn(50, 3) * 4 + 1})
    policy.save_pretrained(tmp_path / "p")
    again = load_policy(tmp_path / "p")
    assert again.config == policy.config
    for a, b in zip(policy.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "p" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="does not hold an MlpPolicy"):
        load_policy(tmp_path / "p")


def test_running_moments_equal_the_moments_of_everything():
    policy = MlpPolicy(MlpConfig(state_size=2))
    rows = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 0.1]) + 5.0
    for part in rows.split([7, 100, 193]):
        policy.learn_moments({"state": part})
    torch.testing.assert_close(policy.moments.mean, rows.mean(0))
    torch.testing.assert_close(policy.moments.variance, rows.var(0, correction=0), rtol=1e-4, atol=1e-6)


def test_a_policy_that_cannot_know_its_sizes_says_so():
    with pytest.raises(ConfigError, match="ToyConfig has no spaces"):
        load_policy("vlarl.policies.mlp:MlpPolicy", env=ToyConfig())
    with pytest.raises(ConfigError, match="build it with value_head=True"):
        MlpPolicy().values({"state": torch.zeros(1, 4)})
    with pytest.raises(ConfigError, match="use SquashedMlp"):
        MlpPolicy().draw(torch.zeros(1, 4), torch.zeros(1, 2))
