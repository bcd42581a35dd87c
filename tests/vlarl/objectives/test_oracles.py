"""Every number here was computed by hand or recorded from the cited code; one table per kind of part."""

import math

import numpy as np
import pytest
import torch

from tests.support.batches import batch_of, group_of, loss_of
from vlarl.objectives.advantages import GroupRelative, Halves, ReturnToGo, Signed, discounted_sum
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.archive import Replay, external_losses, median_advantage
from vlarl.objectives.critic import Critic, Gae, InputNetwork, ValueFunction
from vlarl.objectives.data_rules import Annealing, GroupFilter, LengthPenalty, agreement
from vlarl.objectives.masks import CovarianceClip, StaleWeight, covariance, log_linear_proximal
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio, Units
from vlarl.objectives.regularisers import CovarianceKl, kl_estimate
from vlarl.objectives.surrogates import Cispo, Clip, Gradient, Sapo, Unclipped
from vlarl.objectives.trajectory_surrogates import ImplicitClassifier, TrajectoryBalance, balance, leave_one_out

SOLVED_TWICE, SOLVED_ONCE, NEVER, ALWAYS = [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]

ADVANTAGES = [
    ("GRPO", GroupRelative(), SOLVED_TWICE, [0.866024, -0.866024, -0.866024, 0.866024]),
    ("GRPO", GroupRelative(), SOLVED_ONCE, [1.499997, -0.499999, -0.499999, -0.499999]),
    ("GRPO, biased", GroupRelative(ddof=0), SOLVED_TWICE, [0.999998, -0.999998, -0.999998, 0.999998]),
    ("GRPO, biased", GroupRelative(ddof=0), SOLVED_ONCE, [1.732047, -0.577349, -0.577349, -0.577349]),
    ("GRPO", GroupRelative(), NEVER, [0, 0, 0, 0]),
    ("GRPO", GroupRelative(), ALWAYS, [0, 0, 0, 0]),
    ("Dr.GRPO", GroupRelative(scale="none"), SOLVED_TWICE, [0.5, -0.5, -0.5, 0.5]),
    ("Dr.GRPO", GroupRelative(scale="none"), SOLVED_ONCE, [0.75, -0.25, -0.25, -0.25]),
    ("RLOO", GroupRelative(centre="leave_one_out", scale="none"), SOLVED_TWICE, [2 / 3, -2 / 3, -2 / 3, 2 / 3]),
    ("RLOO", GroupRelative(centre="leave_one_out", scale="none"), SOLVED_ONCE, [1, -1 / 3, -1 / 3, -1 / 3]),
    ("NGRPO", GroupRelative(virtual_rewards=1), NEVER, [-0.447213] * 4),
    ("NGRPO", GroupRelative(virtual_rewards=1), SOLVED_TWICE, [0.730295, -1.095443, -1.095443, 0.730295]),
    ("NGRPO", GroupRelative(virtual_rewards=1), SOLVED_ONCE, [1.095443, -0.730295, -0.730295, -0.730295]),
    ("NGRPO", GroupRelative(virtual_rewards=1), ALWAYS, [0, 0, 0, 0]),
    ("PSR", Signed(negative=0.0), SOLVED_TWICE, [1, 0, 0, 1]),
    ("NSR", Signed(positive=0.0), SOLVED_TWICE, [0, -1, -1, 0]),
    ("W-REINFORCE", Signed(positive=0.1), SOLVED_TWICE, [0.1, -1, -1, 0.1]),
]


@pytest.mark.parametrize(("name", "part", "returns", "expected"), ADVANTAGES)
def test_advantages_of_a_group(name, part, returns, expected):
    advantages, _ = part.estimate(group_of(returns))
    assert advantages.tolist() == pytest.approx(expected, abs=2e-6), name


