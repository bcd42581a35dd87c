"""What sensors send after a tick: collisions, inertial measurements, positions, obstacles, images.

Lane-invasion sensors live in the client, which sees them from the map and the states of the world.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np

from envs.carla_server.actors import Body, Sensor
from envs.carla_server.cameras import Camera
from envs.carla_server.episode import Episode
from envs.carla_server.geodesy import locate
from envs.carla_server.lidar import sweep
from envs.carla_server.radar import detect
from envs.carla_server.wire import CAMERAS, LIDARS, Stream, sensor_header

GRAVITY = 9.81
_IMAGE = struct.Struct("<IIf")


class Sensors:
    """The sensors of an episode.

    Args:
        episode: whose.
        camera: draws.
    """

    def __init__(self, episode: Episode, camera: Camera) -> None:
        self._episode, self._camera = episode, camera
        self._makers: dict[Stream, Callable[[Sensor], Iterator[bytes]]] = {
            Stream.COLLISION: self._collisions,
            Stream.IMU: self._inertia,
            Stream.GNSS: self._position,
            Stream.OBSTACLE: self._obstacle,
            Stream.RADAR: self._radar,
            **dict.fromkeys(CAMERAS, self._image),
            **dict.fromkeys(LIDARS, self._sweep),
        }

    def publish(self, listened: Callable[[int], bool], send: Callable[..., None]) -> None:
        """Send what those sensors have that are due and that somebody listens to."""
        episode = self._episode
        for sensor in tuple(episode.actors.sensors.values()):
            stream = sensor.blueprint.stream
            if stream not in self._makers or not listened(sensor.id) or episode.time + 1e-6 < sensor.due:
                continue
            sensor.due = episode.time + sensor.attribute("sensor_tick")
            header = sensor_header(stream, episode.frame, episode.time, episode.pose(sensor))
            for message in self._makers[stream](sensor):
                send(sensor.id, header, message)
            sensor.last = episode.time

    def _parent(self, sensor: Sensor) -> Body | None:
        parent = self._episode.actors.by_id.get(sensor.parent)
        return parent if isinstance(parent, Body) else None

    def _collisions(self, sensor: Sensor) -> Iterator[bytes]:
        for contact in self._episode.contacts:
            if contact.body.id == sensor.parent:
                yield _pack([contact.body.packed(), contact.other.packed(), list(contact.impulse)])

    def _inertia(self, sensor: Sensor) -> Iterator[bytes]:
        parent, yaw = self._parent(sensor), math.radians(self._episode.pose(sensor).yaw)
        ahead = right = turn = 0.0
        if parent is not None:
            body = self._episode.bodies[parent.slot]
            along, across = float(body["acceleration"]), -float(body["lateral_acceleration"])
            angle = math.radians(sensor.offset.yaw if sensor.offset is not None else 0.0)
            ahead = along * math.cos(angle) + across * math.sin(angle)
            right = across * math.cos(angle) - along * math.sin(angle)
            turn = -float(body["yaw_rate"])
        compass = (yaw + math.pi / 2.0) % (2.0 * math.pi)
        yield _pack([[ahead, right, GRAVITY], [0.0, 0.0, turn], compass])

    def _position(self, sensor: Sensor) -> Iterator[bytes]:
        pose = self._episode.pose(sensor)
        yield _pack([*locate(self._episode.origin, pose.x, pose.y), pose.z])

    def _obstacle(self, sensor: Sensor) -> Iterator[bytes]:
        parent = self._parent(sensor)
        reach, radius = sensor.attribute("distance", 5.0), sensor.attribute("hit_radius", 0.5)
        pose = self._episode.pose(sensor)
        heading = -math.radians(pose.yaw)
        nearest: tuple[float, Body | None] = (reach, None)
        for slot, body in self._episode.actors.bodies.items():
            if body is parent:
                continue
            distance = _distance(self._episode.bodies[slot], pose.x, -pose.y, heading, radius)
            if distance <= nearest[0]:
                nearest = (distance, body)
        if parent is not None and nearest[1] is not None:
            yield _pack([parent.packed(), nearest[1].packed(), nearest[0]])

    def _image(self, sensor: Sensor) -> Iterator[bytes]:
        width, height = int(sensor.attribute("image_size_x", 800)), int(sensor.attribute("image_size_y", 600))
        field_of_view = sensor.attribute("fov", 90.0)
        pose = self._episode.pose(sensor)
        stream = sensor.blueprint.stream
        assert stream is not None
        pixels = self._camera.draw(stream, pose, width, height, field_of_view, self._parent(sensor))
        yield b"".join((_IMAGE.pack(width, height, field_of_view), pixels))

    def _since(self, sensor: Sensor) -> float:
        """Seconds since a sensor sent last."""
        return self._episode.delta if sensor.last < 0.0 else self._episode.time - sensor.last

    def _radar(self, sensor: Sensor) -> Iterator[bytes]:
        yield detect(sensor, self._episode, self._camera, self._since(sensor), self._parent(sensor))

    def _sweep(self, sensor: Sensor) -> Iterator[bytes]:
        episode, seconds = self._episode, self._since(sensor)
        pose, parent = episode.pose(sensor), self._parent(sensor)
        message, sensor.angle = sweep(sensor, self._camera, pose, seconds, sensor.angle, parent, episode.limits)
        yield message


def _pack(value: Any) -> bytes:
    return msgpack.packb(value, use_single_float=False)


def _distance(body: Any, x: float, y: float, heading: float, radius: float) -> float:
    """Metres from a place to a body's box straight ahead, ``radius`` to either side; infinity if it is elsewhere."""
    dx, dy = float(body["x"]) - x, float(body["y"]) - y
    ahead = dx * math.cos(heading) + dy * math.sin(heading)
    aside = abs(dy * math.cos(heading) - dx * math.sin(heading))
    turn = float(body["heading"]) - heading
    cos, sin = abs(np.cos(turn)), abs(np.sin(turn))
    length, width = float(body["half_length"]), float(body["half_width"])
    if aside > length * sin + width * cos + radius or ahead < 0.0:
        return math.inf
    return max(ahead - length * cos - width * sin, 0.0)
