"""Fill the town with cars under autopilot and people who walk, as CARLA's generate_traffic.py does."""

import random
import sys

import carla


def main(port: int, manager_port: int) -> None:
    client = carla.Client("localhost", port)
    client.set_timeout(60.0)
    world = client.get_world()
    manager = client.get_trafficmanager(manager_port)
    manager.set_global_distance_to_leading_vehicle(2.5)
    manager.set_random_device_seed(1)
    manager.set_synchronous_mode(True)
    settings = world.get_settings()
    settings.synchronous_mode, settings.fixed_delta_seconds = True, 0.05
    world.apply_settings(settings)
    random.seed(1)
    library = world.get_blueprint_library()
    points = world.get_map().get_spawn_points()
    random.shuffle(points)
    spawn, then_drive = carla.command.SpawnActor, carla.command.SetAutopilot
    batch = []
    for point in points[:15]:
        blueprint = random.choice([b for b in library.filter("vehicle.*") if b.get_attribute("base_type") == "car"])
        if blueprint.has_attribute("color"):
            blueprint.set_attribute("color", random.choice(blueprint.get_attribute("color").recommended_values))
        batch.append(spawn(blueprint, point).then(then_drive(carla.command.FutureActor, True, manager_port)))
    cars = [answer.actor_id for answer in client.apply_batch_sync(batch, True) if not answer.error]
    places = [carla.Transform(world.get_random_location_from_navigation()) for _ in range(5)]
    batch = [spawn(random.choice(library.filter("walker.pedestrian.*")), place) for place in places]
    people = [answer.actor_id for answer in client.apply_batch_sync(batch, True) if not answer.error]
    brain = library.find("controller.ai.walker")
    batch = [spawn(brain, carla.Transform(), person) for person in people]
    brains = [answer.actor_id for answer in client.apply_batch_sync(batch, True) if not answer.error]
    world.tick()
    for controller in world.get_actors(brains):
        controller.start()
        controller.go_to_location(world.get_random_location_from_navigation())
        controller.set_max_speed(1.4)
    before = {actor.id: actor.get_location() for actor in world.get_actors(cars + people)}
    manager.global_percentage_speed_difference(10.0)
    for _ in range(300):
        world.tick()
    moved = [actor.get_location().distance(before[actor.id]) for actor in world.get_actors(cars + people)]
    assert len(cars) == 15 and len(people) >= 3, (cars, people)
    assert sum(distance > 3.0 for distance in moved) >= 0.6 * len(moved), moved
    for controller in world.get_actors(brains):
        controller.stop()
    client.apply_batch_sync([carla.command.DestroyActor(number) for number in brains + people + cars], True)
    manager.shut_down()
    print("done:", len(cars), "cars,", len(people), "people")


main(int(sys.argv[1]), int(sys.argv[2]))
