"""How comfortably the egos drive: nuPlan's six bounds of acceleration, jerk and turning.

The bounds and the smoothing are those of nuPlan's metric ``ego_is_comfortable`` (nuplan-devkit; arXiv 2403.04133), as
CaRL's reward takes them over. nuPlan calls a whole scenario comfortable or not; here the share of time is kept too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from envs.driving.world.records import Status

if TYPE_CHECKING:
    from envs.driving.world.world import DrivingWorlds

BOUNDS = (
    "longitudinal_acceleration",
    "lateral_acceleration",
    "jerk",
    "longitudinal_jerk",
    "yaw_rate",
    "yaw_acceleration",
)
HISTORY = 15
"""Steps over which comfort is judged."""
LEAST_HISTORY = 8
SMOOTHING = {"window_length": 8, "polyorder": 2}
LONGITUDINAL, MAGNITUDE, LATERAL, HEADING = range(4)


@dataclass(frozen=True, kw_only=True)
class ComfortBounds:
    """nuPlan's, in m/s^2, m/s^3, rad/s and rad/s^2."""

    lowest_acceleration: float = -4.05
    highest_acceleration: float = 2.40
    lateral_acceleration: float = 4.89
    jerk: float = 8.37
    longitudinal_jerk: float = 4.13
    yaw_rate: float = 0.95
    yaw_acceleration: float = 1.93


def last_value_weights(count: int, seconds: float) -> NDArray[np.float64]:
    """Weights ``[4, HISTORY]`` that give, from a history of ``count`` samples, its newest filtered values.

    Rows: smoothed value, derivative of the smoothed series, first and second derivative of the series (the last two
    over five samples). Savitzky-Golay filters are linear: their weights are what they make of unit impulses.
    """
    unit = np.eye(count)
    smooth = savgol_filter(unit, axis=0, **SMOOTHING)
    slope = savgol_filter(smooth, window_length=count, polyorder=2, deriv=1, delta=seconds, axis=0)
    rate = savgol_filter(unit, window_length=5, polyorder=2, deriv=1, delta=seconds, axis=0)
    bend = savgol_filter(unit, window_length=5, polyorder=3, deriv=2, delta=seconds, axis=0)
    weights = np.zeros((4, HISTORY))
    weights[:, HISTORY - count :] = [series[-1] for series in (smooth, slope, rate, bend)]
    return weights


class Comfort:
    """Judges all worlds of a batch, step by step."""

    def __init__(self, worlds: DrivingWorlds, bounds: ComfortBounds | None = None) -> None:
        self.worlds = worlds
        self.bounds = bounds or ComfortBounds()
        count, seconds = len(worlds.worlds), worlds.settings.control_seconds
        weights = [last_value_weights(samples, seconds) for samples in range(LEAST_HISTORY, HISTORY + 1)]
        self.weights = np.concatenate([np.zeros((LEAST_HISTORY, 4, HISTORY)), weights])
        """``[samples, 4, HISTORY]``; with too few samples comfort is not judged."""
        self.history = np.zeros((count, 4, HISTORY))
        self.samples = np.zeros(count, np.int64)
        self.judged = np.zeros(count, np.int64)
        """Steps since the reset at which comfort was judged."""
        self.kept = np.zeros((count, len(BOUNDS) + 1), np.int64)
        """Of these, steps within each bound, and last within all of them."""

    def reset(self, which: Sequence[int]) -> None:
        """Forget the past of worlds that were reset."""
        which = list(which)
        self.history[which], self.samples[which], self.judged[which], self.kept[which] = 0.0, 0, 0, 0

    def broken(self) -> NDArray[np.bool_]:
        """Which of ``BOUNDS`` each world breaks now, ``[N, 6]``.

        To be called once after every step. Nothing is changed about worlds that do not run.
        """
        running = self.worlds.worlds["status"] == Status.RUNNING
        history, samples = self.history, self.samples
        broken = self._look()
        self.history = np.where(running[:, None, None], self.history, history)
        self.samples = np.where(running, self.samples, samples)
        judged = running & (self.samples >= LEAST_HISTORY)
        self.judged += judged
        kept = np.column_stack([~broken, ~broken.any(axis=1)])
        self.kept += kept & judged[:, None]
        return broken

    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Share of time ``[N]`` within each bound, and within ``all``, since the reset; 1 where nothing was judged."""
        shares = np.where(self.judged[:, None] > 0, self.kept / np.maximum(self.judged, 1)[:, None], 1.0)
        return dict(zip((*BOUNDS, "all"), shares.T, strict=True))

    def _look(self) -> NDArray[np.bool_]:
        ego, bounds = self.worlds.actors[:, 0], self.bounds
        along, across = ego["acceleration"], ego["lateral_acceleration"]
        turned = ego["heading"] - self.history[:, HEADING, -1]
        heading = self.history[:, HEADING, -1] + np.arctan2(np.sin(turned), np.cos(turned))
        self.history = np.roll(self.history, -1, axis=2)
        self.history[:, :, -1] = np.column_stack([along, np.hypot(along, across), across, heading])
        self.samples = np.minimum(self.samples + 1, HISTORY)
        value, slope, rate, bend = self.weights[self.samples].transpose(1, 0, 2)

        def newest(weights: NDArray[np.float64], series: int) -> NDArray[np.float64]:
            return (weights * self.history[:, series]).sum(axis=1)

        along = newest(value, LONGITUDINAL)
        return np.column_stack(
            [
                (along > bounds.highest_acceleration) | (along < bounds.lowest_acceleration),
                np.abs(newest(value, LATERAL)) > bounds.lateral_acceleration,
                np.abs(newest(slope, MAGNITUDE)) > bounds.jerk,
                np.abs(newest(slope, LONGITUDINAL)) > bounds.longitudinal_jerk,
                np.abs(newest(rate, HEADING)) > bounds.yaw_rate,
                np.abs(newest(bend, HEADING)) > bounds.yaw_acceleration,
            ]
        )
