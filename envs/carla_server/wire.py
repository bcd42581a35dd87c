"""CARLA 0.9.16 on the wire: answers, stream tokens, sensor headers, records of actors.

Calls are msgpack-rpc: ``[0, number, name, [[asynchronous], arguments ...]]``, answered by ``[1, number, nil,
result]``. A result is ``[[1, value]]``, of a call without value ``[[false]]``, an error ``[[0, [text]]]``; a struct
is the array of its fields; an optional is ``[true, value]`` or ``[false]``. Streams carry ``u32 length`` and that
many bytes, of which the first 48 are the header of :func:`sensor_header`. All numbers are little-endian. The layout
is that of LibCarla's headers (``rpc/``, ``sensor/data/ActorDynamicState.h``, ``sensor/SensorRegistry.h``), confirmed
against the 0.9.16 wheel: a client that gets another length aborts.
"""

from __future__ import annotations

import enum
import struct
from typing import Any, NamedTuple

import numpy as np

VERSION = "0.9.16"
BACKEND = "vlarl stand-in"
"""What this server calls itself: in the names of its maps, in an attribute of the spectator, in every result."""
WORLD_STREAM = 1
"""Stream of the world's states; sensors stream under their actor's id."""
ACTIVE = 1
"""State of an actor that takes part."""


class Stream(enum.IntEnum):
    """Place of a sensor type in the client's registry."""

    COLLISION = 0
    DEPTH = 1
    GNSS = 4
    IMU = 5
    LANE_INVASION = 6
    OBSTACLE = 7
    RADAR = 9
    SEMANTIC_LIDAR = 10
    LIDAR = 11
    RGB = 13
    SEMANTIC = 14
    INSTANCE = 15
    WORLD = 17


CAMERAS = (Stream.RGB, Stream.DEPTH, Stream.SEMANTIC, Stream.INSTANCE)
LIDARS = (Stream.LIDAR, Stream.SEMANTIC_LIDAR)


class Pose(NamedTuple):
    """A place in CARLA's left-handed frame: metres, and degrees clockwise seen from above."""

    x: float
    y: float
    z: float
    pitch: float
    yaw: float
    roll: float

    def packed(self) -> list[list[float]]:
        """As a call's argument or result."""
        return [[self.x, self.y, self.z], [self.pitch, self.yaw, self.roll]]

    def attached(self, offset: Pose) -> Pose:
        """The place of something fixed at ``offset`` to a body that stands upright here."""
        cos, sin = np.cos(np.radians(self.yaw)), np.sin(np.radians(self.yaw))
        return Pose(
            self.x + offset.x * float(cos) - offset.y * float(sin),
            self.y + offset.x * float(sin) + offset.y * float(cos),
            self.z + offset.z,
            offset.pitch,
            self.yaw + offset.yaw,
            offset.roll,
        )


class Raw(NamedTuple):
    """A result that goes out without the usual envelope (only batches do)."""

    value: Any


_BODY = [
    ("id", "<u4"),
    ("state", "u1"),
    ("location", "<f4", (3,)),
    ("rotation", "<f4", (3,)),
    ("velocity", "<f4", (3,)),
    ("angular_velocity", "<f4", (3,)),
    ("acceleration", "<f4", (3,)),
]
BODY = np.dtype([*_BODY, ("rest", "u1", (54,))])
"""What every actor's record begins with; the rest depends on what it is."""
VEHICLE = np.dtype(
    [
        *_BODY,
        ("throttle", "<f4"),
        ("steer", "<f4"),
        ("brake", "<f4"),
        ("hand_brake", "u1"),
        ("reverse", "u1"),
        ("manual_gear_shift", "u1"),
        ("gear", "<i4"),
        ("speed_limit", "<f4"),  # km/h
        ("light_state", "u1"),
        ("at_light", "u1"),
        ("light", "<u4"),  # id of the actor
        ("failure", "u1"),
        ("padding", "u1", (24,)),
    ]
)
WALKER = np.dtype([*_BODY, ("direction", "<f4", (3,)), ("speed", "<f4"), ("jump", "u1"), ("padding", "u1", (37,))])
LIGHT = np.dtype(
    [
        *_BODY,
        ("sign", "S32"),
        ("green", "<f4"),  # seconds
        ("yellow", "<f4"),
        ("red", "<f4"),
        ("elapsed", "<f4"),
        ("pole", "<u4"),
        ("frozen", "u1"),
        ("light_state", "u1"),
    ]
)
RECORD_BYTES = 119
assert {layout.itemsize for layout in (BODY, VEHICLE, WALKER, LIGHT)} == {RECORD_BYTES}

_HEADER = struct.Struct("<QQd6f")
_EPISODE = struct.Struct("<Qdf3iI")
_TOKEN = struct.Struct("<IHBB16x")


def answer(value: Any) -> Any:
    """The envelope of a result; None is that of a call without value."""
    if isinstance(value, Raw):
        return value.value
    return [[False]] if value is None else [[1, value]]


def refusal(text: str) -> Any:
    """The envelope of an error."""
    return [[0, [text]]]


def token(stream: int, port: int) -> bytes:
    """Where a stream is to be had: over TCP, at the address that the client knows the server by."""
    return _TOKEN.pack(stream, port, 1, 0)


def sensor_header(kind: Stream, frame: int, seconds: float, pose: Pose) -> bytes:
    """What every message of a stream begins with."""
    return _HEADER.pack(kind, frame, seconds, *pose)


def world_header(episode: int, wall_seconds: float, delta: float, map_changed: bool) -> bytes:
    """What a state of the world begins with, after the sensor header; records of actors follow."""
    return _EPISODE.pack(episode, wall_seconds, delta, 0, 0, 0, int(map_changed))
