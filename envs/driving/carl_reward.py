"""CaRL's simple reward: percent of the route covered, multiplied by soft penalties, less a hint at some ends.

``r = (RC_t - RC_{t-1}) * p_outside * p_speed * p_ttc * p_comfort * p_lane - T`` with route completion RC in percent
(arXiv 2504.17838; values of the paper's training run as its release codes them).

Example::

    reward = CarlReward(worlds)
    worlds.step(actions)
    values, terminated, truncated = reward.score()      # float64 [N], bool [N], bool [N]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from envs.driving.records import EVENTS, Status
from envs.driving.world import DrivingWorlds

HISTORY = 15
"""Steps over which comfort is judged."""
LEAST_HISTORY = 8
SMOOTHING = {"window_length": 8, "polyorder": 2}
LONGITUDINAL, MAGNITUDE, LATERAL, HEADING = range(4)
FACTORS = ("progress", "forecast", "speed", "comfort", "hint")
"""Percent of the route covered in the step, three of the factors that it is multiplied with, and what is taken off."""
BOUNDS = 6
"""Comfort bounds: acceleration along and across, jerk, jerk along, yaw rate, yaw acceleration."""


@dataclass(frozen=True, kw_only=True)
class CarlRewardSettings:
    """Constants of the reward; comfort bounds are nuPlan's."""

    overspeed: float = 2.23
    """m/s above the limit at which the speed factor is 0."""
    forecast_factor: float = 0.5
    """While a collision is imminent, and for ``penalty_steps`` after."""
    comfort_factor: float = 0.5
    """What is lost with all six comfort bounds broken."""
    penalty_steps: int = 500
    """Control steps for which a broken bound is remembered."""
    lane_threshold: float = 0.0
    """Metres off the lane's centre that cost nothing."""
    lane_softener: float = 1.0
    """What is lost at the lane's edge."""
    lowest_acceleration: float = -4.05
    highest_acceleration: float = 2.40
    lateral_acceleration: float = 4.89
    jerk: float = 8.37
    longitudinal_jerk: float = 4.13
    yaw_rate: float = 0.95
    yaw_acceleration: float = 1.93
    timeout: float = 1200.0
    """Seconds after which the episode ends."""
    hint: float = 1.0
    """Taken off at a collision and at a red light."""


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


class CarlReward:
    """The reward of all worlds of a batch, step by step; remembers what lasts."""

    def __init__(self, worlds: DrivingWorlds, settings: CarlRewardSettings | None = None) -> None:
        self.worlds = worlds
        self.settings = settings or CarlRewardSettings()
        count = len(worlds.worlds)
        seconds = worlds.settings.control_seconds
        weights = [last_value_weights(samples, seconds) for samples in range(LEAST_HISTORY, HISTORY + 1)]
        self.weights = np.concatenate([np.zeros((LEAST_HISTORY, 4, HISTORY)), weights])
        """``[samples, 4, HISTORY]``; with too few samples comfort is not judged."""
        self.history = np.zeros((count, 4, HISTORY))
        self.samples = np.zeros(count, np.int64)
        self.left = np.zeros((count, BOUNDS + 1), np.int64)
        """Steps for which each comfort bound, and last the forecast, still costs."""
        self.completion = np.zeros(count)
        self.factors = np.zeros((count, len(FACTORS)))
        """``[N, len(FACTORS)]`` what the last reward was made of: see ``FACTORS``."""
        self.reset(range(count))

    def reset(self, which: Sequence[int]) -> None:
        """Forget the past of worlds that were reset."""
        which = list(which)
        self.history[which], self.samples[which], self.left[which] = 0.0, 0, 0
        self.completion[which] = self._completion()[which]

    def score(self) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Reward, whether the episode has terminated, and whether it is truncated because the route is done.

        To be called once after every step. Worlds that do not run get 0, and nothing about them is changed.
        """
        worlds, settings = self.worlds.worlds, self.settings
        running = worlds["status"] == Status.RUNNING
        before = (self.history, self.samples, self.left)
        completion = self._completion()
        progress, self.completion = completion - self.completion, completion
        speed = self._speed_factor()
        factor = np.where(worlds["outside_lanes"] != 0, 0.0, speed * self._lane_factor())
        comfort, forecast = self._lasting_factors()
        factor *= comfort * forecast
        for name, old in zip(("history", "samples", "left"), before, strict=True):
            new = getattr(self, name)
            setattr(self, name, np.where(running.reshape(-1, *[1] * (new.ndim - 1)), new, old))
        events = {name: (worlds["events"] >> bit & 1).astype(bool) for bit, name in enumerate(EVENTS)}
        hit = events["collision_vehicle"] | events["collision_pedestrian"] | events["collision_static"]
        hinted = hit | events["red_light"]
        terminated = hinted | events["stop_sign"] | events["blocked"] | events["route_deviation"] | events["off_road"]
        terminated |= worlds["time"] > settings.timeout
        hint = settings.hint * hinted
        self.factors = np.column_stack([progress, forecast, speed, comfort, hint])
        reward = progress * factor - hint
        return np.where(running, reward, 0.0), terminated & running, events["route_completed"] & ~terminated & running

    def _completion(self) -> NDArray[np.float64]:
        worlds = self.worlds.worlds
        arrived = worlds["counts"][:, EVENTS.index("route_completed")] > 0
        return np.where(arrived, 100.0, 100.0 * worlds["route_arc"] / np.maximum(worlds["route_length"], 1e-9))

    def _speed_factor(self) -> NDArray[np.float64]:
        worlds = self.worlds.worlds
        excess = np.maximum(self.worlds.actors["speed"][:, 0] - worlds["speed_limit"], 0.0)
        return np.maximum(1.0 - excess / self.settings.overspeed, 0.0)

    def _lane_factor(self) -> NDArray[np.float64]:
        """1 at the lane's centre, falling to its edge; 1 in junctions and where there is no lane."""
        worlds, threshold = self.worlds.worlds, self.settings.lane_threshold
        counts = (worlds["lane"] >= 0) & (self.worlds.map.lanes["junction"][worlds["lane"]] < 0)
        room = np.maximum(worlds["lane_half_width"] - threshold, 1e-6)
        share = np.clip((np.abs(self.worlds.actors["offset"][:, 0]) - threshold) / room, 0.0, 1.0)
        return np.where(counts, 1.0 - self.settings.lane_softener * share, 1.0)

    def _lasting_factors(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Comfort and forecast: each remembered for ``penalty_steps``."""
        settings = self.settings
        broken = np.column_stack([self._broken_bounds(), self.worlds.worlds["imminent_collision"] != 0])
        self.left = np.where(broken, settings.penalty_steps, np.maximum(self.left - 1, 0))
        comfort = 1.0 - settings.comfort_factor * (self.left[:, :BOUNDS] > 0).sum(axis=1) / BOUNDS
        return comfort, np.where(self.left[:, BOUNDS] > 0, settings.forecast_factor, 1.0)

    def _broken_bounds(self) -> NDArray[np.bool_]:
        ego, settings = self.worlds.actors[:, 0], self.settings
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
                (along > settings.highest_acceleration) | (along < settings.lowest_acceleration),
                np.abs(newest(value, LATERAL)) > settings.lateral_acceleration,
                np.abs(newest(slope, MAGNITUDE)) > settings.jerk,
                np.abs(newest(slope, LONGITUDINAL)) > settings.longitudinal_jerk,
                np.abs(newest(rate, HEADING)) > settings.yaw_rate,
                np.abs(newest(bend, HEADING)) > settings.yaw_acceleration,
            ]
        )
