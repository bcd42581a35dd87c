"""GRPO against numbers recorded from SimpleVLA-RL and verl."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.batches import batch_of, loss_of
from vlarl.objectives.grpo import GrpoConfig, simplevla

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"


def load(name: str):
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"golden data {path} is absent")
    return np.load(path)


def test_advantages_equal_simplevla_rl():
    data = load("openvla/07_simplevla_rl.npz")
    mask, returns = data["rl/response_mask"], data["rl/token_rewards"].sum(-1)
    objective = GrpoConfig(keep_low=0.0, keep_high=1.0).build()
    batch, metrics = objective.prepare(batch_of(mask, data["rl/old_log_probs"], returns, data["rl/group"]))
    order = np.argsort(data["rl/group"], kind="stable")  # prepare orders episodes by group
    np.testing.assert_allclose(batch.advantages[:, 0, 0], data["rl/advantages"][order], rtol=2e-6, atol=1e-6)
    assert metrics["groups_kept"] == metrics["groups_total"] == len(set(data["rl/group"].tolist()))


def test_policy_loss_equals_simplevla_rl_per_trajectory():
    data = load("openvla/07_simplevla_rl.npz")
    objective = simplevla().build()
    old, new = (torch.as_tensor(data[f"rl/{name}"]) for name in ("old_log_probs", "log_probs"))
    mask, advantages = torch.as_tensor(data["rl/response_mask"]), torch.as_tensor(data["rl/advantages"])
    total = 0.0
    for row, (loss, clipfrac, kl) in enumerate(data["rl/core/per_trajectory_loss_clipfrac_kl"]):
        batch = batch_of(mask[row : row + 1], old[row : row + 1], [1.0], [0])
        batch.advantages = advantages[row][None, None, None]
        output = loss_of(objective, new[row], batch)
        tokens = output.sums["tokens"]
        assert float(output.loss) == pytest.approx(loss, abs=2e-6)
        total += float(output.sums["clipfrac"])
        # upstream's "kl" is the mean of -log_ratio, ours the non-negative k3 estimator: same log-probs behind both
        assert float((old - new)[row][mask[row]].mean()) == pytest.approx(kl, abs=2e-6)
        assert 0 <= float(output.sums["clipfrac"] / tokens) >= clipfrac - 1e-6
    assert total > 0


def test_loss_and_gradient_equal_verl_in_sequence_mean_token_mean_mode():
    data = load("rl/verl_0.9.1.npz")
    low, high = float(data["par/clip_low"]), float(data["par/clip_high"])
    objective = GrpoConfig(clip_low=low, clip_high=high).build()
    new = torch.tensor(data["in/log_prob"], requires_grad=True)
    batch = batch_of(data["in/mask"], data["in/old_log_prob"], np.ones(16), data["in/group"])
    batch.advantages = torch.tensor(data["in/advantages"])[:, None, None]
    output = loss_of(objective, new, batch)
    output.loss.backward()
    name = "loss/no_dual_clip/seq-mean-token-mean"
    assert float(output.loss.detach()) == pytest.approx(float(data[f"{name}/loss"]), rel=2e-6, abs=1e-6)
    np.testing.assert_allclose(new.grad, data[f"{name}/grad"], rtol=2e-6, atol=1e-6)


def test_advantages_equal_verl():
    data = load("rl/verl_0.9.1.npz")
    objective = GrpoConfig(keep_low=0.0, keep_high=1.0).build()
    returns = data["in/rewards_outcome"].sum(-1)
    batch, _ = objective.prepare(batch_of(data["in/mask"], data["in/old_log_prob"], returns, data["in/group"]))
    order = np.argsort(data["in/group"], kind="stable")
    np.testing.assert_allclose(batch.advantages[:, 0, 0], data["adv/grpo/advantages"][order], rtol=2e-6, atol=1e-6)
