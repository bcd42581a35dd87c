"""Rank rules against hand-computed values, balanced truncation, and the controller's cut and revert."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlarl.errors import ConfigError
from vlarl.nn.low_rank import FactoredLinear, RankController, RankRule, singular_values, truncate, warmup_cosine

SIGMA = torch.tensor([4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("name", "beta", "expected"),
    [
        *[("eq14", b, r) for b, r in ((0.3, 1), (0.4, 1), (0.7, 2), (0.9, 3), (0.98, 3), (1.0, 4))],
        *[("min_energy", b, r) for b, r in ((0.3, 1), (0.4, 1), (0.7, 2), (0.9, 3), (0.98, 4), (1.0, 4))],
        *[("eq16", b, r) for b, r in ((0.5, 3), (0.25, 4), (0.1, 4))],
    ],
)
def test_rank_rules(name, beta, expected):
    assert RankRule(name=name, beta=beta).rank(SIGMA) == expected


@pytest.mark.parametrize(("penalty", "expected"), [(0.5, 4), (1.3, 2)])
def test_error_plus_price(penalty, expected):
    # Frobenius errors of rank 1..4: sqrt(14), sqrt(5), 1, 0
    assert RankRule(name="objective", penalty=penalty).rank(SIGMA) == expected


def test_eq14_has_no_fixed_point_and_min_energy_against_the_start_has():
    for count, expected in ((64, 62), (62, 60), (60, 58), (50, 49), (10, 9)):
        assert RankRule(name="eq14").rank(torch.ones(count)) == expected
    assert RankRule(name="eq14").rank(torch.tensor([100.0, 1.0, 0.5])) == 1
    sigma, total = torch.rand(64, generator=torch.Generator().manual_seed(0)).sort(descending=True)[0], None
    total = float(sigma.sum())
    first = RankRule(beta=0.9).rank(sigma, total)
    assert first < 64 and RankRule(beta=0.9).rank(sigma[:first], total) == first
    again = RankRule(name="eq14", beta=0.9).rank(sigma[:first])
    assert again < first


def test_truncation_by_hand():
    a = torch.tensor([[2.0, 2.0], [-1.0, 1.0]])
    eye = torch.eye(2)
    assert singular_values(a, eye).tolist() == pytest.approx([2.828427, 1.414214], abs=1e-6)
    first, second = truncate(a, eye, 1)
    torch.testing.assert_close(first @ second, torch.tensor([[2.0, 2.0], [0.0, 0.0]]), atol=1e-6, rtol=0)
    assert float(first.square().sum()) == pytest.approx(2.828427, abs=1e-6)
    assert float(second.square().sum()) == pytest.approx(2.828427, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 6))
def test_truncation_is_the_best_approximation_and_idempotent(seed, inner, rank):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(7, inner, generator=generator, dtype=torch.float64)
    second = torch.randn(inner, 9, generator=generator, dtype=torch.float64)
    rank = min(rank, inner)
    low, high = truncate(first, second, rank)
    u, s, vh = torch.linalg.svd(first @ second, full_matrices=False)
    torch.testing.assert_close(low @ high, u[:, :rank] * s[:rank] @ vh[:rank], atol=1e-8, rtol=0)
    torch.testing.assert_close(low.norm(), high.norm())
    again = truncate(low, high, rank)
    torch.testing.assert_close(again[0] @ again[1], low @ high, atol=1e-8, rtol=0)


def test_a_factored_layer_equals_its_layer_and_changes_rank():
    torch.manual_seed(0)
    plain = torch.nn.Linear(6, 5)
    layer = FactoredLinear(plain.weight, plain.bias)
    x = torch.randn(3, 6)
    torch.testing.assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-5)
    layer.set_rank(2)
    assert layer.rank == 2
    before = layer(x)
    layer.set_rank(4)
    torch.testing.assert_close(layer(x), before, atol=1e-5, rtol=1e-5)
    columns = torch.nn.functional.normalize(layer.first.detach(), dim=0)
    assert (columns[:, :2].mT @ columns[:, 2:]).abs().max() < 1e-5 and layer.rank == 4


def test_the_controller_cuts_and_takes_back():
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(4, 4))[0] * SIGMA  # singular values 4, 3, 2, 1
    layer = FactoredLinear(weight, torch.zeros(4))
    controller = RankController([layer], RankRule(beta=0.7), tolerance=0.1)
    kept = (layer.first @ layer.second).detach().clone()
    assert controller.cut() and layer.rank == 2
    assert not controller.cut() and layer.rank == 2  # a fixed point
    assert not controller.revert_if_worse(before=100.0, after=91.0)
    layer = FactoredLinear(weight, torch.zeros(4))
    controller = RankController([layer], RankRule(beta=0.7), tolerance=0.1)
    controller.cut()
    assert controller.revert_if_worse(before=100.0, after=89.0) and layer.rank == 4
    torch.testing.assert_close((layer.first @ layer.second).detach(), kept, atol=1e-5, rtol=1e-5)
    assert controller.history == [{"before": [4], "after": [2], "reverted": True}]


def test_learning_rate_after_a_cut():
    assert [warmup_cosine(step, 2000, 10_000) for step in (0, 1000, 2000, 6000, 10_000)] == pytest.approx(
        [0, 0.5, 1, 0.5, 0]
    )


def test_bad_rules_are_refused():
    with pytest.raises(ConfigError, match="more than 0 and at most 1"):
        RankRule(beta=1.5)
