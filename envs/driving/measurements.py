"""What CaRL's policy is told beside the bird's-eye view, and what only its critic is told.

CaRL gives its policy eight numbers and its critic eleven more (arXiv 2504.17838); which ones here is our choice.

| number | holds |
|---|---|
| 0 to 2 | steering, throttle and brake as the lagging actuators have reached them |
| 3, 4 | speed along the body, and across it to the left [20 m/s] |
| 5 | acceleration along the body [5 m/s^2] |
| 6 | yaw rate [rad/s] |
| 7 | speed limit [20 m/s] |
| 8 | critic: share of the time limit that is left |
| 9 | critic: share of the patience with standing still that is left |
| 10 | critic: share of the route that is left |
| 11 to 16 | critic: for how long each broken comfort bound still costs, as a share of the longest |
| 17 | critic: the same of an imminent collision |
| 18 | critic: share of the ego's box that is off the road |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.scores.carl_reward import CarlReward
from envs.driving.views.vector_observation import FAST, SIZE

MEASURED, PRIVILEGED = 8, 11
LENGTH = MEASURED + PRIVILEGED


def measurements(reward: CarlReward, horizon: int) -> NDArray[np.float32]:
    """``float32 [N, LENGTH]`` of the worlds that ``reward`` scores.

    Args:
        reward: of the last step; remembers what still costs.
        horizon: control steps allowed per episode.
    """
    worlds, ego = reward.worlds.worlds, reward.worlds.actors[:, 0]
    cos, sin = np.cos(ego["heading"]), np.sin(ego["heading"])
    across = ego["velocity_y"] * cos - ego["velocity_x"] * sin
    patience = max(reward.worlds.settings.criteria.blocked_seconds, 1e-6)
    rows = np.empty((len(worlds), LENGTH), np.float32)
    for column, values in enumerate(
        (
            ego["steer"],
            ego["throttle"],
            ego["brake"],
            ego["speed"] / FAST,
            across / FAST,
            ego["acceleration"] / SIZE,
            ego["yaw_rate"],
            worlds["speed_limit"] / FAST,
            1.0 - worlds["step"] / horizon,
            1.0 - worlds["blocked_time"] / patience,
            1.0 - 0.01 * reward.completion,
        )
    ):
        rows[:, column] = values
    rows[:, 11:18] = reward.left / max(reward.settings.penalty_steps, 1)
    rows[:, 18] = worlds["off_road_fraction"]
    return rows
