"""What ``get_physics_control`` says of a vehicle."""

from __future__ import annotations

import math
from typing import Any

from envs.carla_server.blueprints import Blueprint
from envs.driving.world.vehicle import VehicleModel


def physics_control(blueprint: Blueprint, model: VehicleModel) -> list[Any]:
    """The fields of ``carla.VehiclePhysicsControl``: mass, wheel angle and axles are those that are driven with.

    Engine, gears, tyres and drag have no counterpart in a kinematic bicycle; they hold CARLA's defaults.
    """
    angle = math.degrees(model.steer_gain)
    half_width = 100.0 * blueprint.size[1]
    wheels = [
        # friction, damping, largest angle [deg], radius [cm], brake and hand-brake torque, stiffness, place [cm]
        [3.5, 0.25, largest, 35.0, 1500.0, hand_brake, 2.0, 17.0, 1000.0, [x, y, 0.0]]
        for x, largest, hand_brake in ((100.0 * model.front_axle, angle, 0.0), (-100.0 * model.rear_axle, 0.0, 3000.0))
        for y in (-half_width, half_width)
    ]
    gears = [[ratio, 0.5, 0.65] for ratio in (4.0, 2.0, 1.5, 1.1, 1.0)]
    torque, steering = [[0.0, 500.0], [1890.0, 500.0], [5730.0, 400.0]], [[0.0, 1.0], [120.0, 1.0]]
    engine = [torque, 5800.0, 1.0, 0.15, 2.0, 0.35]
    gearbox = [True, 0.5, 10.0, 4.0, gears]
    return [*engine, *gearbox, blueprint.mass, 0.3, [0.0, 0.0, 0.0], steering, wheels, False]