@pytest.mark.parametrize(
    ("other", "expected"),
    [(1.0, [0.5, 0.5, -1, 0]), (0.0, [0, 0, -0.5, 0.5]), (0.5, [0.25, 0.25, -0.75, 0.25])],
)
def test_canon_compares_halves_sorted_by_length(other, expected):
    mask = np.arange(40) < np.array([10, 20, 30, 40])[:, None]
    batch = batch_of(mask, np.zeros((4, 40)), [1, 1, 0, 1], [0] * 4, steps=True)
    assert Halves(other=other).estimate(batch)[0].tolist() == pytest.approx(expected, abs=1e-6)
    if other == 0.5:
        drgrpo = GroupRelative(scale="none").estimate(batch)[0]
        torch.testing.assert_close(Halves(other=other).estimate(batch)[0], drgrpo)


def test_canon_sorts_by_jerk():
    batch = batch_of(np.ones((4, 4)), np.zeros((4, 4)), [0, 1, 1, 0], [0] * 4, steps=True)
    batch.tokens[:, :, 0, 0] = torch.tensor([[0, 1, 2, 3], [0, 5, 0, 5], [0, 4, 0, 4], [1, 1, 1, 2]])
    # second differences: 0; 10; 8; 0.5 -> halves {0, 3} and {2, 1}
    assert Halves(metric="jerk", other=1.0).estimate(batch)[0].tolist() == [-1, 1, 1, -1]


def test_reinforce_plus_plus_whitens_over_the_batch():
    batch = batch_of(np.ones((4, 1)), np.zeros((4, 1)), [1, 0, 1, 1], [0, 0, 1, 1], rewards=[[1], [0], [1], [1]])
    assert ReturnToGo().estimate(batch)[0].flatten().tolist() == pytest.approx([0.5, -1.5, 0.5, 0.5], abs=1e-6)
    with_baseline = ReturnToGo(baseline="group").estimate(batch)[0].flatten().tolist()
    assert with_baseline == pytest.approx([1.224745, -1.224745, 0, 0], abs=1e-6)
    assert discounted_sum(torch.tensor([0.0, 0.0, 1.0]), 0.9).tolist() == pytest.approx([0.81, 0.9, 1])


def critic_batch(rewards, values, final, chunk: int = 1):
    """One episode whose decisions execute ``chunk`` steps each."""
    depth = len(rewards)
    batch = batch_of(np.ones((1, depth)), np.zeros((1, depth)), [0], [0], rewards=[rewards], steps=True)
    batch.token_mask = torch.ones(1, depth, chunk, 1, dtype=torch.bool)
    batch.columns["values"] = torch.tensor([values])
    batch.columns["final_values"] = torch.zeros(1, depth)
    batch.columns["final_values"][0, -1] = final
    return batch


@pytest.mark.parametrize(
    ("final", "expected"), [(0.0, [0.21712, 0.246, 0.3]), (0.9, [0.637024, 0.8292, 1.11])], ids=["ended", "truncated"]
)
def test_gae_bootstraps_only_where_the_episode_was_cut_off(final, expected):
    batch = critic_batch([0.0, 0.0, 1.0], [0.5, 0.6, 0.7], final)
    gae = Gae(discount=0.9, decay=0.8, normalise=False)
    assert gae.estimate(batch)[0][0].tolist() == pytest.approx(expected, abs=1e-6)
    values = torch.tensor([0.5, 0.6, 0.7])
    assert batch.columns["returns"][0].tolist() == pytest.approx((torch.tensor(expected) + values).tolist(), abs=1e-6)


def test_a_chunk_is_discounted_by_its_executed_steps():
    batch = critic_batch([0.9, 2.0], [1.0, 3.0], 0.0, chunk=2)
    gae = Gae(discount=0.9, decay=1.0, normalise=False)
    # delta_1 = 2 - 3 = -1; delta_0 = .9 + .81 * 3 - 1 = 2.33; A_0 = 2.33 + .81 * -1
    assert gae.estimate(batch)[0][0].tolist() == pytest.approx([1.52, -1.0], abs=1e-6)


