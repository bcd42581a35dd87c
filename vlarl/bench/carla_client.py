"""The client's side of ``vlarl bench carla``: a script for an interpreter that has CARLA's wheel; prints JSON lines."""

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


def main(port: int, cars: int, ticks: int, repeats: int, side: int) -> None:
    """Measure the cases in turn."""
    import carla

    client = carla.Client("127.0.0.1", port, worker_threads=1)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    library, points = world.get_blueprint_library(), world.get_map().get_spawn_points()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        manager_port = listening.getsockname()[1]
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    spread = max(1, len(points) // (cars + 1))
    ego = world.spawn_actor(library.find("vehicle.tesla.model3"), points[0])
    others = [world.spawn_actor(library.find("vehicle.tesla.model3"), points[spread * (n + 1)]) for n in range(cars)]
    world.tick()
    controls = [carla.VehicleControl(throttle=0.4, steer=0.01), carla.VehicleControl(throttle=0.4, steer=-0.01)]
    blueprint = library.find("sensor.camera.rgb")
    blueprint.set_attribute("image_size_x", str(side))
    blueprint.set_attribute("image_size_y", str(side))
    place = carla.Transform(carla.Location(x=1.5, z=2.0))
    for _ in range(repeats):
        note(f"{cars + 1} cars that stand", "ticks/s", ticks_per_second(world, ticks))
        for car in others:
            car.set_autopilot(True, manager_port)
        world.tick()
        note(f"{cars} traffic-manager cars", "ticks/s", ticks_per_second(world, ticks))
        for car in others:
            car.set_autopilot(False, manager_port)
        camera, images = world.spawn_actor(blueprint, place, attach_to=ego), queue.Queue()
        camera.listen(images.put)
        while images.empty():
            world.tick()
        speed = steps_per_second(world, ego, images, controls, ticks)
        note(f"one {side} x {side} camera, frame-locked", "steps/s", speed)
        camera.stop()
        camera.destroy()
        ego.set_transform(points[0])
    manager.shut_down()


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:6]))
