"""A loop as in CARLA's manual_control.py: keys become controls, a camera follows, a display shows numbers."""

import sys

import carla


class Display:
    """What would be on the screen."""

    def __init__(self) -> None:
        self.frames, self.last, self.crashes, self.lines, self.speed = 0, None, 0, 0, 0.0

    def on_image(self, image: carla.Image) -> None:
        self.frames, self.last = self.frames + 1, image


KEYS = ["w"] * 60 + ["wd"] * 15 + ["w"] * 10 + ["s"] * 60 + ["q", "w"] + ["w"] * 30 + ["space"] * 20


def main(port: int) -> None:
    client = carla.Client("localhost", port)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    library, display = world.get_blueprint_library(), Display()
    blueprint = library.filter("vehicle.tesla.model3")[0]
    blueprint.set_attribute("role_name", "hero")
    player = world.spawn_actor(blueprint, world.get_map().get_spawn_points()[2])
    camera = library.find("sensor.camera.rgb")
    camera.set_attribute("image_size_x", "160")
    camera.set_attribute("image_size_y", "90")
    behind = carla.Transform(carla.Location(x=-5.5, z=2.8), carla.Rotation(pitch=-15))
    sensors = [world.spawn_actor(camera, behind, attach_to=player, attachment_type=carla.AttachmentType.SpringArmGhost)]
    sensors[0].listen(display.on_image)
    for name in ("sensor.other.collision", "sensor.other.lane_invasion", "sensor.other.gnss", "sensor.other.imu"):
        sensors.append(world.spawn_actor(library.find(name), carla.Transform(), attach_to=player))
    sensors[1].listen(lambda event: setattr(display, "crashes", display.crashes + 1))
    sensors[2].listen(lambda event: setattr(display, "lines", display.lines + 1))
    sensors[3].listen(lambda event: setattr(display, "where", (event.latitude, event.longitude)))
    sensors[4].listen(lambda event: setattr(display, "compass", event.compass))
    control, fastest, backwards = carla.VehicleControl(), 0.0, False
    for keys in KEYS:
        control.throttle = min(control.throttle + 0.1, 1.0) if "w" in keys else 0.0
        control.brake = min(control.brake + 0.2, 1.0) if keys == "s" else 0.0
        control.steer = 0.3 if "d" in keys else 0.0
        control.hand_brake = keys == "space"
        if keys == "q":
            control.gear = 1 if control.reverse else -1
        control.reverse = control.gear < 0
        player.apply_control(control)
        world.tick()
        velocity, forward = player.get_velocity(), player.get_transform().get_forward_vector()
        along = velocity.x * forward.x + velocity.y * forward.y
        fastest, backwards = max(fastest, along), backwards or along < -0.5
    world.tick()
    assert fastest > 5.0 and backwards and abs(along) < 0.5, (fastest, backwards, along)
    assert display.frames > 100 and display.last.width == 160, display.frames
    for sensor in sensors:
        sensor.stop()
        sensor.destroy()
    player.destroy()
    print("done:", display.frames, "frames")


main(int(sys.argv[1]))
