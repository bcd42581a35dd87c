"""The intelligent driver model: how fast one drives, alone and behind others.

Formulas: Treiber, Hennecke and Helbing (2000), "Congested traffic states in empirical observations and microscopic
simulations".
"""

from __future__ import annotations

import math

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records


@kernel
def desired_gap(speed: float, lead_speed: float, parameters: Records) -> float:
    """IDM's wanted gap s*, metres."""
    closing = speed * (speed - lead_speed) / (2.0 * math.sqrt(parameters.acceleration * parameters.deceleration))
    return parameters.standstill_gap + max(0.0, speed * parameters.headway + closing)


@kernel
def pressure(speed: float, gap: float, lead_speed: float, parameters: Records) -> float:
    """IDM's interaction term (s*/s)^2."""
    return (desired_gap(speed, lead_speed, parameters) / max(gap, 0.1)) ** 2


@kernel
def idm_acceleration(speed: float, wanted: float, strongest_pressure: float, parameters: Records) -> float:
    """IDM's acceleration, m/s^2, no harder than the hardest braking.

    Above the wanted speed the free term alone brakes no harder than comfortably: limits may drop at once.
    """
    free = max(1.0 - (speed / max(wanted, 0.1)) ** 4, -parameters.deceleration / parameters.acceleration)
    return max(parameters.acceleration * (free - strongest_pressure), -parameters.hardest_deceleration)
