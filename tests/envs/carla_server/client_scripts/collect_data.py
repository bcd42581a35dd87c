"""A synchronous data collector: every frame of every sensor, in step with the world, as synchronous_mode.py does it."""

import queue
import sys

import carla


class InStep:
    """Ticks the world and returns the data of that very frame from everybody."""

    def __init__(self, world: carla.World, *sensors: carla.Sensor) -> None:
        self.world, self.queues = world, []
        for register in (world.on_tick, *(sensor.listen for sensor in sensors)):
            found: queue.Queue = queue.Queue()
            register(found.put)
            self.queues.append(found)

    def tick(self) -> list:
        frame = self.world.tick()
        return [self._of(found, frame) for found in self.queues]

    def _of(self, found: queue.Queue, frame: int):
        while True:
            data = found.get(timeout=30.0)
            if data.frame == frame:
                return data


def main(port: int) -> None:
    client = carla.Client("localhost", port)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.1
    world.apply_settings(settings)
    library = world.get_blueprint_library()
    waypoint = world.get_map().get_waypoint(world.get_map().get_spawn_points()[0].location)
    car = world.spawn_actor(library.find("vehicle.lincoln.mkz_2020"), world.get_map().get_spawn_points()[0])
    car.set_simulate_physics(False)
    sensors = []
    for name in ("rgb", "depth", "semantic_segmentation"):
        blueprint = library.find(f"sensor.camera.{name}")
        blueprint.set_attribute("image_size_x", "64")
        blueprint.set_attribute("image_size_y", "64")
        sensors.append(world.spawn_actor(blueprint, carla.Transform(carla.Location(x=1.5, z=2.0)), attach_to=car))
    sensors.append(world.spawn_actor(library.find("sensor.other.imu"), carla.Transform(), attach_to=car))
    in_step, rows = InStep(world, *sensors), []
    world.tick()
    for _ in range(40):
        snapshot, colour, depth, labels, _ = in_step.tick()
        waypoint = waypoint.next(1.5)[0]
        car.set_transform(waypoint.transform)
        rows.append((snapshot.frame, bytes(colour.raw_data), bytes(depth.raw_data), bytes(labels.raw_data)))
        assert snapshot.find(car.id).get_transform().location.distance(colour.transform.location) < 3.0
    frames = [row[0] for row in rows]
    assert frames == list(range(frames[0], frames[0] + 40))
    assert len({row[1] for row in rows}) > 20, "the world goes by"
    for actor in (*sensors, car):
        if isinstance(actor, carla.Sensor):
            actor.stop()
        actor.destroy()
    print("done:", len(rows), "frames of", len(sensors), "sensors")


main(int(sys.argv[1]))
