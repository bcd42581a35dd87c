"""Batches of commands: each is answered by itself, and one that fails does not stop the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envs.carla_server import reading
from envs.carla_server.calls_actors import ActorCalls
from envs.carla_server.calls_lights import LightCalls
from envs.carla_server.limits import CallError
from envs.carla_server.wire import Raw, answer, refusal

if TYPE_CHECKING:
    from envs.carla_server.peers import RpcPeer
    from envs.carla_server.server import CarlaServer

NESTED = 3
"""So deep may commands follow on commands."""


class BatchCalls:
    """See the module. A command is ``[[number, fields]]``; the numbers are places in LibCarla's ``rpc/Command.h``."""

    def __init__(self, server: CarlaServer, actors: ActorCalls, lights: LightCalls) -> None:
        self._server, self._actors, self._lights = server, actors, lights
        self._commands: dict[int, Callable[..., Any]] = {
            1: actors.destroy_actor,
            2: actors.apply_control_to_vehicle,
            4: actors.apply_control_to_walker,
            5: actors.apply_physics_control,
            6: actors.set_actor_transform,
            7: self._walker_state,
            8: actors.set_actor_target_velocity,
            9: actors.set_actor_target_angular_velocity,
            14: actors.set_actor_simulate_physics,
            15: actors.set_actor_enable_gravity,
            16: actors.set_actor_autopilot,
            18: actors.set_vehicle_light_state,
            19: actors.set_actor_location,
            21: lights.set_traffic_light_state,
        }

    def apply_batch(self, peer: RpcPeer, commands: list[Any], tick: bool = False) -> Raw:
        """Run the commands in turn, then let a tick pass if that is wanted."""
        most = self._server.limits.commands
        if not isinstance(commands, list) or len(commands) > most:
            raise CallError(f"apply_batch: a list of at most {most} commands is needed")
        answers = [self._run(peer, command, 0) for command in commands]
        if tick is True:
            self._server.tick()
        return Raw(answers)

    def _run(self, peer: RpcPeer, command: Any, depth: int, actor: int = 0) -> Any:
        try:
            return answer(self._execute(peer, command, depth, actor))
        except (CallError, TypeError) as error:
            return refusal(str(error))

    def _execute(self, peer: RpcPeer, command: Any, depth: int, actor: int) -> int:
        """Run one command; returns the id of the actor. ``actor`` stands in where the command names none."""
        if not (isinstance(command, list) and len(command) == 1 and isinstance(command[0], list)):
            raise CallError(f"command {command!r} is not [[number, fields]]")
        if len(command[0]) != 2 or not isinstance(command[0][1], list) or not command[0][1]:
            raise CallError(f"command {command!r} is not [[number, fields]]")
        number, fields = command[0]
        if number == 0:
            return self._spawn(peer, fields, depth, actor)
        if number not in self._commands:
            raise CallError(f"command {number} of apply_batch is not known to this stand-in")
        target = actor if fields[0] == 0 and actor else fields[0]
        if self._commands[number](peer, target, *fields[1:]) is False:
            raise CallError(f"unable to destroy actor {target}: it belongs to the map")
        return reading.whole(target)

    def _spawn(self, peer: RpcPeer, fields: list[Any], depth: int, actor: int) -> int:
        if len(fields) != 6 or not isinstance(fields[2], list) or not isinstance(fields[5], list):
            raise CallError("a spawn command needs description, transform, parent, attachment, socket, what follows")
        description, transform, parent, _, _, following = fields
        if depth >= NESTED or len(following) > self._server.limits.commands:
            raise CallError("commands follow on commands too often")
        holder = (reading.whole(parent[1]) or actor) if len(parent) == 2 and parent[0] else 0
        spawned = self._actors.spawn(description, transform, holder)
        for command in following:
            self._run(peer, command, depth + 1, spawned.id)
        return spawned.id

    def _walker_state(self, peer: RpcPeer, number: int, transform: Any, speed: float) -> None:
        """Put a walker somewhere with a speed: how the client's own navigation moves it."""
        episode = self._server.episode
        actor = episode.actors.body(reading.whole(number), "apply_walker_state")
        pose, speed = reading.transform(transform), reading.number(speed, "speed")
        actor.guided = True
        self._actors.put(actor, pose._replace(z=pose.z + actor.blueprint.size[2]))  # the origin is its middle
        body = episode.bodies[actor.slot]
        heading = math.radians(pose.yaw)
        body["velocity_x"], body["velocity_y"] = speed * math.cos(heading), -speed * math.sin(heading)
        body["speed"] = speed
        record = episode.walkers[actor.slot]
        record["direction"], record["speed"] = (math.cos(heading), math.sin(heading), 0.0), speed
