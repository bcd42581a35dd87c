"""What the genuine CARLA client finds in the stand-in; run as a script, one JSON line per check.

    python client_checks.py PORT TRAFFIC_MANAGER_PORT [CHECK ...]

Each function is a check. They share one client, leave the world empty, and raise where something is not as in CARLA.
"""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Callable
from typing import Any

import carla

from tests.envs.carla_server import client_sensor_checks, client_street_checks
from tests.envs.carla_server.client_session import DELTA, Session, near


def versions(s: Session) -> None:
    assert s.client.get_server_version() == s.client.get_client_version() == "0.9.16"
    assert s.world.get_spectator().attributes["backend"] == "vlarl stand-in"
    assert "stand_in" in s.map.name
    assert s.map.name in s.client.get_available_maps()


def map_and_spawn_points(s: Session) -> None:
    assert len(s.points) > 10 and len(s.map.get_topology()) > 10
    for point in s.points:
        waypoint = s.map.get_waypoint(point.location)
        assert waypoint.transform.location.distance(point.location) < 0.5
        turned = math.radians(waypoint.transform.rotation.yaw - point.rotation.yaw)
        assert math.cos(turned) > 0.99, "spawn points look along their lane"
    assert "<OpenDRIVE" in s.map.to_opendrive()


def settings(s: Session) -> None:
    before = s.world.get_settings()
    assert before.synchronous_mode
    near(before.fixed_delta_seconds, DELTA)
    before.fixed_delta_seconds = 0.1
    s.world.apply_settings(before)
    s.ticks(1)
    near(s.world.get_snapshot().timestamp.delta_seconds, 0.1)
    before.synchronous_mode, before.fixed_delta_seconds = False, None
    s.world.apply_settings(before)
    first = s.world.wait_for_tick().frame
    assert s.world.wait_for_tick().frame > first, "without synchronous mode the world goes on by itself"
    assert s.world.get_settings().fixed_delta_seconds is None
    s.synchronous()


def ticks_and_snapshots(s: Session) -> None:
    seen: list[int] = []
    number = s.world.on_tick(lambda snapshot: seen.append(snapshot.frame))
    before = s.world.get_snapshot()
    frames = [s.world.tick() for _ in range(5)]
    assert frames == list(range(frames[0], frames[0] + 5))
    now = s.world.get_snapshot()
    near(now.timestamp.elapsed_seconds - before.timestamp.elapsed_seconds, 5 * DELTA, 1e-6)
    s.world.remove_on_tick(number)
    assert set(frames) <= set(seen)


def blueprints(s: Session) -> None:
    assert len(s.blueprints.filter("vehicle.*")) >= 20 and len(s.blueprints.filter("walker.pedestrian.*")) >= 20
    model = s.blueprints.find("vehicle.tesla.model3")
    assert int(model.get_attribute("number_of_wheels")) == 4 and model.get_attribute("base_type") == "car"
    model.set_attribute("role_name", "hero")
    car = s.world.spawn_actor(model, s.points[0])
    s.ticks(1)
    found = s.world.get_actors().filter("vehicle.*")[0]
    assert found.id == car.id and found.attributes["role_name"] == "hero"
    assert s.world.get_actor(car.id).type_id == "vehicle.tesla.model3"


def spawn_and_destroy(s: Session) -> None:
    car = s.car()
    assert s.world.try_spawn_actor(s.blueprints.find("vehicle.audi.tt"), s.points[0]) is None
    try:
        s.car()
        raise AssertionError("two cars in one place")
    except RuntimeError as error:
        assert "Spawn failed because of collision at spawn position" in str(error), error
    s.ticks(1)
    near(car.get_location().distance(s.points[0].location), s.points[0].location.z, 0.05)
    assert car.destroy() and not car.is_alive
    s.ticks(1)
    assert car.id not in [actor.id for actor in s.world.get_actors()]
    assert s.car().id != car.id


def driving(s: Session) -> None:
    car = s.car()
    s.ticks(1)
    start = car.get_transform()
    car.apply_control(carla.VehicleControl(throttle=1.0))
    s.ticks(40)
    control = car.get_control()
    assert control.throttle == 1.0 and control.gear == 1 and not control.reverse
    speed = car.get_velocity().length()
    assert 5.0 < speed < 7.0, speed  # 2 s at 3.5 m/s^2, less with speed, and with lag
    ahead = car.get_location() - start.location
    forward = start.get_forward_vector()
    along = ahead.x * forward.x + ahead.y * forward.y
    near(along, ahead.length(), 0.05)
    assert car.get_acceleration().length() > 2.0
    car.apply_control(carla.VehicleControl(brake=1.0))
    s.ticks(60)
    near(car.get_velocity().length(), 0.0)
    car.apply_control(carla.VehicleControl(throttle=0.5, steer=1.0))
    s.ticks(20)
    assert car.get_angular_velocity().z > 0.0, "to the right, in the left-handed frame"
    car.apply_control(carla.VehicleControl(hand_brake=True))
    s.ticks(60)
    yaw = math.radians(car.get_transform().rotation.yaw)
    car.apply_control(carla.VehicleControl(throttle=0.5, reverse=True))
    s.ticks(40)
    velocity = car.get_velocity()
    assert velocity.x * math.cos(yaw) + velocity.y * math.sin(yaw) < -1.0 and car.get_control().gear == -1


