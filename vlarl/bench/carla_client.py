"""The client's side of ``vlarl bench carla``: one case for an interpreter that has CARLA's wheel; prints a JSON line.

A traffic manager asks the server about every car at every tick, and cannot be ended without the client; so each case is
a process of its own.
"""

from __future__ import annotations

import json
import queue
import socket
import sys
import time
from typing import Any


def note(name: str, unit: str, value: float) -> None:
    """Report one measurement."""
    print(json.dumps({"name": name, "unit": unit, "value": value}), flush=True)


def ticks_per_second(world: Any, ticks: int) -> float:
    """How fast the world goes."""
    started = time.perf_counter()
    for _ in range(ticks):
        world.tick()
    return ticks / (time.perf_counter() - started)


def steps_per_second(world: Any, car: Any, images: queue.Queue[Any], controls: list[Any], steps: int) -> float:
    """How fast a policy that waits for every image can go."""
    started = time.perf_counter()
    for number in range(steps):
        car.apply_control(controls[number % len(controls)])
        frame = world.tick()
        while images.get(timeout=30.0).frame < frame:
            pass
    return steps / (time.perf_counter() - started)


def connect(port: int) -> tuple[Any, Any]:
    """A client, and its world in synchronous mode."""
    import carla

    client = carla.Client("127.0.0.1", port, worker_threads=1)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    return client, world


def spawn_cars(world: Any, count: int) -> list[Any]:
    """Cars on spawn points all over the map."""
    blueprint, points = world.get_blueprint_library().find("vehicle.tesla.model3"), world.get_map().get_spawn_points()
    spread = max(1, len(points) // count)
    cars = [world.spawn_actor(blueprint, points[spread * number]) for number in range(count)]
    world.tick()
    return cars


def measure_standing(port: int, cars: int, ticks: int, side: int) -> None:
    """Ticks of a world in which nothing is asked of anybody."""
    _, world = connect(port)
    spawned = spawn_cars(world, cars + 1)
    note(f"{cars + 1} cars that stand", "ticks/s", ticks_per_second(world, ticks))
    remove(spawned)


def measure_traffic(port: int, cars: int, ticks: int, side: int) -> None:
    """Ticks with the client's own traffic manager."""
    client, world = connect(port)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        manager_port = listening.getsockname()[1]
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    spawned = spawn_cars(world, cars)
    for car in spawned:
        car.set_autopilot(True, manager_port)
    world.tick()
    note(f"{cars} traffic-manager cars", "ticks/s", ticks_per_second(world, ticks))
    manager.shut_down()
    remove(spawned)


def measure_camera(port: int, cars: int, ticks: int, side: int) -> None:
    """Steps of a policy that drives one car by a camera."""
    import carla

    _, world = connect(port)
    spawned = spawn_cars(world, cars + 1)
    controls = [carla.VehicleControl(throttle=0.4, steer=0.01), carla.VehicleControl(throttle=0.4, steer=-0.01)]
    blueprint = world.get_blueprint_library().find("sensor.camera.rgb")
    blueprint.set_attribute("image_size_x", str(side))
    blueprint.set_attribute("image_size_y", str(side))
    place, images = carla.Transform(carla.Location(x=1.5, z=2.0)), queue.Queue()
    camera = world.spawn_actor(blueprint, place, attach_to=spawned[0])
    camera.listen(images.put)
    while images.empty():
        world.tick()
    speed = steps_per_second(world, spawned[0], images, controls, ticks)
    note(f"one {side} x {side} camera, frame-locked", "steps/s", speed)
    camera.stop()
    remove([camera, *spawned])


def remove(actors: list[Any]) -> None:
    """Leave the world as it was."""
    for actor in actors:
        actor.destroy()


CASES = {"standing": measure_standing, "traffic": measure_traffic, "camera": measure_camera}

if __name__ == "__main__":
    CASES[sys.argv[1]](*(int(word) for word in sys.argv[2:6]))
