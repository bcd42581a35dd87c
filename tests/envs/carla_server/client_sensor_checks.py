"""What the genuine CARLA client gets from the stand-in's sensors. Each function is a check (see client_checks.py)."""

from __future__ import annotations

import math

import carla

from tests.envs.carla_server.client_session import Session, at_frame, near


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
