"""An agent that drives a vehicle to a place by rule, which the ``carla`` wheel itself lacks.

Example::

    agent = BasicAgent(vehicle, target_speed=30)
    agent.set_destination(carla.Location(x=120, y=-40))
    while not agent.done():
        world.tick()
        vehicle.apply_control(agent.run_step())

It follows a route of :class:`envs.carla.global_route_planner.GlobalRoutePlanner`, steers and accelerates by PID, halts
at red lights and stop signs, and keeps its distance to vehicles and walkers on its way. The names are those that users
of CARLA's own ``agents.navigation.basic_agent`` know; the code is ours, and drives more gently: CARLA's brakes fully
for whatever is near. Works with any server, through the objects of ``carla.Client`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from envs.carla.global_route_planner import GlobalRoutePlanner, Plan
from envs.carla.path_ahead import Box, PathAhead, approach_speed
from envs.carla.pid import Pid
from envs.carla.road_rules import StopLine, line_speed, lines_on_way
from vlarl.errors import ConfigError, unknown_name

OPTIONS: dict[str, Any] = {
    "dt": None,  # seconds between two steps; None: of the world's last tick
    "sampling_resolution": 2.0,  # metres between the route's waypoints
    "lateral_control_dict": {"K_P": 1.95, "K_I": 0.05, "K_D": 0.1},  # of the angle to the route, radians
    "longitudinal_control_dict": {"K_P": 0.6, "K_I": 0.1, "K_D": 0.0},  # of the speed, m/s
    "max_throttle": 0.75,
    "max_brake": 1.0,
    "max_steering": 0.8,
    "braking": 2.5,  # comfortable deceleration, m/s^2
    "lateral_acceleration": 2.5,  # allowed in bends, m/s^2
    "standstill_gap": 3.0,  # to whatever stands ahead, metres
    "headway": 1.0,  # to whatever moves ahead, seconds
    "ignore_traffic_lights": False,
    "ignore_stop_signs": False,
    "ignore_vehicles": False,
}
"""Every key of ``opt_dict``, and what holds without it."""
LOOK_AHEAD, LOOK_AHEAD_SECONDS = 2.0, 0.35
"""It steers for the point of the route so far ahead, metres, and so many seconds more."""
MARGIN = 0.35
"""What is so far beside the vehicle's own width is still in its way, metres."""
STANDING = 0.3
"""A slower target is a halt, m/s."""
ARRIVED = 1.5
"""The destination is reached within this distance along the route, metres."""
SHORTEST = 1e-3
"""A world that has not ticked yet says that no time passes, seconds."""
KMH = 3.6


