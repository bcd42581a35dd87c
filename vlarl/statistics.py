"""Intervals for success rates and means: every number that vlarl prints carries one.

Needs numpy and scipy, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def ci(self) -> list[float]:
        """``[low, high]``, as result files hold it."""
        return [self.low, self.high]

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval: for a difference, whether it is more than noise."""
        return self.low > 0 or self.high < 0


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a success rate (Wilson 1927); unlike the textbook interval it is honest near 0 and 1.

    Args:
        successes: number of successful episodes.
        episodes: number of episodes that ended without an error; with 0 the interval is (0, 1).
        confidence: probability that intervals made this way hold the true rate.

    Raises:
        ValueError: ``successes`` is not between 0 and ``episodes``.
    """
    _check_counts(successes, episodes)
    if episodes == 0:
        return 0.0, 1.0
    interval = stats.binomtest(successes, episodes).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def success_rate(successes: int, episodes: int, confidence: float = 0.95) -> Estimate:
    """The success rate with its Wilson interval; the value is NaN where there are no episodes."""
    low, high = wilson_interval(successes, episodes, confidence)
    return Estimate(successes / episodes if episodes else math.nan, low, high)


def difference(
    successes: int, episodes: int, successes_before: int, episodes_before: int, confidence: float = 0.95
) -> Estimate:
    """Rate minus earlier rate with Newcombe's hybrid score interval (Newcombe 1998, Statistics in Medicine, method 10).

    The two sets of episodes are taken as independent. Where they start from the same initial states the true
    interval tends to be narrower, so this one errs on the safe side.

    Raises:
        ValueError: counts that are impossible, or no episodes on one side.
    """
    if episodes == 0 or episodes_before == 0:
        raise ValueError(f"a difference needs episodes on both sides; got {episodes} and {episodes_before}")
    after, before = (
        success_rate(successes, episodes, confidence),
        success_rate(successes_before, episodes_before, confidence),
    )
    value = after.value - before.value
    below = math.hypot(after.value - after.low, before.high - before.value)
    above = math.hypot(after.high - after.value, before.value - before.low)
    return Estimate(value, value - below, value + above)


def student_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean of a few runs, Student's 95 % interval (None for a single value) and their number."""
    mean, interval = float(np.mean(values)), None
    if len(values) > 1:
        half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
        interval = [mean - half, mean + half]
    return {"mean": mean, "ci95": interval, "seeds": len(values)}


def success_at_k(successes: int, episodes: int, k: int) -> float:
    """Probability that at least one of ``k`` episodes of a task succeeds, estimated without bias from n >= k episodes.

    ``1 - C(n - c, k) / C(n, k)`` (Chen et al. 2021, arXiv 2107.03374, equation 1).

    Raises:
        ValueError: ``k`` is not between 1 and ``episodes``.
    """
    _check_counts(successes, episodes)
    if not 1 <= k <= episodes:
        raise ValueError(f"success@{k} needs at least {k} episodes and k >= 1; there are {episodes}")
    return 1.0 - math.comb(episodes - successes, k) / math.comb(episodes, k)


def mean_success_at_k(tasks: Iterable[tuple[int, int]], k: int) -> float:
    """``success_at_k`` averaged over tasks, each (successes, episodes).

    Raises:
        ValueError: no task, or one with fewer than ``k`` episodes.
    """
    values = [success_at_k(successes, episodes, k) for successes, episodes in tasks]
    if not values:
        raise ValueError("success@k needs at least one task")
    return math.fsum(values) / len(values)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """A statistic of a sample with its bias-corrected and accelerated bootstrap interval (Efron 1987).

    Args:
        values: the sample, one-dimensional.
        statistic: takes an array and ``axis``; ``np.mean`` by default.
        confidence: of the interval.
        resamples: how many samples are drawn from the sample.
        seed: of the drawing; equal seeds give equal intervals.

    A sample of one value, or of equal values, says nothing of its spread: low and high are then the value itself.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError(f"bootstrap needs finite numbers in one dimension; got shape {sample.shape}")
    value = float(statistic(sample, axis=0))
    if np.ptp(sample) == 0:
        return Estimate(value, value, value)
    found = stats.bootstrap(
        (sample,),
        statistic,
        confidence_level=confidence,
        n_resamples=resamples,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return Estimate(value, float(found.confidence_interval.low), float(found.confidence_interval.high))


def poisson_interval(count: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of the rate of events per unit of exposure (Garwood 1936, Biometrika 28).

    Args:
        count: events, taken as a Poisson process.
        exposure: how much was watched (kilometres, say), positive.
        confidence: the interval holds the true rate with at least this probability.

    Raises:
        ValueError: a negative count, or an exposure that is not positive.
    """
    if count < 0 or not 0.0 < exposure < math.inf:
        raise ValueError(f"{count} events in {exposure}: expected at least 0 events in a positive exposure")
    tail = 0.5 * (1.0 - confidence)
    low = float(stats.chi2.ppf(tail, 2 * count)) / 2.0 if count else 0.0
    return low / exposure, float(stats.chi2.isf(tail, 2 * count + 2)) / 2.0 / exposure


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of each value and up to ``width - 1`` before it; NaN entries are left out of the means."""
    if width < 1:
        raise ValueError(f"width is {width}; expected at least 1")
    means = []
    for end in range(1, len(values) + 1):
        window = [value for value in values[max(0, end - width) : end] if not math.isnan(value)]
        means.append(math.fsum(window) / len(window) if window else math.nan)
    return means


def _check_counts(successes: int, episodes: int) -> None:
    if not 0 <= successes <= episodes:
        raise ValueError(f"{successes} successes of {episodes} episodes: expected 0 <= successes <= episodes")
