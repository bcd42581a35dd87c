"""One car under autopilot drives until it has waited at a red light and gone on, and crosses none that is red."""

import sys

import carla


def main(port: int, manager_port: int) -> None:
    client = carla.Client("localhost", port)
    client.set_timeout(60.0)
    world = client.get_world()
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    manager = client.get_trafficmanager(manager_port)
    manager.set_synchronous_mode(True)
    manager.set_random_device_seed(2)
    car = world.spawn_actor(
        world.get_blueprint_library().find("vehicle.tesla.model3"), world.get_map().get_spawn_points()[4]
    )
    world.tick()
    car.set_autopilot(True, manager_port)
    manager.vehicle_percentage_speed_difference(car, -20.0)
    driven, waited, last, inside, crossed_on_red = 0.0, 0, car.get_location(), False, 0
    stands = True
    for _ in range(8000):
        if driven > 200.0 and waited > 0 and not stands:
            break
        world.tick()
        here = car.get_location()
        driven, last = driven + here.distance(last), here
        red = car.is_at_traffic_light() and car.get_traffic_light_state() == carla.TrafficLightState.Red
        stands = car.get_velocity().length() < 0.1
        waited += red and stands
        now_inside = world.get_map().get_waypoint(here).is_junction
        crossed_on_red += now_inside and not inside and red
        inside = now_inside
    assert driven > 200.0, driven
    assert waited > 0 and crossed_on_red == 0, (waited, crossed_on_red)
    car.set_autopilot(False, manager_port)
    car.destroy()
    manager.shut_down()
    print(f"done: {driven:.0f} m, {waited * 0.05:.0f} s at red lights")


main(int(sys.argv[1]), int(sys.argv[2]))