def test_rnacs_ipm_set_takes_the_norm_of_the_critic_off_every_reward():
    value = ValueFunction(Critic(hidden=(2,), uncertainty=0.1))
    batch = critic_batch([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], 0.0)
    value.network = InputNetwork(1, (2,))
    with torch.no_grad():
        for parameter, number in zip(value.network.parameters(), (2.0, 1.0, 3.0, 9.0), strict=True):
            parameter.fill_(number)
    # W1 [2, 1] of 2, b1 [2] of 1, W2 [1, 2] of 3; the last bias (9) does not count
    norm = (2 * 4 + 2 * 1 + 2 * 9) ** 0.5
    assert value.weight_norm() == pytest.approx(norm)
    value.units[1] = 3.0  # in units of the reward: returns deviate by 3
    assert value.weight_norm() == pytest.approx(3.0 * norm)
    batch.columns["uncertainty"] = torch.full((1, 3), 0.25)
    found = Gae(discount=1.0, decay=1.0, normalise=False).estimate(batch)[0][0]
    assert found.tolist() == pytest.approx([0.25, 0.5, 0.75])  # 1 minus a quarter per decision to come
    assert "uncertainty" not in batch.columns


RATIOS = torch.tensor([0.7, 0.9, 1.1, 1.25, 1.4])
CLIPS = [
    (Clip(), 1, [-0.7, -0.9, -1.1, -1.2, -1.2], [0, 0, 0, 1, 1]),
    (Clip(high=0.28), 1, [-0.7, -0.9, -1.1, -1.25, -1.28], [0, 0, 0, 0, 1]),
    (Clip(low=0.16, high=0.24), 1, [-0.7, -0.9, -1.1, -1.24, -1.24], [0, 0, 0, 1, 1]),
    (Clip(), -1, [0.8, 0.9, 1.1, 1.25, 1.4], [1, 0, 0, 0, 0]),
    (Clip(low=0.16), -1, [0.84, 0.9, 1.1, 1.25, 1.4], [1, 0, 0, 0, 0]),
    (Clip(high=0.28), -1, [0.8, 0.9, 1.1, 1.25, 1.4], [1, 0, 0, 0, 0]),
]


def units_of(ratio, advantage, log_prob=None, **columns) -> Units:
    log_ratio = torch.as_tensor(ratio).log().requires_grad_()
    advantage = torch.as_tensor(advantage, dtype=torch.float32).expand_as(log_ratio)
    ones = torch.ones_like(log_ratio)
    return Units(
        log_ratio=log_ratio,
        log_prob=log_ratio if log_prob is None else log_prob,
        advantage=advantage,
        weights=ones / ones.numel(),
        mask=ones.bool(),
        columns={name: torch.as_tensor(value) for name, value in columns.items()},
    )


@pytest.mark.parametrize(("part", "sign", "expected", "stopped"), CLIPS)
def test_clipped_surrogates_and_where_their_gradient_stops(part, sign, expected, stopped):
    units = units_of(RATIOS, float(sign))
    losses = part.losses(units)
    losses.sum().backward()
    assert losses.tolist() == pytest.approx(expected, abs=1e-6)
    assert (units.log_ratio.grad == 0).int().tolist() == stopped


@pytest.mark.parametrize(("dual", "expected"), [(3.0, [2, 3, 3]), (10.0, [2, 3.5, 10])])
def test_dual_clip(dual, expected):
    units = units_of([2.0, 3.5, 12.0], -1.0)
    assert Clip(dual=dual).losses(units).tolist() == pytest.approx(expected)


def test_unclipped_cispo_sapo_and_plain_gradient():
    units = units_of([0.5, 2.0], [1.0, -1.0], log_prob=torch.tensor([-1.0, -2.0]))
    assert Unclipped().losses(units).tolist() == pytest.approx([-0.5, 2.0])
    # CISPO: -clip(.5) * 1 * -1 = .8; -clip(2) * -1 * -2 = -2.56
    assert Cispo().losses(units).tolist() == pytest.approx([0.8, -2.56])
    gate = [4 / (1 + math.exp(0.5)), 4 / 1.05 / (1 + math.exp(-1.05))]
    assert Sapo().losses(units).tolist() == pytest.approx([-gate[0], gate[1]], rel=1e-6)
    assert Gradient().losses(units).tolist() == pytest.approx([1.0, -2.0])


