"""What the genuine CARLA client finds of lights and walkers. Each function is a check (see client_checks.py)."""

from __future__ import annotations

import carla

from tests.envs.carla_server.client_session import Session, near


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
