"""Between environment units and the policy's [-1, 1].

Source: ``_unnormalize_actions`` of OpenVLA-OFT's ``modeling_prismatic.py``, ``normalize_proprio`` and the gripper
helpers of its ``experiments/robot``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlarl.policies.oft_config import QuantileStatistics

FloatArray = NDArray[np.float64]


class Normaliser:
    """Affine map of a vector by its quantiles; entries outside the mask pass unchanged.

    Args:
        statistics: quantiles and mask.
        epsilon: added to ``high - low``.
    """

    def __init__(self, statistics: QuantileStatistics, epsilon: float = 1e-8) -> None:
        self.low = np.asarray(statistics.low, dtype=np.float64)
        self.high = np.asarray(statistics.high, dtype=np.float64)
        mask = statistics.mask if statistics.mask is not None else [True] * len(self.low)
        self.mask = np.asarray(mask, dtype=bool)
        self.range = self.high - self.low + epsilon

    def normalise(self, values: NDArray[np.floating], clip: bool = True) -> FloatArray:
        """``2 (x - low) / (high - low) - 1``, clipped to [-1, 1]; shape ``[..., width]``."""
        values = np.asarray(values, dtype=np.float64)
        scaled = 2.0 * (values - self.low) / self.range - 1.0
        scaled = np.where(self.mask, scaled, values)
        return np.clip(scaled, -1.0, 1.0) if clip else scaled

    def unnormalise(self, values: NDArray[np.floating]) -> FloatArray:
        """``(x + 1) / 2 (high - low) + low`` where masked; shape ``[..., width]``."""
        values = np.asarray(values, dtype=np.float64)
        return np.where(self.mask, 0.5 * (values + 1.0) * self.range + self.low, values)


def gripper_to_environment(actions: FloatArray, convention: Literal["signed", "openvla"]) -> FloatArray:
    """Bring the last entry to the environment's -1 open, +1 close.

    ``openvla`` data store 1 open, 0 close: scale to [-1, 1], take the sign, turn it round (0.5 stays 0).
    """
    if convention == "signed":
        return actions
    actions = actions.copy()
    # Upstream inverts by multiplying with -1.0; + 0.0 turns the resulting -0.0 into 0.0.
    actions[..., -1] = -np.sign(2.0 * actions[..., -1] - 1.0) + 0.0
    return actions


def gripper_from_environment(actions: FloatArray, convention: Literal["signed", "openvla"]) -> FloatArray:
    """The inverse, for imitation: environment -1 open, +1 close to the policy's own convention."""
    if convention == "signed":
        return actions
    actions = np.array(actions, dtype=np.float64)
    actions[..., -1] = np.where(actions[..., -1] < 0, 1.0, 0.0)
    return actions
