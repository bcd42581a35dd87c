"""A genuine CARLA client in synchronous mode, and what checks need to know of it."""

from __future__ import annotations

import queue

import carla

DELTA = 0.05
EVENTS = ("sensor.other.collision", "sensor.other.lane_invasion", "sensor.other.obstacle")
"""Sensors that may have nothing to send."""


class Session:
    """A client in synchronous mode, and what it has spawned."""

    def __init__(self, port: int, manager_port: int) -> None:
        self.port, self.manager_port = port, manager_port
        self.kept: list[carla.Actor] = []
        self.client = carla.Client("127.0.0.1", port, worker_threads=1)
        self.client.set_timeout(60.0)
        self.world = self.client.get_world()
        self.synchronous()

    def synchronous(self) -> None:
        settings = self.world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, DELTA
        self.world.apply_settings(settings)
        self.map = self.world.get_map()
        self.blueprints = self.world.get_blueprint_library()
        self.points = self.map.get_spawn_points()

    def car(self, point: int = 0, blueprint: str = "vehicle.tesla.model3") -> carla.Vehicle:
        return self.world.spawn_actor(self.blueprints.find(blueprint), self.points[point])

    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.world.tick()

    def sensor(self, name: str, parent: carla.Actor, place: carla.Transform | None = None, **attributes: object):
        blueprint = self.blueprints.find(name)
        for key, value in attributes.items():
            blueprint.set_attribute(key, str(value))
        sensor = self.world.spawn_actor(blueprint, place or carla.Transform(), attach_to=parent)
        found: queue.Queue = queue.Queue()
        sensor.listen(found.put)
        self.kept.append(sensor)  # it stops listening with its last reference
        self.ticks(1)
        if name not in EVENTS:
            while found.empty():  # the client connects to the stream when it likes
                self.ticks(1)
        return sensor, found

    def clear(self) -> None:
        """Destroy what a check has left."""
        self.ticks(1)  # the client lists what it has seen in a state
        for sensor in self.kept:
            if sensor.is_alive and sensor.is_listening:
                sensor.stop()
        self.kept.clear()
        for actor in self.world.get_actors():
            if actor.type_id.startswith(("vehicle.", "walker.", "sensor.", "controller.")):
                actor.destroy()
        self.ticks(1)


def at_frame(found: queue.Queue, frame: int):
    """What a sensor has sent at a frame."""
    while True:
        data = found.get(timeout=20)
        if data.frame >= frame:
            assert data.frame == frame, (data.frame, frame)
            return data


def near(found: float, expected: float, tolerance: float = 1e-3) -> None:
    assert abs(found - expected) <= tolerance, f"{found}, expected {expected}"
