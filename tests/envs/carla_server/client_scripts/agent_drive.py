"""The agent drives routes through traffic to their ends: no collision, no red light or stop sign run over."""

import math
import sys
from itertools import pairwise

import carla
import numpy as np

from envs.carla.basic_agent import BasicAgent
from envs.carla.global_route_planner import GlobalRoutePlanner
from envs.carla.path_ahead import PathAhead

SECONDS = 400
ROUTES = ((4, 60), (20, 90))


def drive(client: carla.Client, world: carla.World, planner: GlobalRoutePlanner, start: int, end: int) -> None:
    points = world.get_map().get_spawn_points()
    library = world.get_blueprint_library()
    car = world.spawn_actor(library.find("vehicle.tesla.model3"), points[start])
    hits = []
    sensor = world.spawn_actor(library.find("sensor.other.collision"), carla.Transform(), attach_to=car)
    sensor.listen(lambda event: hits.append(event.other_actor.type_id))
    world.tick()
    agent = BasicAgent(car, target_speed=40, grp_inst=planner)
    agent.set_destination(points[end % len(points)].location)
    plan = agent.get_plan()
    metres = sum(a.transform.location.distance(b.transform.location) for (a, _), (b, _) in pairwise(plan))
    way = PathAhead(np.array([[w.transform.location.x, w.transform.location.y] for w, _ in plan]))
    lights = [
        (light, waypoint.transform)
        for light in world.get_actors().filter("traffic.traffic_light")
        for waypoint in light.get_stop_waypoints()
    ]
    ran_red, waited, off, ticks = [], 0.0, 0.0, 0
    before = car.get_transform()
    while not agent.done() and ticks * 0.05 < SECONDS:
        car.apply_control(agent.run_step())
        world.tick()
        ticks += 1
        now = car.get_transform()
        ran_red += [light.id for light, line in lights if is_red(light) and over(line, before, now, car)]
        waited += 0.05 * (car.get_velocity().length() < 0.1)
        off = max(off, float(way.project(np.array([[now.location.x, now.location.y]]), 0.0, math.inf)[2][0]))
        before = now
    place = car.get_location()
    sensor.stop()
    sensor.destroy()
    car.destroy()
    assert agent.done(), f"route {start} to {end}: {place} after {ticks * 0.05:.0f} s, {metres:.0f} m long"
    assert place.distance_2d(points[end % len(points)].location) < 5.0, place
    assert not hits and not ran_red, (hits, ran_red)
    assert off < 1.2, f"{off:.2f} m off the route"
    print(f"route of {metres:.0f} m in {ticks * 0.05:.0f} s, {waited:.0f} s of it standing, {off:.2f} m off it at most")


def is_red(light: carla.TrafficLight) -> bool:
    return light.state == carla.TrafficLightState.Red


def over(line: carla.Transform, before: carla.Transform, now: carla.Transform, car: carla.Vehicle) -> bool:
    """Whether the front of the car has come over a stop line in this tick."""
    ahead = line.get_forward_vector()

    def front(transform: carla.Transform) -> tuple[float, float]:
        nose = transform.transform(carla.Location(x=car.bounding_box.extent.x))
        dx, dy = nose.x - line.location.x, nose.y - line.location.y
        return dx * ahead.x + dy * ahead.y, abs(dy * ahead.x - dx * ahead.y)

    (old, _), (new, aside) = front(before), front(now)
    along = math.cos(math.radians(now.rotation.yaw - line.rotation.yaw))
    return old < 0.0 <= new and aside < 1.75 and along > 0.7


def main(port: int, manager_port: int) -> None:
    client = carla.Client("localhost", port)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(1)
    blueprint = world.get_blueprint_library().find("vehicle.toyota.prius")
    cars = [world.try_spawn_actor(blueprint, point) for point in world.get_map().get_spawn_points()[1:72:9]]
    cars = [car for car in cars if car is not None]
    world.tick()
    for car in cars:
        car.set_autopilot(True, manager_port)
    planner = GlobalRoutePlanner(world.get_map(), 2.0)
    for start, end in ROUTES:
        drive(client, world, planner, start, end)
    for car in cars:
        car.set_autopilot(False, manager_port)
        car.destroy()
    manager.shut_down()
    print("done")


main(int(sys.argv[1]), int(sys.argv[2]))
