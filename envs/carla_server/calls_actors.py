"""Calls about actors: spawning, moving, driving, asking. A method is a call's name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from envs.carla_server import reading
from envs.carla_server.actors import Actor, Body
from envs.carla_server.limits import CallError
from envs.carla_server.physics import physics_control
from envs.carla_server.wire import Pose
from envs.driving.world.records import Controller

if TYPE_CHECKING:
    from envs.carla_server.episode import Episode
    from envs.carla_server.peers import RpcPeer
    from envs.carla_server.server import CarlaServer


class ActorCalls:
    """See the module."""

    def __init__(self, server: CarlaServer) -> None:
        self._server = server

    @property
    def _episode(self) -> Episode:
        return self._server.episode

    def get_actor_definitions(self, peer: RpcPeer) -> list[Any]:
        """The blueprint library."""
        return [blueprint.packed() for blueprint in self._server.catalogue.by_id.values()]

    def get_spectator(self, peer: RpcPeer) -> list[Any]:
        """The spectator."""
        return self._episode.spectator.packed()

    def get_actors_by_id(self, peer: RpcPeer, ids: list[int]) -> list[Any]:
        """Those of some ids that are there."""
        found = (self._episode.actors.by_id.get(reading.whole(number)) for number in ids)
        return [actor.packed() for actor in found if actor is not None]

    def spawn_actor(self, peer: RpcPeer, description: list[Any], transform: Any) -> list[Any]:
        """Put something into the world."""
        return self.spawn(description, transform).packed()

    def spawn_actor_with_parent(
        self, peer: RpcPeer, description: list[Any], transform: Any, parent: int, attachment: int = 0, socket: str = ""
    ) -> list[Any]:
        """Put something on an actor."""
        return self.spawn(description, transform, reading.whole(parent)).packed()

    def spawn(self, description: Any, transform: Any, parent: int = 0) -> Actor:
        """The same as an actor."""
        if not isinstance(description, list) or len(description) != 3:
            raise CallError(f"actor description is {description!r}; number, blueprint and attributes are needed")
        blueprint = self._server.catalogue.find(reading.text(description[1], "blueprint"))
        return self._episode.spawn(blueprint, description[2], reading.transform(transform), parent)

    def destroy_actor(self, peer: RpcPeer, number: int) -> bool:
        """Take something out of the world."""
        actor = self._episode.actors.find(reading.whole(number), "unable to destroy actor")
        done = self._episode.destroy(actor)
        if done and actor.blueprint.stream is not None:
            self._server.hub.end_stream(actor.id)
        return done

    def set_actor_transform(self, peer: RpcPeer, number: int, transform: Any) -> None:
        """Put an actor elsewhere."""
        self.put(self._episode.actors.find(reading.whole(number), "set_transform"), reading.transform(transform))

    def set_actor_location(self, peer: RpcPeer, number: int, location: Any) -> None:
        """Put an actor elsewhere, as it stands."""
        actor = self._episode.actors.find(reading.whole(number), "set_location")
        self.put(actor, Pose(*reading.place(location), *self._episode.pose(actor)[3:]))

    def put(self, actor: Actor, pose: Pose) -> None:
        """The same for an actor at hand; what is attached moves on its parent."""
        if isinstance(actor, Body):
            body = self._episode.bodies[actor.slot]
            body["x"], body["y"], body["z"] = pose.x, -pose.y, pose.z
            body["heading"] = math.remainder(-math.radians(pose.yaw), 2.0 * math.pi)
        elif actor.parent and actor.offset is not None:
            actor.offset = pose
        else:
            actor.pose = pose

    def set_actor_target_velocity(self, peer: RpcPeer, number: int, velocity: Any) -> None:
        """Give a vehicle a speed: the part of the velocity along it; a walker a velocity."""
        actor = self._episode.actors.body(reading.whole(number), "set_target_velocity")
        self.push(actor, reading.vector(velocity, "velocity"))

    def push(self, actor: Body, velocity: tuple[float, float, float]) -> None:
        """The same for a body at hand."""
        body = self._episode.bodies[actor.slot]
        vx, vy = velocity[0], -velocity[1]
        if not actor.walks:
            heading = float(body["heading"])
            along = vx * math.cos(heading) + vy * math.sin(heading)
            body["speed"], vx, vy = along, along * math.cos(heading), along * math.sin(heading)
        body["velocity_x"], body["velocity_y"] = vx, vy

    def set_actor_target_angular_velocity(self, peer: RpcPeer, number: int, velocity: Any) -> None:
        """Accepted, without effect: the wheels alone turn a vehicle."""
        self._episode.actors.body(reading.whole(number), "set_target_angular_velocity")

    def enable_actor_constant_velocity(self, peer: RpcPeer, number: int, velocity: Any) -> None:
        """Keep a vehicle at a speed along itself."""
        actor = self._episode.actors.vehicle(reading.whole(number), "enable_constant_velocity")
        actor.constant_velocity = reading.vector(velocity, "velocity")

    def disable_actor_constant_velocity(self, peer: RpcPeer, number: int) -> None:
        """End that."""
        self._episode.actors.vehicle(reading.whole(number), "disable_constant_velocity").constant_velocity = None

    def set_actor_simulate_physics(self, peer: RpcPeer, number: int, enabled: bool) -> None:
        """Whether the world moves an actor, or only its client's transforms."""
        actor = self._episode.actors.find(reading.whole(number), "set_simulate_physics")
        if isinstance(actor, Body) and not actor.walks:
            actor.simulated = bool(enabled)
            body = self._episode.bodies[actor.slot]
            body["controller"] = Controller.EXTERNAL if enabled else Controller.STILL
            for name in ("speed", "velocity_x", "velocity_y", "yaw_rate") if not enabled else ():
                body[name] = 0.0

    def set_actor_collisions(self, peer: RpcPeer, number: int, enabled: bool) -> None:
        """Whether a body touches others."""
        actor = self._episode.actors.find(reading.whole(number), "set_collisions")
        if isinstance(actor, Body):
            self._episode.bodies["active"][actor.slot] = bool(enabled)

    def set_actor_dead(self, peer: RpcPeer, number: int) -> None:
        """A walker stays where it is."""
        actor = self._episode.actors.body(reading.whole(number), "set_dead")
        for name in ("velocity_x", "velocity_y", "speed"):
            self._episode.bodies[name][actor.slot] = 0.0

    def set_actor_enable_gravity(self, peer: RpcPeer, number: int, enabled: bool) -> None:
        """Accepted: nothing falls here."""
        self._episode.actors.find(reading.whole(number), "set_enable_gravity")

    def set_actor_autopilot(self, peer: RpcPeer, number: int, enabled: bool) -> None:
        """Accepted: the autopilot is the client's own traffic manager."""
        self._episode.actors.vehicle(reading.whole(number), "set_autopilot")

    def get_actor_bounding_box(self, peer: RpcPeer, number: int) -> list[Any]:
        """The box of an actor."""
        if number in self._episode.actors.gone:
            return self._episode.actors.gone[number]
        return self._episode.actors.find(reading.whole(number), "get_bounding_box").box

    def apply_control_to_vehicle(self, peer: RpcPeer, number: int, control: Any) -> None:
        """Drive a vehicle."""
        self.drive(self._episode.actors.vehicle(reading.whole(number), "apply_control"), control)

    def drive(self, actor: Body, control: Any) -> None:
        """The same for a vehicle at hand."""
        if not isinstance(control, list) or len(control) != 7:
            raise CallError(f"control is {control!r}; seven values are needed")
        throttle, steer, brake = reading.numbers(control[:3], 3, "control")
        hand_brake, reverse, manual = (bool(value) for value in control[3:6])
        throttle, brake, steer = min(max(throttle, 0.0), 1.0), min(max(brake, 0.0), 1.0), min(max(steer, -1.0), 1.0)
        gear = int(reading.number(control[6], "gear"))
        body, record = self._episode.bodies[actor.slot], self._episode.vehicles[actor.slot]
        backwards = reverse or (manual and gear < 0)
        body["throttle_command"] = -throttle if backwards else throttle
        body["brake_command"] = 1.0 if hand_brake else brake
        body["steer_command"] = -steer
        record["throttle"], record["steer"], record["brake"] = throttle, steer, brake
        record["hand_brake"], record["reverse"], record["manual_gear_shift"] = hand_brake, reverse, manual
        record["gear"] = min(max(gear, -1), 6) if manual else -1 if reverse else 1

    def apply_control_to_walker(self, peer: RpcPeer, number: int, control: Any) -> None:
        """Walk."""
        actor = self._episode.actors.body(reading.whole(number), "apply_control")
        self.walk(actor, control)

    def walk(self, actor: Body, control: Any) -> None:
        """The same for a walker at hand."""
        if not actor.walks or not isinstance(control, list) or len(control) != 3:
            raise CallError(f"actor {actor.id}: a walker and its control (direction, speed, jump) are needed")
        direction, speed = reading.vector(control[0], "direction"), reading.number(control[1], "speed")
        actor.guided = False
        body, record = self._episode.bodies[actor.slot], self._episode.walkers[actor.slot]
        length = math.hypot(*direction[:2]) or 1.0
        body["velocity_x"], body["velocity_y"] = speed * direction[0] / length, -speed * direction[1] / length
        body["speed"] = abs(speed)
        if speed > 0.0 and math.hypot(*direction[:2]) > 0.0:
            body["heading"] = math.atan2(-direction[1], direction[0])
        record["direction"], record["speed"], record["jump"] = direction, speed, bool(control[2])

    def get_physics_control(self, peer: RpcPeer, number: int) -> Any:
        """Of a vehicle: what the driving world has of it."""
        actor = self._episode.actors.vehicle(reading.whole(number), "get_physics_control")
        return actor.physics or physics_control(actor.blueprint, self._episode.worlds.settings.vehicle)

    def apply_physics_control(self, peer: RpcPeer, number: int, control: Any) -> None:
        """Kept and given back; all vehicles drive by the one model of the driving world."""
        actor = self._episode.actors.vehicle(reading.whole(number), "apply_physics_control")
        if isinstance(control, list) and len(control) == len(
            physics_control(actor.blueprint, self._episode.worlds.settings.vehicle)
        ):
            actor.physics = control

    def get_vehicle_light_state(self, peer: RpcPeer, number: int) -> list[int]:
        """Lamps of a vehicle."""
        return [self._episode.actors.vehicle(reading.whole(number), "get_light_state").lamps]

    def get_vehicle_light_states(self, peer: RpcPeer) -> list[list[int]]:
        """Lamps of all vehicles."""
        return [[body.id, body.lamps] for body in self._episode.actors.bodies.values() if not body.walks]

    def set_vehicle_light_state(self, peer: RpcPeer, number: int, lamps: Any) -> None:
        """Switch the lamps of a vehicle."""
        actor = self._episode.actors.vehicle(reading.whole(number), "set_light_state")
        value = lamps[0] if isinstance(lamps, list) and len(lamps) == 1 else lamps
        actor.lamps = reading.whole(value, "light state") & 0xFFFFFFFF
        self._episode.bodies["lamps"][actor.slot] = actor.lamps & 0x7FFFFFFF