def decisions_of(log_ratio, mask):
    """Two episodes as decisions of their own, old log-probabilities 0."""
    batch = batch_of(mask, np.zeros(np.shape(mask)), [1, 0], [0, 0])
    batch.advantages = torch.tensor([[1.0], [-2.0]])[:, None, None] * batch.token_mask
    return batch, torch.tensor(log_ratio)


def test_trajectory_ratios():
    mask = [[1, 1, 1, 0], [1, 1, 1, 1]]
    batch, log_ratio = decisions_of([[0.1, 0.2, 0.3, 9.0], [-0.2, 0.0, 0.2, 0.4]], mask)
    whole = Ratio(level="trajectory").units(log_ratio[:, None], _decisions(batch))
    assert whole.log_ratio.exp().tolist() == pytest.approx([1.822119, 1.491825], abs=1e-6)
    assert whole.advantage.tolist() == [1.0, -2.0]
    assert whole.weights.tolist() == [0.5, 0.5]
    means = Ratio(level="trajectory_mean").units(log_ratio[:, None], _decisions(batch))
    assert means.log_ratio.exp()[:, 0, 0].tolist() == pytest.approx([1.221403, 1.105171], abs=1e-6)


def _decisions(batch):
    from vlarl.objective import Decisions

    return Decisions.of(batch, Aggregation().weights(batch.token_mask))


def test_action_and_chunk_ratios_count_executed_tokens_only():
    mask = torch.tensor([[True, True], [True, True], [False, False]])[None, None]  # three steps of two tokens
    batch = batch_of(np.ones((1, 6)), np.zeros((1, 6)), [1], [0])
    batch.token_mask, batch.old_log_probs = mask, torch.zeros(1, 1, 3, 2)
    batch.advantages = mask.float() * 3.0
    log_ratio = torch.tensor([[0.1, 0.2], [0.3, 0.4], [9.0, 9.0]])[None]
    for level, expected, weights in (("action", [0.3, 0.7, 0.0], [0.5, 0.5, 0.0]), ("chunk", [1.0], [1.0])):
        part = Ratio(level=level)
        batch_weights = Aggregation().weights(part.unit_mask(mask))
        assert batch_weights.flatten().tolist() == weights
        from vlarl.objective import Decisions

        units = part.units(log_ratio, Decisions.of(batch, batch_weights))
        assert units.log_ratio.flatten().tolist() == pytest.approx(expected, abs=1e-6)
        assert units.advantage.flatten().tolist() == pytest.approx([3.0 if w else 0.0 for w in weights])


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Aggregation(mode="token_mean"), 3.142857),
        (Aggregation(mode="sequence_sum"), 11),
        (Aggregation(mode="sequence_mean"), 3),
        (Aggregation(mode="token_sum"), 22),
    ],
)
def test_aggregations(part, expected):
    losses = torch.tensor([[1.0, 2, 3, 99], [4, 4, 4, 4]])[:, None, None]
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])[:, None, None].bool()
    assert float((losses * part.weights(mask)).sum()) == pytest.approx(expected, abs=1e-6)


