"""Intervals against published and hand-computed values, success@k against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vlarl.statistics import (
    bootstrap,
    difference,
    mean_success_at_k,
    poisson_interval,
    running_mean,
    success_at_k,
    success_rate,
    wilson_interval,
)


def wilson_by_hand(successes, episodes, z):
    """Wilson 1927 as printed in textbooks."""
    rate = successes / episodes
    centre = (rate + z * z / (2 * episodes)) / (1 + z * z / episodes)
    half = z / (1 + z * z / episodes) * math.sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes**2))
    return centre - half, centre + half


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_the_textbook_formula(counts):
    successes, episodes = counts
    expected = wilson_by_hand(successes, episodes, stats.norm.ppf(0.975))
    assert wilson_interval(successes, episodes) == pytest.approx(expected, abs=1e-12)


def test_wilson_published_value():
    """Newcombe 1998 (two-sided intervals for the single proportion), table I, method 3: 81 of 263 and 0 of 20."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_episodes_say_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert math.isnan(success_rate(0, 0).value)


@pytest.mark.parametrize("counts", [(-1, 5), (6, 5), (1, 0)])
def test_impossible_counts(counts):
    with pytest.raises(ValueError, match="expected 0 <= successes <= episodes"):
        wilson_interval(*counts)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_difference_published_values(counts, low, high):
    """Newcombe 1998 (interval estimation for the difference), table II, method 10."""
    found = difference(*counts)
    assert found.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert found.ci == pytest.approx([low, high], abs=5e-5)
    assert found.excludes_zero == (low > 0)


def test_difference_is_antisymmetric():
    forward, backward = difference(30, 40, 10, 50), difference(10, 50, 30, 40)
    assert forward.ci == pytest.approx([-backward.high, -backward.low])


def test_difference_needs_both_sides():
    with pytest.raises(ValueError, match="episodes on both sides; got 4 and 0"):
        difference(2, 4, 0, 0)


@pytest.mark.parametrize("episodes", [1, 4, 7])
def test_success_at_k_is_the_share_of_subsets_with_a_success(episodes):
    for successes, k in itertools.product(range(episodes + 1), range(1, episodes + 1)):
        outcomes = [True] * successes + [False] * (episodes - successes)
        subsets = list(itertools.combinations(outcomes, k))
        assert success_at_k(successes, episodes, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_success_at_k_refuses_too_large_k():
    with pytest.raises(ValueError, match="success@5 needs at least 5 episodes"):
        success_at_k(1, 4, 5)
    assert mean_success_at_k([(1, 2), (2, 2)], 1) == pytest.approx(0.75)
    with pytest.raises(ValueError, match="at least one task"):
        mean_success_at_k([], 1)


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample():
    values = np.random.default_rng(1).normal(5, 2, 400)
    found = bootstrap(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.ci == pytest.approx([values.mean() - half, values.mean() + half], abs=0.03)
    assert bootstrap(values) == found
    assert bootstrap(values, np.median).value == pytest.approx(np.median(values))


def test_bootstrap_edges():
    assert bootstrap([3.0]).ci == [3.0, 3.0]
    assert bootstrap([2, 2, 2]).ci == [2.0, 2.0]
    with pytest.raises(ValueError, match="finite numbers"):
        bootstrap([1.0, math.nan])
    with pytest.raises(ValueError, match="finite numbers"):
        bootstrap([])


@given(st.integers(0, 300), st.floats(0.01, 1e4))
def test_poisson_interval_is_where_the_tails_are_a_fortieth(count, exposure):
    """At its ends, what was counted, or something further out, has a chance of 2.5 %."""
    low, high = poisson_interval(count, exposure)
    assert stats.poisson.cdf(count, high * exposure) == pytest.approx(0.025)
    if count:
        assert stats.poisson.sf(count - 1, low * exposure) == pytest.approx(0.025)
    else:
        assert low == 0.0
    assert low <= count / exposure < high


@pytest.mark.parametrize(("count", "exposure"), [(-1, 1.0), (0, 0.0), (3, math.inf), (3, math.nan)])
def test_poisson_interval_needs_something_watched(count, exposure):
    with pytest.raises(ValueError, match="in a positive exposure"):
        poisson_interval(count, exposure)


def test_running_mean():
    assert running_mean([1, 2, 3, 4], 2) == [1, 1.5, 2.5, 3.5]
    assert running_mean([1.0, math.nan, 3.0], 2) == [1, 1, 3]
    assert math.isnan(running_mean([math.nan], 3)[0])
    with pytest.raises(ValueError, match="at least 1"):
        running_mean([1.0], 0)