def moving_by_hand(s: Session) -> None:
    car = s.car()
    car.set_transform(s.points[5])
    s.ticks(1)
    near(car.get_location().distance(s.points[5].location), 0.3, 0.1)
    place = car.get_location() + carla.Location(x=1.0)
    car.set_location(place)
    s.ticks(1)
    near(car.get_location().x, place.x)
    car.set_target_velocity(s.points[5].get_forward_vector() * 5.0)
    car.set_target_angular_velocity(carla.Vector3D(0, 0, 10))
    s.ticks(1)
    near(car.get_velocity().length(), 5.0, 0.1)
    car.enable_constant_velocity(carla.Vector3D(3.0, 0.0, 0.0))
    s.ticks(20)
    near(car.get_velocity().length(), 3.0, 0.1)
    car.disable_constant_velocity()
    car.set_simulate_physics(False)
    place = car.get_location()
    car.apply_control(carla.VehicleControl(throttle=1.0))
    s.ticks(20)
    near(car.get_location().distance(place), 0.0)
    car.set_simulate_physics(True)
    car.set_enable_gravity(True)
    car.set_collisions(True)
    s.ticks(20)
    assert car.get_location().distance(place) > 0.5


def boxes_and_physics(s: Session) -> None:
    car = s.car()
    near(car.bounding_box.extent.x, 2.4)
    corners = car.bounding_box.get_world_vertices(car.get_transform())
    assert len(corners) == 8
    physics = car.get_physics_control()
    assert physics.mass == 1800.0 and len(physics.wheels) == 4
    near(physics.wheels[0].max_steer_angle, math.degrees(0.3685), 0.01)
    physics.mass = 2000.0
    car.apply_physics_control(physics)
    assert car.get_physics_control().mass == 2000.0, "kept, though all cars drive alike"


def lamps(s: Session) -> None:
    car = s.car()
    both = carla.VehicleLightState(carla.VehicleLightState.Brake | carla.VehicleLightState.LeftBlinker)
    car.set_light_state(both)
    s.ticks(1)
    assert car.get_light_state() == both
    assert s.world.get_vehicles_light_states()[car.id] == both


def batches(s: Session) -> None:
    spawn, control = carla.command.SpawnActor, carla.command.ApplyVehicleControl
    blueprint = s.blueprints.find("vehicle.audi.tt")
    go = carla.VehicleControl(throttle=1.0)
    first = spawn(blueprint, s.points[0]).then(control(carla.command.FutureActor, go))
    answers = s.client.apply_batch_sync([first, spawn(blueprint, s.points[0]), spawn(blueprint, s.points[3])])
    assert [bool(answer.error) for answer in answers] == [False, True, False]
    assert "collision" in answers[1].error
    s.ticks(30)
    cars = s.world.get_actors([answers[0].actor_id, answers[2].actor_id])
    assert cars[0].get_velocity().length() > 3.0 and cars[1].get_velocity().length() == 0.0
    commands = [
        carla.command.ApplyTransform(cars[0].id, s.points[7]),
        carla.command.ApplyTargetVelocity(cars[0].id, carla.Vector3D()),
        carla.command.ApplyTargetAngularVelocity(cars[0].id, carla.Vector3D()),
        carla.command.SetSimulatePhysics(cars[0].id, False),
        carla.command.SetEnableGravity(cars[0].id, True),
        carla.command.SetVehicleLightState(cars[0].id, carla.VehicleLightState.Fog),
        carla.command.DestroyActor(999999),
    ]
    errors = [answer.error for answer in s.client.apply_batch_sync(commands, True)]
    assert not any(errors[:-1]) and "999999" in errors[-1], errors
    near(cars[0].get_location().distance(s.points[7].location), 0.0, 0.01)  # without physics it hangs where it is put
    s.client.apply_batch([carla.command.DestroyActor(car) for car in cars])
    s.ticks(2)
    assert len(s.world.get_actors().filter("vehicle.*")) == 0


def weather(s: Session) -> None:
    for wanted in (carla.WeatherParameters.HardRainNoon, carla.WeatherParameters.ClearSunset):
        s.world.set_weather(wanted)
        s.ticks(1)
        assert s.world.get_weather() == wanted


def spectator(s: Session) -> None:
    there = carla.Transform(carla.Location(1, 2, 30), carla.Rotation(pitch=-90))
    s.world.get_spectator().set_transform(there)
    s.ticks(1)
    near(s.world.get_spectator().get_transform().location.distance(there.location), 0.0)


