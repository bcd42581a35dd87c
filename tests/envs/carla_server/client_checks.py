"""What the genuine CARLA client finds in the stand-in; run as a script, one JSON line per check.

    python client_checks.py PORT TRAFFIC_MANAGER_PORT [CHECK ...]

Each function is a check. They share one client, leave the world empty, and raise where something is not as in CARLA.
"""

from __future__ import annotations

import json
import math
import queue
import sys
import traceback

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


def traffic_lights(s: Session) -> None:
    lights = s.world.get_actors().filter("traffic.traffic_light")
    landmarks = s.map.get_all_landmarks_of_type("1000001")
    assert len(lights) == len({landmark.id for landmark in landmarks}) > 0
    light = s.world.get_traffic_light(landmarks[0])
    assert light is not None and light.get_opendrive_id() == landmarks[0].id
    assert s.world.get_traffic_light_from_opendrive_id(landmarks[0].id).id == light.id
    near(light.get_location().distance(landmarks[0].transform.location), 0.0, 6.0)
    group = light.get_group_traffic_lights()
    assert light.id in [other.id for other in group]
    assert light.get_affected_lane_waypoints()
    for waypoint in light.get_stop_waypoints():
        assert waypoint.transform.location.distance(light.get_location()) < 40.0
    assert (light.get_green_time(), light.get_yellow_time(), light.get_red_time()) == (10.0, 3.0, 2.0)
    assert len(light.get_light_boxes()) == 1 and light.get_pole_index() == 0
    s.world.reset_all_traffic_lights()
    s.ticks(1)
    states = {other.id: other.get_state() for other in group}
    assert carla.TrafficLightState.Green in states.values() and carla.TrafficLightState.Red in states.values()
    light.set_state(carla.TrafficLightState.Yellow)
    light.set_green_time(4.0)
    light.set_yellow_time(1.5)
    light.set_red_time(0.5)
    s.ticks(1)
    assert light.get_state() == carla.TrafficLightState.Yellow
    assert (light.get_green_time(), light.get_yellow_time(), light.get_red_time()) == (4.0, 1.5, 0.5)
    light.freeze(True)
    s.ticks(1)
    assert light.is_frozen()
    light.freeze(False)
    s.world.freeze_all_traffic_lights(True)
    s.ticks(400)
    assert light.get_state() == carla.TrafficLightState.Yellow
    s.world.freeze_all_traffic_lights(False)
    light.reset_group()
    s.ticks(1)
    assert not light.is_frozen() and light.get_elapsed_time() < 1.0


def walkers(s: Session) -> None:
    blueprint = s.blueprints.filter("walker.pedestrian.*")[0]
    walker = s.world.spawn_actor(blueprint, s.points[0])
    s.ticks(1)
    start = walker.get_location()
    walker.apply_control(carla.WalkerControl(carla.Vector3D(0, 1, 0), 1.5, False))
    s.ticks(20)
    moved = walker.get_location() - start
    near(moved.y, 1.5, 0.1)
    near(moved.x, 0.0)
    near(walker.get_control().speed, 1.5)
    command = carla.command.ApplyWalkerControl(walker.id, carla.WalkerControl(carla.Vector3D(1, 0, 0), 2.0, False))
    assert not s.client.apply_batch_sync([command], True)[0].error
    s.ticks(10)
    assert walker.get_velocity().x > 1.9


def walkers_that_find_their_way(s: Session) -> None:
    s.world.set_pedestrians_seed(3)
    s.world.set_pedestrians_cross_factor(0.0)
    people = []
    for number in range(3):
        place = s.world.get_random_location_from_navigation()
        assert place is not None
        lane = s.map.get_waypoint(place)
        beyond = lane.transform.location.distance_2d(place) - 0.5 * lane.lane_width if lane is not None else 1.0
        assert -1.0 < beyond < 6.0, "on the pavement"
        walker = s.world.spawn_actor(s.blueprints.filter("walker.pedestrian.*")[number], carla.Transform(place))
        people.append((walker, place))
    s.ticks(1)
    for walker, _ in people:
        controller = s.world.spawn_actor(s.blueprints.find("controller.ai.walker"), carla.Transform(), attach_to=walker)
        s.ticks(1)
        controller.start()
        controller.go_to_location(s.world.get_random_location_from_navigation())
        controller.set_max_speed(1.4)
    s.ticks(100)
    moved = sorted(walker.get_location().distance(place) for walker, place in people)
    assert moved[1] > 3.0, moved  # 5 s at 1.4 m/s are 7 m; one may have arrived soon
    for actor in s.world.get_actors().filter("controller.*"):
        actor.stop()


