"""Advantages, losses and gradients against numbers recorded from verl 0.9.1 and RLinf 0.3.0."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.batches import batch_of, loss_of
from tests.support.objective_parity import same
from vlarl.objective import Decisions
from vlarl.objectives.advantages import GroupRelative, ReturnToGo, whiten
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.critic import Critic, Gae
from vlarl.objectives.masks import CovarianceClip
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.regularisers import CovarianceKl, kl_estimate
from vlarl.objectives.surrogates import Cispo, Clip, Gradient, Sapo, Unclipped
from vlarl.policies.action_tokens import log_probs_and_entropy

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "rl"
MODES = {
    "token-mean": Aggregation(mode="token_mean"),
    "token-sum": Aggregation(mode="token_sum"),
    "seq-mean-token-sum": Aggregation(mode="sequence_sum"),
    "seq-mean-token-mean": Aggregation(mode="sequence_mean"),
    "seq-mean-token-sum-norm": Aggregation(mode="sequence_sum", length=24.0),
}


@pytest.fixture(scope="module", name="verl")
def verl_fixture():
    return load("verl_0.9.1.npz")


@pytest.fixture(scope="module", name="rlinf")
def rlinf_fixture():
    return load("rlinf_0.3.0.npz")


def load(name):
    path = GOLDEN / name
    if not path.exists():
        pytest.skip(f"golden data {path} is absent")
    return np.load(path)


VERL_ADVANTAGES = [
    ("grpo", GroupRelative(), "group", "outcome"),
    ("dr_grpo", GroupRelative(scale="none"), "group", "outcome"),
    ("grpo_uneven_groups", GroupRelative(), "group_uneven", "outcome"),
    ("dr_grpo_uneven_groups", GroupRelative(scale="none"), "group_uneven", "outcome"),
    ("grpo_constant_group", GroupRelative(), "group", "constant_first_group"),
    ("grpo_dense", GroupRelative(), "group", "dense"),
    ("rloo", GroupRelative(centre="leave_one_out", scale="none"), "group", "outcome"),
    ("rloo_uneven_groups", GroupRelative(centre="leave_one_out", scale="none"), "group_uneven", "dense"),
    ("opo", GroupRelative(centre="length_weighted", scale="none"), "group", "outcome"),
    ("reinforce_plus_plus", ReturnToGo(), "group", "outcome"),
    ("reinforce_plus_plus_gamma", ReturnToGo(discount=0.99), "group", "dense"),
    ("reinforce_plus_plus_baseline", ReturnToGo(baseline="group"), "group", "outcome"),
]


@pytest.mark.parametrize(
    ("name", "part", "groups", "rewards"), VERL_ADVANTAGES, ids=[row[0] for row in VERL_ADVANTAGES]
)
def test_verl_advantages(verl, name, part, groups, rewards):
    rewards = verl[f"in/rewards_{rewards}"]
    if "dense" not in name:
        rewards = rewards * verl["in/mask"]
    batch = batch_of(
        verl["in/mask"], verl["in/old_log_prob"], rewards.sum(-1), verl[f"in/{groups}"], rewards=rewards, steps=True
    )
    found, _ = part.estimate(batch)
    found = (found[:, None] if found.dim() == 1 else found) * verl["in/mask"]
    same("verl advantages", found, verl[f"adv/{name}/advantages"])


def test_verl_gpg_scales_by_the_share_of_returns_that_are_not_zero(verl):
    returns = verl["in/rewards_outcome"].sum(-1)
    batch = batch_of(verl["in/mask"], verl["in/old_log_prob"], returns, verl["in/group"])
    alpha = len(returns) / np.count_nonzero(returns)
    found, _ = GroupRelative(scale="none", scale_all=alpha).estimate(batch)
    same("verl advantages", found[:, None] * verl["in/mask"], verl["adv/gpg/advantages"])


@pytest.mark.parametrize(
    ("name", "rewards", "mask", "gamma", "decay"),
    [("gae_dense", "dense", "mask", 0.99, 0.95), ("gae_outcome_lam1", "outcome", "mask", 1.0, 1.0)],
)
def test_verl_gae(verl, name, rewards, mask, gamma, decay):
    mask = verl[f"in/{mask}"]
    batch = batch_of(
        mask, verl["in/old_log_prob"], np.zeros(16), np.zeros(16), rewards=verl[f"in/rewards_{rewards}"], steps=True
    )
    batch.columns["values"] = torch.tensor(verl["in/values"] * mask)
    batch.columns["final_values"] = torch.zeros(16, 24)
    raw = Gae(discount=gamma, decay=decay, normalise=False).estimate(batch)[0]
    same("verl returns", batch.columns["returns"], verl[f"adv/{name}/returns"] * mask)
    same("verl advantages", whiten(raw, torch.tensor(mask)), verl[f"adv/{name}/advantages"] * mask)


LOSSES = {
    "no_dual_clip": {"surrogate": Clip(low=0.2, high=0.28)},
    "dual_clip": {"surrogate": Clip(low=0.2, high=0.28, dual=3.0)},
    "gspo": {"surrogate": Clip(low=0.2, high=0.28), "ratio": Ratio(level="trajectory_mean", log_limit=10.0)},
    "clip_cov_all_candidates": {"surrogate": Clip(low=0.2, high=0.28), "masks": (CovarianceClip(share=1.0),)},
    "kl_cov": {"surrogate": Unclipped(), "regularisers": (CovarianceKl(),)},
    "gpg": {"surrogate": Gradient()},
    "cispo": {"surrogate": Cispo(low=0.2, high=0.28)},
    "sapo": {"surrogate": Sapo()},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", LOSSES)
def test_verl_losses_and_gradients(verl, name, mode):
    parts = dict(LOSSES[name])
    if name == "clip_cov_all_candidates":
        parts["masks"] = (
            CovarianceClip(share=1.0, low=float(verl["par/clip_cov_lb"]), high=float(verl["par/clip_cov_ub"])),
        )
    if name == "kl_cov":
        share, coefficient = float(verl["par/cov_ratio"]), float(verl["par/kl_cov_coef"])
        parts["regularisers"] = (CovarianceKl(share=share, coefficient=coefficient),)
    aggregation = MODES["seq-mean-token-mean" if name == "sapo" else mode]  # upstream hard-wires SAPO's
    objective = PolicyGradientConfig(aggregation=aggregation, **parts).build()
    batch = batch_of(verl["in/mask"], verl["in/old_log_prob"], np.ones(16), verl["in/group"])
    batch.advantages = torch.tensor(verl["in/advantages"])[:, None, None]
    new = torch.tensor(verl["in/log_prob"], requires_grad=True)
    output = loss_of(objective, new, batch)
    output.loss.backward()
    scale = max(1.0, abs(float(verl[f"loss/{name}/{mode}/loss"])))
    same("verl loss", output.loss.detach(), verl[f"loss/{name}/{mode}/loss"], atol=1e-6 * scale)
    same("verl gradient", new.grad, verl[f"loss/{name}/{mode}/grad"])


@pytest.mark.parametrize("mask", ["mask", "mask_row_empty", "mask_with_holes"])
@pytest.mark.parametrize("mode", MODES)
def test_verl_aggregations(verl, mode, mask):
    rows = torch.tensor(verl[f"in/{mask}"]).bool()
    found = (torch.tensor(verl["in/loss_mat"]) * MODES[mode].weights(rows)).sum()
    same("verl aggregation", found, verl[f"agg/{mode}/{mask}"])


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_verl_kl(verl, kind):
    found = kl_estimate(kind, torch.tensor(verl["in/log_prob"]), torch.tensor(verl["in/ref_log_prob"]))
    same("verl KL estimate", found, verl[f"kl/{kind}"])


@pytest.mark.parametrize("mode", MODES)
def test_verl_value_loss(verl, mode):
    values, old, returns = (torch.tensor(verl[f"in/{name}"]) for name in ("vpreds", "values", "returns"))
    losses = Critic(clip=0.2).loss(values, old, returns)
    found = (losses * MODES[mode].weights(torch.tensor(verl["in/mask"]).bool())).sum()
    same("verl value loss", found, verl[f"value_loss/{mode}"], atol=1e-12)


def test_verl_log_probs_and_entropy(verl):
    logits, labels = torch.tensor(verl["in/logits"]), torch.tensor(verl["in/labels"])
    same("verl entropy", log_probs_and_entropy(logits, labels, 1.0)[1], verl["entropy_from_logits"])
    same("verl log-probability", log_probs_and_entropy(logits, labels, 1.6)[0], verl["logprobs_from_logits_T1.6"])


# RLinf: arrays are [chunks, batch, steps]; ours are [batch, chunks, steps].


def rlinf_batch(rlinf, chunk_level):
    mask = torch.tensor(rlinf["in/loss_mask"]).transpose(0, 1)[..., None]
    rewards = torch.tensor(rlinf["in/rewards"]).transpose(0, 1)
    number, depth, steps = rewards.shape
    if not chunk_level:
        mask, rewards = mask.reshape(number, depth * steps, 1, 1), rewards.reshape(number, depth * steps)
    else:
        rewards = rewards.sum(-1)
    batch = batch_of(
        np.ones((number, 1)), np.zeros((number, 1)), np.zeros(number), np.arange(number) // int(rlinf["in/group_size"])
    )
    batch.token_mask, batch.rewards = mask, rewards
    batch.decision_mask = mask.flatten(2).any(-1)
    return batch


@pytest.mark.parametrize("level", ["action_level", "chunk_level"])
def test_rlinf_grpo_advantages(rlinf, level):
    batch = rlinf_batch(rlinf, chunk_level=False)
    dones = torch.tensor(rlinf["in/dones"])[1:].transpose(0, 1).flatten(1)
    before = torch.cat((torch.zeros_like(dones[:, :1]), dones[:, :-1]), 1).cumsum(1) == 0
    batch.returns = (batch.rewards * before).sum(1)
    found, _ = GroupRelative().estimate(batch)
    expected = rlinf[f"adv/grpo_{level}/advantages"].transpose(1, 0, 2)
    mask = rlinf["in/loss_mask"].transpose(1, 0, 2)
    if level == "chunk_level":
        mask = mask.any(-1, keepdims=True)
    same("RLinf advantages", found[:, None, None].numpy() * mask, expected * mask)


LEVELS = {
    "token_level": Ratio(level="token"),
    "action_level": Ratio(level="action"),
    "chunk_level": Ratio(level="chunk"),
}


def rlinf_losses(rlinf, level, masks=(), dual=True):
    """RLinf's loss of twelve decisions: mean over positions of loss * mask / (executed steps / longest episode)."""
    clip = Clip(
        low=float(rlinf["lin/clip_low"]),
        high=float(rlinf["lin/clip_high"]),
        dual=float(rlinf["lin/dual_clip_c"]) if dual else 0.0,
    )
    objective = PolicyGradientConfig(ratio=LEVELS[level], surrogate=clip, masks=masks).build()
    mask, steps = torch.tensor(rlinf["lin/loss_mask"]), torch.tensor(rlinf["lin/loss_mask_sum"]).float()
    advantages = torch.tensor(rlinf["lin/advantages"])
    if level == "chunk_level":  # one value per chunk: the first column; a chunk counts if any of its steps does
        mask, advantages, steps = (x.any(-1) if x.dtype == torch.bool else x[:, 0] for x in (mask, advantages, steps))
        mask, advantages, steps = (x[:, None].expand(12, 8) for x in (mask, advantages, steps))
    tokens = {"token_level": 7, "action_level": 1, "chunk_level": 1}[level]
    share = mask.float() * float(rlinf["lin/max_episode_steps"]) / steps
    weights = {
        "token_level": (share / mask.numel())[..., None].expand(12, 8, 7) / tokens,
        "action_level": (share / mask.numel())[..., None],
        "chunk_level": (share[:, :1] / 12)[..., None],
    }[level]
    new = torch.tensor(rlinf["lin/logprobs"], requires_grad=True)
    decisions = Decisions(
        old_log_probs=torch.tensor(rlinf["lin/old_logprobs"]).view(12, 8, 7),
        advantages=advantages[..., None].expand(12, 8, 7).contiguous(),
        mask=mask[..., None].expand(12, 8, 7),
        weights=weights,
        rows=torch.arange(12),
        inputs={},
        columns={},
    )
    return objective, new, decisions


@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_rlinf_actor_losses_and_gradients(rlinf, level, dual):
    objective, new, decisions = rlinf_losses(rlinf, level, dual=dual)
    output = objective.loss(new.view(12, 8, 7), torch.zeros(12, 8, 7), decisions)
    output.loss.backward()
    name = f"loss/actor_{level}" + ("" if dual else "_no_dual_clip")
    same("RLinf loss", output.loss.detach(), rlinf[f"{name}/loss"])
    same("RLinf gradient", new.grad, rlinf[f"{name}/grad"], rtol=2e-5)