def level_and_debug(s: Session) -> None:
    assert list(s.world.get_level_bbs(carla.CityObjectLabel.Buildings)) == []
    assert list(s.world.get_environment_objects(carla.CityObjectLabel.Any)) == []
    place = s.points[0].location
    s.world.debug.draw_point(place)
    s.world.debug.draw_line(place, place + carla.Location(x=1))
    s.world.debug.draw_arrow(place, place + carla.Location(x=1))
    s.world.debug.draw_box(carla.BoundingBox(place, carla.Vector3D(1, 1, 1)), carla.Rotation())
    s.world.debug.draw_string(place, "here")
    assert len(s.world.get_lightmanager().get_all_lights()) == 0
    s.ticks(1)


def unknown_calls(s: Session) -> None:
    for call in (
        lambda: s.client.start_recorder("log"),
        lambda: s.world.cast_ray(carla.Location(), carla.Location(x=1)),
    ):
        try:
            call()
            raise AssertionError("answered")
        except RuntimeError as error:
            assert "not known to the vlarl stand-in" in str(error), error
    assert s.client.get_server_version() == "0.9.16", "and the connection lives on"


def other_maps(s: Session) -> None:
    before, name = s.world.id, s.map.name
    s.car()
    s.world = s.client.load_world("roundabout")
    assert s.world.id != before and s.world.get_map().name.endswith("/roundabout")
    assert len(s.world.get_actors().filter("vehicle.*")) == 0
    assert not s.world.get_settings().synchronous_mode
    s.synchronous()
    number = s.world.id
    s.world = s.client.reload_world(False)
    assert s.world.id != number and s.world.get_settings().synchronous_mode
    s.synchronous()
    try:
        s.client.load_world("Twon01")
        raise AssertionError("loaded")
    except RuntimeError as error:
        assert "map not found" in str(error), error
    text = s.world.get_map().to_opendrive()
    s.world = s.client.generate_opendrive_world(text)
    assert s.world.get_map().name.endswith("OpenDriveMap")
    s.world = s.client.load_world(name)
    s.synchronous()


def traffic_manager(s: Session) -> None:
    # The last check: a client that has had a traffic manager may crash when it loads another map.
    manager = s.client.get_trafficmanager(s.manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(5)
    cars = [s.car(point) for point in range(0, len(s.points), max(1, len(s.points) // 8))][:8]
    s.ticks(1)
    first, *others = cars
    first.set_autopilot(True, manager.get_port())
    commands = [carla.command.SetAutopilot(car.id, True, manager.get_port()) for car in others]
    assert not any(answer.error for answer in s.client.apply_batch_sync(commands))
    places = {car.id: car.get_location() for car in cars}
    driven = dict.fromkeys(places, 0.0)
    offset, stood, ran = 0.0, 0, 0
    at = dict.fromkeys(places, None)
    for _ in range(1200):
        s.world.tick()
        for car in cars:
            here = car.get_location()
            driven[car.id] += here.distance(places[car.id])
            places[car.id] = here
            offset = max(offset, here.distance_2d(s.map.get_waypoint(here).transform.location))
            light = car.get_traffic_light() if car.is_at_traffic_light() else None
            red = light is not None and light.get_state() == carla.TrafficLightState.Red
            stood += red and car.get_velocity().length() < 0.05
            # It was at a light that is red still, and no longer is: it has crossed the line.
            ran += at[car.id] is not None and light is None and at[car.id].get_state() == carla.TrafficLightState.Red
            at[car.id] = light if red else None
    assert sum(driven.values()) / len(cars) > 60.0, driven
    assert offset < 2.0, offset
    assert stood > 20 and ran == 0, (stood, ran)
    other = carla.Client("127.0.0.1", s.port, worker_threads=1)
    other.set_timeout(30.0)
    other.get_world()
    assert other.get_trafficmanager(s.manager_port).get_port() == s.manager_port, "found through the server"
    for car in cars:
        car.set_autopilot(False, manager.get_port())
    manager.shut_down()


def checks_of(names: dict[str, Any]) -> list[Callable[[Session], None]]:
    """The checks of a module, in order."""
    return [item for item in names.values() if getattr(item, "__annotations__", {}).get("s") == "Session"]


CHECKS = [item for m in (client_sensor_checks, client_street_checks) for item in checks_of(vars(m))] + checks_of(
    globals()
)


def main(port: int, manager_port: int, names: list[str]) -> None:
    """Run the checks."""
    session = Session(port, manager_port)
    for check in CHECKS:
        if names and check.__name__ not in names:
            continue
        said = ""
        try:
            check(session)
        except Exception:
            said = traceback.format_exc(limit=-2)
        print(json.dumps({"check": check.__name__, "said": said}), flush=True)
        session.clear()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
