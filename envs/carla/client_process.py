"""CARLA's client in a process of its own: ``python client_process.py FD`` answers requests on a socket.

The client library ends its process when a server dies under its traffic manager; so it must not live where episodes
are collected. This file imports the standard library and ``carla`` alone and may run in any interpreter that has it.
Places are CARLA's: left-handed, metres, degrees. See :class:`envs.carla.link.Link` for who asks.
"""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection
from typing import Any

import carla

GROUND = ("static.road", "static.ground", "static.terrain", "static.sidewalk")
"""Touching these is driving, not a collision (CARLA reports them when a vehicle is put down)."""
LIFT = 0.3
"""Vehicles are put so far above the road, as at CARLA's own spawn points, metres."""
WALKER_LIFT = 1.0
STATES = (carla.TrafficLightState.Red, carla.TrafficLightState.Yellow, carla.TrafficLightState.Green)


class Session:
    """One connection and whoever it has put into the world."""

    def __init__(self, host: str, port: int, timeout: float, map_name: str, step_seconds: float) -> None:
        self.client = carla.Client(host, port, worker_threads=1)
        self.client.set_timeout(timeout)
        self.world = self.client.get_world()
        if map_name and self.world.get_map().name.rsplit("/", 1)[-1].lower() != map_name.lower():
            self.world = self.client.load_world(self.find_map(map_name))
        self.before = self.world.get_settings()
        settings = self.world.get_settings()
        settings.synchronous_mode, settings.fixed_delta_seconds = True, step_seconds
        self.world.apply_settings(settings)
        self.world.tick()
        self.map = self.world.get_map()
        self.manager: Any = None
        self.manager_port = 0
        self.actors: dict[int, Any] = {}
        """By slot."""
        self.boxes: dict[int, Any] = {}
        """By slot."""
        self.slots: dict[int, int] = {}
        """By the actor's id."""
        self.hits: list[tuple[int, str]] = []
        self.sensor: Any = None
        self.lights = {light.id: light for light in self.world.get_actors().filter("traffic.traffic_light*")}

    def find_map(self, name: str) -> str:
        """The server's own name of a map."""
        names = self.client.get_available_maps()
        for full in names:
            if full.rsplit("/", 1)[-1].lower() == name.lower():
                return full
        raise LookupError(f"the server has no map {name!r}; it has {', '.join(sorted(names))}")

    def describe(self) -> dict[str, Any]:
        """What there is: the map, and where the lights' stop lines are."""
        lines = {}
        for number, light in self.lights.items():
            places = [waypoint.transform for waypoint in light.get_stop_waypoints()]
            lines[number] = [(place.location.x, place.location.y, place.rotation.yaw) for place in places]
        return {"map": self.map.name, "opendrive": self.map.to_opendrive(), "lines": lines}

    def begin(self, bodies: list[dict[str, Any]], seed: int, settle: int, lights: dict[int, int]) -> dict[str, Any]:
        """Put an episode's bodies into the world; slot 0 is the ego.

        Returns the half extents of those that have found room, and where all are after ``settle`` ticks.
        """
        self.clear()
        self.world.freeze_all_traffic_lights(True)
        self.set_lights(lights)
        library, refused = self.world.get_blueprint_library(), {}
        for body in bodies:
            try:
                self.spawn(library, body)
            except (RuntimeError, IndexError) as error:
                refused[body["slot"]] = str(error)
        if 0 in refused:
            raise RuntimeError(f"the ego cannot be put at its start: {refused[0]}")
        self.sensor = self.world.spawn_actor(
            library.find("sensor.other.collision"), carla.Transform(), attach_to=self.actors[0]
        )
        self.sensor.listen(lambda event: self.hits.append((event.other_actor.id, event.other_actor.type_id)))
        self.actors[0].apply_control(carla.VehicleControl(brake=1.0))
        for _ in range(max(settle, 1)):
            self.world.tick()
        self.drive_traffic([body for body in bodies if body["slot"] in self.actors], seed)
        self.hits.clear()
        extents = {slot: (box.extent.x, box.extent.y, box.extent.z) for slot, box in self.boxes.items()}
        return {"extents": extents, "refused": refused, "bodies": self.show()}

    def spawn(self, library: Any, body: dict[str, Any]) -> None:
        """Put one body into the world."""
        names = [blueprint.id for blueprint in library.filter(body["blueprint"])]
        blueprint = library.find(sorted(names)[body["slot"] % len(names)])
        for name, value in (("role_name", "hero" if body["slot"] == 0 else "autopilot"), ("is_invincible", "false")):
            if blueprint.has_attribute(name):
                blueprint.set_attribute(name, value)
        walks = body["who"] == "walker"
        place = carla.Location(body["x"], body["y"], body["z"] + (WALKER_LIFT if walks else LIFT))
        actor = self.world.spawn_actor(blueprint, carla.Transform(place, carla.Rotation(yaw=body["yaw"])))
        slot = body["slot"]
        self.actors[slot], self.slots[actor.id], self.boxes[slot] = actor, slot, actor.bounding_box
        if body["who"] == "still":
            actor.apply_control(carla.VehicleControl(hand_brake=True, brake=1.0))

    def drive_traffic(self, bodies: list[dict[str, Any]], seed: int) -> None:
        """Give the traffic its speed and hand it to the traffic manager."""
        if self.manager is None:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.manager_port = free.getsockname()[1]
            self.manager = self.client.get_trafficmanager(self.manager_port)
            self.manager.set_synchronous_mode(True)
        self.manager.set_random_device_seed(seed)
        for body in bodies:
            if body["who"] != "traffic":
                continue
            actor = self.actors[body["slot"]]
            ahead = actor.get_transform().get_forward_vector()
            speed = body["speed"]
            actor.set_target_velocity(carla.Vector3D(speed * ahead.x, speed * ahead.y, 0.0))
            actor.set_autopilot(True, self.manager_port)
            self.manager.vehicle_percentage_speed_difference(actor, 100.0 * (1.0 - body["pace"]))
            if not body["obeys_lights"]:
                self.manager.ignore_lights_percentage(actor, 100.0)

    def advance(
        self,
        control: tuple[float, float, float],
        walks: dict[int, tuple[float, float, float]],
        lights: dict[int, int],
        ticks: int,
    ) -> dict[str, Any]:
        """Drive the ego, walk the walkers, set lights, let ticks pass.

        Returns where everybody is and what the ego has touched: slots, -1 for what is none of ours.
        """
        throttle, steer, brake = control
        self.actors[0].apply_control(carla.VehicleControl(throttle=throttle, steer=steer, brake=brake))
        commands = []
        for slot, (x, y, speed) in walks.items():
            walk = carla.WalkerControl(carla.Vector3D(x, y, 0.0), speed, False)
            commands.append(carla.command.ApplyWalkerControl(self.actors[slot].id, walk))
        if commands:
            self.client.apply_batch(commands)
        self.set_lights(lights)
        for _ in range(ticks):
            self.world.tick()
        hits, self.hits = self.hits, []
        touched = [self.slots.get(number, -1) for number, name in hits if not name.startswith(GROUND)]
        return {"bodies": self.show(), "touched": touched}

    def set_lights(self, lights: dict[int, int]) -> None:
        """Make lights show 0 (red), 1 (yellow) or 2 (green)."""
        for number, state in lights.items():
            self.lights[number].set_state(STATES[state])

    def show(self) -> dict[int, tuple[float, ...]]:
        """Slot -> middle and bottom of its box, yaw, velocity and yaw rate; those that are gone are left out."""
        snapshot, shown = self.world.get_snapshot(), {}
        for slot, actor in self.actors.items():
            seen = snapshot.find(actor.id)
            if seen is None:
                continue
            transform, velocity, box = seen.get_transform(), seen.get_velocity(), self.boxes[slot]
            middle = transform.transform(carla.Location(box.location))
            shown[slot] = (
                middle.x,
                middle.y,
                middle.z - box.extent.z,
                transform.rotation.yaw,
                velocity.x,
                velocity.y,
                seen.get_angular_velocity().z,
            )
        return shown

    def clear(self) -> None:
        """Take everybody out."""
        if self.sensor is not None:
            self.sensor.stop()
            self.sensor.destroy()
            self.sensor = None
        self.client.apply_batch_sync([carla.command.DestroyActor(actor.id) for actor in self.actors.values()], True)
        self.actors, self.slots, self.boxes = {}, {}, {}

    def end(self) -> None:
        """Leave the server as it was found."""
        self.clear()
        if self.manager is not None:
            self.manager.shut_down()
        self.world.freeze_all_traffic_lights(False)
        self.world.apply_settings(self.before)


def main(descriptor: int) -> None:
    """Answer requests ``(name, arguments)`` with ``(True, result)`` or ``(False, text)`` until the socket closes."""
    connection, session = Connection(descriptor), None
    while True:
        try:
            name, arguments = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if name == "connect":
                session = Session(**arguments)
                result = session.describe()
            else:
                result = getattr(session, name)(**arguments)
        except Exception as error:  # whatever goes wrong is the answer
            connection.send((False, f"{type(error).__name__}: {error}"))
        else:
            connection.send((True, result))
        if name == "end":
            return


if __name__ == "__main__":
    main(int(sys.argv[1]))
