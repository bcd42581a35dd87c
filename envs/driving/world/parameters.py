"""Every setting of a world in one frozen dataclass, and as the record that kernels read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from envs.driving.maps.map_arrays import Records
from envs.driving.world.vehicle import VehicleModel


@dataclass(frozen=True, kw_only=True)
class TrafficModel:
    """Intelligent driver model (Treiber, Hennecke and Helbing 2000) and how traffic behaves at junctions."""

    acceleration: float = 1.8
    """Largest, m/s^2."""
    deceleration: float = 2.5
    """Comfortable, m/s^2."""
    hardest_deceleration: float = 8.0
    """m/s^2."""
    headway: float = 1.2
    """To the vehicle ahead, seconds."""
    standstill_gap: float = 2.0
    """Bumper to bumper, metres."""
    green_seconds: float = 10.0
    yellow_seconds: float = 3.0
    red_seconds: float = 2.0
    """All lights of the junction red, between two phases."""
    stop_seconds: float = 1.0
    """Standing before a stop sign."""
    respawn_seconds: float = 3.0
    """A vehicle that left the map enters again, elsewhere, after this time."""
    respawn_distance: float = 50.0
    """No traffic appears closer to the ego than this, metres."""


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """When something counts as an event of the ego (CARLA leaderboard 2.0's limits where it has them)."""

    off_road_fraction: float = 0.95
    """Part of the ego's box off the drivable area."""
    deviation: float = 30.0
    """Metres from the route."""
    blocked_seconds: float = 90.0
    blocked_speed: float = 0.1
    """m/s."""
    stop_speed: float = 0.3
    """m/s below which the ego has halted before a stop sign."""
    stop_zone: float = 5.0
    """Metres before the stop line within which it has to."""
    forecast_seconds: float = 0.9
    """How far the collision forecast looks."""


@dataclass(frozen=True, kw_only=True)
class WorldParameters:
    """Settings of all worlds of a batch."""

    control_seconds: float = 0.1
    """Between two decisions."""
    substeps: int = 2
    """Physics steps per control step, of externally driven vehicles."""
    vehicle: VehicleModel = field(default_factory=VehicleModel)
    traffic: TrafficModel = field(default_factory=TrafficModel)
    criteria: Criteria = field(default_factory=Criteria)

    def record(self) -> Records:
        """All numbers as one record whose fields have the names of the dataclasses' fields."""
        values: dict[str, float] = {"control_seconds": self.control_seconds, "substeps": self.substeps}
        for part in (self.vehicle, self.traffic, self.criteria):
            values |= dataclasses.asdict(part)
        record = np.zeros(1, [(name, np.float64) for name in values])
        for name, value in values.items():
            record[name] = value
        return record[0]
