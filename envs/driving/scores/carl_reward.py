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
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from envs.driving.scores.comfort import BOUNDS, Comfort, ComfortBounds
from envs.driving.world.records import EVENTS, Status
from envs.driving.world.world import DrivingWorlds

FACTORS = ("progress", "forecast", "speed", "comfort", "hint")
"""Percent of the route covered in the step, three of the factors that it is multiplied with, and what is taken off."""


@dataclass(frozen=True, kw_only=True)
class CarlRewardSettings:
    """Constants of the reward."""

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
    bounds: ComfortBounds = field(default_factory=ComfortBounds)
    timeout: float = 1200.0
    """Seconds after which the episode ends."""
    hint: float = 1.0
    """Taken off at a collision and at a red light."""


class CarlReward:
    """The reward of all worlds of a batch, step by step; remembers what lasts."""

    def __init__(self, worlds: DrivingWorlds, settings: CarlRewardSettings | None = None) -> None:
        self.worlds = worlds
        self.settings = settings or CarlRewardSettings()
        self.comfort = Comfort(worlds, self.settings.bounds)
        count = len(worlds.worlds)
        self.left = np.zeros((count, len(BOUNDS) + 1), np.int64)
        """Steps for which each comfort bound, and last the forecast, still costs."""
        self.completion = np.zeros(count)
        self.factors = np.zeros((count, len(FACTORS)))
        """``[N, len(FACTORS)]`` what the last reward was made of: see ``FACTORS``."""
        self.reset(range(count))

    def reset(self, which: Sequence[int]) -> None:
        """Forget the past of worlds that were reset."""
        which = list(which)
        self.comfort.reset(which)
        self.left[which] = 0
        self.completion[which] = self._completion()[which]

    def score(self) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Reward, whether the episode has terminated, and whether it is truncated because the route is done.

        To be called once after every step. Worlds that do not run get 0, and nothing about them is changed.
        """
        worlds, settings = self.worlds.worlds, self.settings
        running = worlds["status"] == Status.RUNNING
        before = self.left
        completion = self._completion()
        progress, self.completion = completion - self.completion, completion
        speed = self._speed_factor()
        factor = np.where(worlds["outside_lanes"] != 0, 0.0, speed * self._lane_factor())
        comfort, forecast = self._lasting_factors()
        factor *= comfort * forecast
        self.left = np.where(running[:, None], self.left, before)
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
        broken = np.column_stack([self.comfort.broken(), self.worlds.worlds["imminent_collision"] != 0])
        self.left = np.where(broken, settings.penalty_steps, np.maximum(self.left - 1, 0))
        comfort = 1.0 - settings.comfort_factor * (self.left[:, :-1] > 0).sum(axis=1) / len(BOUNDS)
        return comfort, np.where(self.left[:, -1] > 0, settings.forecast_factor, 1.0)