def inertia_and_position(s: Session) -> None:
    car = s.car()
    _, inertia = s.sensor("sensor.other.imu", car)
    _, position = s.sensor("sensor.other.gnss", car)
    car.apply_control(carla.VehicleControl(throttle=1.0))
    s.ticks(10)
    first = at_frame(inertia, s.world.get_snapshot().frame)
    near(first.accelerometer.z, 9.81)
    near(first.accelerometer.x, car.get_acceleration().length(), 0.05)
    near(first.compass, (math.radians(car.get_transform().rotation.yaw) + math.pi / 2) % (2 * math.pi), 1e-3)
    where = at_frame(position, s.world.get_snapshot().frame)
    expected = s.map.transform_to_geolocation(where.transform.location)
    near(where.latitude, expected.latitude, 1e-9)
    near(where.longitude, expected.longitude, 1e-9)


def collisions_and_obstacles(s: Session) -> None:
    car = s.car()
    ahead = carla.Transform(s.points[0].location + s.points[0].get_forward_vector() * 12.0, s.points[0].rotation)
    other = s.world.spawn_actor(s.blueprints.find("vehicle.audi.tt"), ahead)
    _, hits = s.sensor("sensor.other.collision", car)
    _, obstacles = s.sensor("sensor.other.obstacle", car, distance=30)
    car.apply_control(carla.VehicleControl(throttle=1.0))
    s.ticks(80)
    hit = hits.get(timeout=10)
    assert hit.actor.id == car.id and hit.other_actor.id == other.id
    assert hit.normal_impulse.length() > 1000.0
    seen = obstacles.get(timeout=10)
    assert seen.other_actor.id == other.id
    near(seen.distance, 12.0 - 2.09, 0.2)
    gap = car.get_location().distance(other.get_location()) - 2.40 - 2.09
    assert -0.01 < gap < 0.5, "they do not drive through each other"
    assert other.get_location().distance(ahead.location) < 0.5


def lane_invasion(s: Session) -> None:
    car = s.car()
    _, crossed = s.sensor("sensor.other.lane_invasion", car)
    car.apply_control(carla.VehicleControl(throttle=0.7, steer=-0.3))
    s.ticks(60)
    assert crossed.get(timeout=10).crossed_lane_markings


def cameras(s: Session) -> None:
    car = s.car()
    ahead = carla.Transform(s.points[0].location + s.points[0].get_forward_vector() * 20.0, s.points[0].rotation)
    other = s.world.spawn_actor(s.blueprints.find("vehicle.audi.tt"), ahead)
    place = carla.Transform(carla.Location(x=2.5, z=0.7))
    size = {"image_size_x": 64, "image_size_y": 48}
    names = ("rgb", "depth", "semantic_segmentation", "instance_segmentation")
    queues = [s.sensor(f"sensor.camera.{name}", car, place, **size)[1] for name in names]
    frame = s.world.tick()
    images = [at_frame(found, frame) for found in queues]
    assert {(image.frame, image.width, image.height) for image in images} == {(frame, 64, 48)}
    colour, depth, labels, instance = (bytes(image.raw_data) for image in images)
    middle, top = 4 * (24 * 64 + 32), 4 * 32
    blue, green, red = depth[middle : middle + 3]
    near((red + 256 * green + 65536 * blue) / (2**24 - 1) * 1000.0, 20.0 - 2.5 - 2.09, 0.05)
    assert labels[middle + 2] == 14 and labels[top + 2] == 11
    assert instance[middle + 1] == other.id % 256
    assert colour[middle : middle + 3] != colour[top : top + 3]


def lidars_and_radar(s: Session) -> None:
    car = s.car()
    ahead = carla.Transform(s.points[0].location + s.points[0].get_forward_vector() * 15.0, s.points[0].rotation)
    other = s.world.spawn_actor(s.blueprints.find("vehicle.audi.tt"), ahead)
    roof = carla.Transform(carla.Location(z=2.4))
    sweep = {"range": 40, "rotation_frequency": 20, "points_per_second": 64000}
    _, plain = s.sensor("sensor.lidar.ray_cast", car, roof, **sweep)
    _, semantic = s.sensor("sensor.lidar.ray_cast_semantic", car, roof, **sweep)
    _, radar = s.sensor("sensor.other.radar", car, carla.Transform(carla.Location(x=2.5, z=0.7)))
    frame = s.world.tick()
    points = at_frame(plain, frame)
    assert points.channels == 32 and len(points) > 500
    lowest = min(point.point.z for point in points)
    near(lowest, -2.4, 1e-3)
    hits = [point for point in at_frame(semantic, frame) if point.object_idx == other.id]
    assert hits and {hit.object_tag for hit in hits} == {14}
    near(min(hit.point.x for hit in hits), 15.0 - 2.09, 0.3)
    car.apply_control(carla.VehicleControl(throttle=1.0))
    s.ticks(10)
    found = at_frame(radar, s.world.get_snapshot().frame)
    speeds = [detection.velocity for detection in found]
    assert speeds and max(speeds) < -0.5, "all that is ahead comes nearer"


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


CHECKS = [item for name, item in list(globals().items()) if getattr(item, "__annotations__", {}).get("s") == "Session"]


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