def test_dr_grpo_divides_sums_by_a_constant_length():
    losses = torch.tensor([[1.0, 2, 3, 99], [4, 4, 4, 4]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    # the oracle's 5.5 is sum / length; per episode it is half of that
    weights = Aggregation(mode="token_sum", length=4.0).weights(mask)
    assert float((losses * weights).sum()) == pytest.approx(5.5)
    weights = Aggregation(mode="sequence_sum", length=4.0).weights(mask)
    assert float((losses * weights).sum()) == pytest.approx(2.75)


@pytest.mark.parametrize(("kind", "expected"), [("k1", 0.3), ("k2", 0.045), ("k3", 0.040818)])
def test_kl_estimates(kind, expected):
    assert float(kl_estimate(kind, torch.tensor(-1.0), torch.tensor(-1.3))) == pytest.approx(expected, abs=1e-6)


COV_ADVANTAGES, COV_LOG_PROBS = [1.0, 1.0, -1.0, -1.0], [-0.1, -2.0, -0.1, -3.0]


def test_covariance_clip_takes_out_its_candidates():
    log_ratio = torch.tensor([0.05, -0.1, 0.02, 0.3])
    units = units_of(log_ratio.exp(), COV_ADVANTAGES, log_prob=torch.tensor(COV_LOG_PROBS))
    assert covariance(units).tolist() == pytest.approx([1.2, -0.7, -1.2, 1.7], abs=1e-6)
    factors = CovarianceClip(share=0.5).factors(units, torch.zeros(4, dtype=torch.bool))
    assert factors.tolist() == [0, 1, 1, 0]
    assert float((Clip().losses(units) * factors).mean().detach()) == pytest.approx(0.028841, abs=1e-6)
    assert CovarianceClip(share=1e-9).factors(units, torch.zeros(4, dtype=torch.bool)).tolist() == [0, 1, 1, 1]
    assert CovarianceClip(low=2).factors(units, torch.zeros(4, dtype=torch.bool)).tolist() == [1, 1, 1, 1]


def test_covariance_kl_penalises_the_largest():
    log_ratio = torch.tensor([0.05, -0.1, 0.02, 0.3])
    units = units_of(log_ratio.exp(), COV_ADVANTAGES, log_prob=torch.tensor(COV_LOG_PROBS))
    penalty = CovarianceKl().penalty(units.log_prob, units.log_prob, None, units)
    assert float(penalty.detach()) == pytest.approx(0.3 / 4, abs=1e-6)  # index 3 alone
    assert float((Unclipped().losses(units).mean() + penalty).detach()) == pytest.approx(0.178488, abs=1e-6)


def test_rl_plus_on_a_sample_of_an_unknown_policy():
    p, old = torch.tensor(0.4), torch.tensor(0.5)
    assert float(external_losses(p.log(), old.log(), torch.tensor(1.0), 0.5)) == pytest.approx(-0.495742, abs=1e-6)


def test_pacs():
    distance, success = torch.tensor([0.2, -0.1, 0.0, 0.3]), torch.tensor([1.0, 0, 0, 1])
    units = units_of(distance.exp(), 0.0, groups=[0.0] * 4, succeeded=success)
    psi = leave_one_out(units.log_ratio, units.columns["groups"])
    assert psi.tolist() == pytest.approx([0.133333, -0.266667, -0.133333, 0.266667], abs=1e-6)
    loss = ImplicitClassifier().losses(units).mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.598689, abs=1e-6)
    assert units.log_ratio.grad.tolist() == pytest.approx([-0.155572, 0.144575, 0.155572, -0.144575], abs=1e-6)
    assert balance(torch.tensor([1.0, 0, 0, 0])).tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert balance(torch.zeros(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize(("beta", "delta", "loss"), [(15.0, -12.29036, 166.158), (1.0, -0.166024, 1.1 * 0.166024**2)])
def test_flowrl(beta, delta, loss):
    units = units_of(
        [1.1],
        0.866024,
        log_prob=torch.tensor([-1.0]),
        log_partition=[0.5],
        reference_log_probs=[-1.2],
        tokens=[1.0],
    )
    found = float(TrajectoryBalance(beta=beta, weight_limit=math.inf).losses(units).detach())
    assert found == pytest.approx(loss, rel=1e-5) and found == pytest.approx(1.1 * delta**2, rel=1e-4)
    clipped = float(TrajectoryBalance(beta=beta, weight_limit=1.05).losses(units).detach())
    assert clipped == pytest.approx(found * 1.05 / 1.1, rel=1e-5)


@pytest.mark.parametrize(
    ("limit", "beyond", "expected"), [(0.0, "mask", -3.297442), (1.2, "clamp", -2.652410), (1.2, "mask", 0.0)]
)
def test_areal_decouples_staleness_from_the_clip(limit, beyond, expected):
    objective = PolicyGradientConfig(masks=(StaleWeight(limit=limit, beyond=beyond),)).build()
    batch = batch_of([[1]], [[-1.5]], [1], [0])
    batch.advantages = torch.full((1, 1, 1, 1), 2.0)
    batch.columns["proximal_log_probs"] = torch.full((1, 1, 1, 1), -1.1)
    assert float(loss_of(objective, torch.tensor([-1.0]), batch).loss) == pytest.approx(expected, abs=1e-5)
    naive = PolicyGradientConfig().build()
    assert float(loss_of(naive, torch.tensor([-1.0]), batch).loss) == pytest.approx(-2.4, abs=1e-6)


def test_areal_interpolates_the_proximal_policy_by_version():
    new, behaviour = torch.tensor(-1.0), torch.tensor(-1.5)
    found = log_linear_proximal(new, behaviour, torch.tensor(5.0), torch.tensor(2.0))
    assert float(found) == pytest.approx(-1.166667, abs=1e-6)
    assert float(log_linear_proximal(new, behaviour, torch.tensor(5.0), torch.tensor(5.0))) == -1.5


def test_spear_reestimates_and_ramps():
    assert median_advantage(torch.tensor([1.0]), [0.2, 0.5, 0.6]).tolist() == pytest.approx([0.5])
    ramp = [Replay(ramp=300).weight(step) for step in (0, 75, 150, 300, 900)]
    assert ramp == pytest.approx([0, 0.146447, 0.5, 1, 1], abs=1e-6)


def test_ead_temperature_falls_along_the_episode():
    schedule = Annealing(pace=500.0, growth=0.0)
    found = [schedule.temperature(step, 0) for step in (0, 20, 100, 1000)]
    assert found == pytest.approx([1.2, 1.159189, 0.978597, 0.1], abs=1e-6)
    assert Annealing(pace=100.0, growth=5.0).temperature(200, 20) == pytest.approx(
        Annealing(pace=200.0, growth=0.0).temperature(200, 0)
    )
    assert schedule.temperature(10**6, 0) == 0.1


def test_dapo_punishes_long_episodes_softly():
    part = LengthPenalty(longest=20480, margin=4096)
    found = part.of_lengths(torch.tensor([100, 16384, 18432, 20480, 20481]))
    assert found.tolist() == [0, 0, -0.5, -1, -1]
    batch = batch_of([[1, 1, 0], [1, 1, 1]], np.zeros((2, 3)), [1, 0], [0, 0], rewards=np.zeros((2, 3)), steps=True)
    changed = LengthPenalty(longest=3, margin=2).apply(batch)
    assert changed.returns.tolist() == [0.5, -1.0]
    assert changed.rewards.tolist() == [[0, -0.5, 0], [0, 0, -1]]
    assert batch.returns.tolist() == [1, 0]  # the original is untouched


def test_ttrl_takes_the_majority_for_right():
    assert agreement(["a", "a", "b", "c"]) == [1, 1, 0, 0]


@pytest.mark.parametrize(("returns", "kept"), [(NEVER, 0), (ALWAYS, 0), (SOLVED_ONCE, 1), (SOLVED_TWICE, 1)])
def test_dynamic_filter_keeps_groups_with_signal(returns, kept):
    part = GroupFilter(low=1e-6, high=1 - 1e-6)
    batch, active, metrics = part.apply(group_of(returns))
    assert metrics["groups_kept"] == kept and len(batch) == 4 * kept and bool(active.all())
    muted, active, _ = GroupFilter(low=1e-6, high=1 - 1e-6, mode="mute").apply(group_of(returns))
    assert len(muted) == 4 and bool(active.all()) is bool(kept)


def test_value_loss():
    values, old, returns = torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.9]), torch.tensor([0.0, 3.0])
    assert Critic().loss(values, old, returns).tolist() == pytest.approx([0.5, 0.5])
    # clipped values .7 and 2.0: the larger error counts
    assert Critic(clip=0.2).loss(values, old, returns).tolist() == pytest.approx([0.5, 0.5])
    assert Critic(clip=0.2).loss(
        torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([0.0])
    ).tolist() == pytest.approx([0.32])
    assert Critic(huber=0.5).loss(values, old, returns).tolist() == pytest.approx([0.375, 0.375])
