"""How a vehicle moves: the kinematic bicycle and the response of its pedals and steering.

Geometry and steering gain of the default model are those that "World on Rails" (Chen et al. 2021) fitted to CARLA's
default car, and that CaRL's planner uses too; the pedals follow a curve of ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records


@dataclass(frozen=True, kw_only=True)
class VehicleModel:
    """The externally driven car."""

    front_axle: float = -0.0908
    """Reference point (centre of the box) to front axle along the body, metres, as fitted."""
    rear_axle: float = 1.4178
    """Rear axle to reference point, metres, as fitted."""
    steer_gain: float = 0.3685
    """Wheel angle at full steering, radians."""
    throttle_acceleration: float = 3.5
    """At full throttle and standstill, m/s^2; falls linearly to 0 at ``top_speed``."""
    top_speed: float = 45.0
    """m/s."""
    brake_deceleration: float = 4.952
    """At full brake, m/s^2, as fitted."""
    rolling_deceleration: float = 0.1
    """Without pedals, m/s^2."""
    air_drag: float = 0.0006
    """Deceleration per squared speed, 1/m."""
    steer_lag: float = 0.1
    """Time constant of the steering, s; 0: immediate."""
    pedal_lag: float = 0.1
    """Time constant of throttle and brake, s; 0: immediate."""


@kernel
def lagged(value: float, command: float, lag: float, seconds: float) -> float:
    """``value`` after following ``command`` with first-order lag for ``seconds``: exact for a constant command."""
    if lag <= 0.0:
        return command
    return command + (value - command) * math.exp(-seconds / lag)


@kernel
def pedal_acceleration(speed: float, throttle: float, brake: float, parameters: Records) -> float:
    """Acceleration along the body, m/s^2, of pedals in 0 ... 1 at ``speed``."""
    drive = throttle * parameters.throttle_acceleration * max(0.0, 1.0 - speed / parameters.top_speed)
    drag = parameters.rolling_deceleration + parameters.air_drag * speed * speed + brake * parameters.brake_deceleration
    return drive - drag if speed > 0.0 or drive > drag else 0.0


@kernel
def move(
    actor: Records, acceleration: float, wheel: float, front: float, rear: float, seconds: float, way: float = 1.0
) -> None:
    """One step of the kinematic bicycle (Rajamani 2012, section 2.2) about the box's centre, by the midpoint rule.

    Speed along the way never falls below 0: braking ends in standstill. The midpoint rule is exact for constant speed
    and wheel angle up to third order in the turned angle.

    Args:
        actor: changed in place.
        acceleration: along the way, m/s^2.
        wheel: angle of the front wheels, radians, positive to the left.
        front: distance of the front axle ahead of the centre, metres.
        rear: distance of the rear axle behind the centre, metres.
        seconds: duration.
        way: 1 forwards, -1 backwards.
    """
    before = way * actor.speed
    after = max(before + acceleration * seconds, 0.0)
    travelled = 0.5 * (before + after) * seconds
    if acceleration < 0.0 and after == 0.0:
        travelled = before * before / (-2.0 * acceleration)
    travelled, after = way * travelled, way * after
    slip = math.atan(rear / (front + rear) * math.tan(wheel))
    turn = travelled / rear * math.sin(slip)
    course = actor.heading + 0.5 * turn + slip
    actor.x += travelled * math.cos(course)
    actor.y += travelled * math.sin(course)
    actor.heading += turn
    if actor.heading > math.pi:
        actor.heading -= 2.0 * math.pi
    elif actor.heading < -math.pi:
        actor.heading += 2.0 * math.pi
    actor.speed = after
    actor.yaw_rate = after / rear * math.sin(slip)
    actor.velocity_x = after * math.cos(actor.heading + slip)
    actor.velocity_y = after * math.sin(actor.heading + slip)
    actor.lateral_acceleration = after * actor.yaw_rate