class BasicAgent:
    """See the module.

    Args:
        vehicle: ``carla.Vehicle`` to drive.
        target_speed: km/h.
        opt_dict: changes to :data:`OPTIONS`.
        map_inst: ``carla.Map``; None: asked for.
        grp_inst: planner to share between agents; None: one of its own.

    Raises:
        ConfigError: a key of ``opt_dict`` that does not exist.
    """

    def __init__(
        self,
        vehicle: Any,
        target_speed: float = 20.0,
        opt_dict: Mapping[str, Any] | None = None,
        map_inst: Any = None,
        grp_inst: GlobalRoutePlanner | None = None,
    ) -> None:
        self._vehicle, self._world = vehicle, vehicle.get_world()
        self._map = map_inst or self._world.get_map()
        for key in opt_dict or {}:
            if key not in OPTIONS:
                raise ConfigError(unknown_name("key of opt_dict", key, OPTIONS))
        self.options = {**OPTIONS, **(opt_dict or {})}
        self._planner = grp_inst or GlobalRoutePlanner(self._map, self.options["sampling_resolution"])
        self._target_speed, self._follows_limits = target_speed / KMH, False
        steering, brake, throttle = (self.options[f"max_{name}"] for name in ("steering", "brake", "throttle"))
        self._steering = Pid(**self.options["lateral_control_dict"], low=-steering, high=steering)
        self._pedal = Pid(**self.options["longitudinal_control_dict"], low=-brake, high=throttle)
        self._plan: Plan = []
        self._path: PathAhead | None = None
        self._lines: list[StopLine] = []
        box = vehicle.bounding_box
        self._half_length, self._half_width = box.extent.x, box.extent.y

    def set_target_speed(self, speed: float) -> None:
        """Drive at most so fast, km/h."""
        self._target_speed, self._follows_limits = speed / KMH, False

    def follow_speed_limits(self, value: bool = True) -> None:
        """Whether the speed limit is the target speed."""
        self._follows_limits = value

    def ignore_traffic_lights(self, active: bool = True) -> None:
        """Whether to drive through red lights."""
        self.options["ignore_traffic_lights"] = active

    def ignore_stop_signs(self, active: bool = True) -> None:
        """Whether to drive through stop signs."""
        self.options["ignore_stop_signs"] = active

    def ignore_vehicles(self, active: bool = True) -> None:
        """Whether to drive on whoever is in the way, walkers too."""
        self.options["ignore_vehicles"] = active

    def get_global_planner(self) -> GlobalRoutePlanner:
        """The planner, to be shared."""
        return self._planner

    def get_plan(self) -> Plan:
        """Waypoints and road options of the way, from its beginning."""
        return self._plan

    def trace_route(self, start_waypoint: Any, end_waypoint: Any) -> Plan:
        """The shortest way between two waypoints."""
        return self._planner.trace_route(start_waypoint.transform.location, end_waypoint.transform.location)

    def set_destination(self, end_location: Any, start_location: Any = None) -> None:
        """Drive to a place.

        Args:
            end_location: ``carla.Location``.
            start_location: where the way begins; None: where the vehicle is.

        Raises:
            RouteError: no way leads there.
        """
        self.set_global_plan(self._planner.trace_route(start_location or self._vehicle.get_location(), end_location))

    def set_global_plan(self, plan: Plan) -> None:
        """Follow a way: pairs of waypoint and road option, at least one."""
        places = [waypoint.transform.location for waypoint, _ in plan]
        self._plan, self._path = plan, PathAhead(np.array([[place.x, place.y] for place in places]))
        self._lines = lines_on_way(self._path, self._world.get_actors(), self._map)
        self._steering.reset()
        self._pedal.reset()

    def done(self) -> bool:
        """Whether the destination is reached, or none is set."""
        return self._path is None or self._path.left < ARRIVED

    def run_step(self) -> Any:
        """The ``carla.VehicleControl`` for the coming tick; a full stop where there is nothing more to drive."""
        transform, velocity = self._vehicle.get_transform(), self._vehicle.get_velocity()
        if self._path is None:
            return _control(0.0, -1.0)
        seconds = self.options["dt"] or max(self._world.get_snapshot().timestamp.delta_seconds, SHORTEST)
        speed = math.hypot(velocity.x, velocity.y)
        self._path.advance(transform.location.x, transform.location.y)
        if self.done():
            return _control(0.0, -1.0)
        target = self._allowed_speed(speed)
        pedal = self._pedal.step(target - speed, seconds)
        if target < STANDING:
            self._pedal.reset()
            pedal = -self.options["max_brake"]
        return _control(self._steer(transform, speed, seconds), pedal)

    def add_emergency_stop(self, control: Any) -> Any:
        """The same control, braking fully and without throttle; it steers on."""
        control.throttle, control.brake, control.hand_brake = 0.0, 1.0, False
        return control

    def _steer(self, transform: Any, speed: float, seconds: float) -> float:
        assert self._path is not None
        x, y = self._path.place(self._path.arc + LOOK_AHEAD + LOOK_AHEAD_SECONDS * speed)
        wanted = math.atan2(y - transform.location.y, x - transform.location.x)
        error = math.remainder(wanted - math.radians(transform.rotation.yaw), 2.0 * math.pi)
        return self._steering.step(error, seconds)

    def _allowed_speed(self, speed: float) -> float:
        """The lowest of the speeds, m/s, that target, bends, lines, others and the destination allow."""
        assert self._path is not None
        path, options = self._path, self.options
        braking = options["braking"]
        reach = 10.0 + options["headway"] * speed + speed**2 / (2.0 * braking)
        target = self._vehicle.get_speed_limit() / KMH if self._follows_limits else self._target_speed
        target = min(target, path.bend_speed(reach, options["lateral_acceleration"], braking))
        target = min(target, approach_speed(path.left, 0.0, braking))
        heed = (not options["ignore_traffic_lights"], not options["ignore_stop_signs"])
        target = min(target, line_speed(self._lines, path.arc + self._half_length, speed, reach, braking, heed))
        if not options["ignore_vehicles"]:
            gap = path.gap(self._others(reach), self._half_width + MARGIN, speed, reach + self._half_length)
            room = gap.metres - self._half_length - options["standstill_gap"] - options["headway"] * gap.speed
            target = min(target, approach_speed(room, gap.speed, braking))
        return target

    def _others(self, reach: float) -> list[Box]:
        here = self._vehicle.get_location()
        actors = self._world.get_actors()
        found = []
        for actor in [*actors.filter("vehicle.*"), *actors.filter("walker.*")]:
            if actor.id == self._vehicle.id or actor.get_location().distance(here) > 2.0 * reach + 30.0:
                continue
            transform, velocity, extent = actor.get_transform(), actor.get_velocity(), actor.bounding_box.extent
            if abs(transform.location.z - here.z) > 4.0:  # on a bridge, or below it
                continue
            place, yaw = transform.location, math.radians(transform.rotation.yaw)
            found.append(Box(place.x, place.y, yaw, extent.x, extent.y, velocity.x, velocity.y))
        return found


def _control(steer: float, pedal: float) -> Any:
    import carla

    return carla.VehicleControl(steer=steer, throttle=max(pedal, 0.0), brake=max(-pedal, 0.0))
