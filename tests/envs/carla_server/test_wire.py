"""The layout on the wire, against bytes written out by hand from the documented format."""

from __future__ import annotations

import struct

import msgpack
import numpy as np
import pytest

from envs.carla_server.wire import (
    LIGHT,
    VEHICLE,
    WALKER,
    Pose,
    Stream,
    answer,
    refusal,
    sensor_header,
    token,
    world_header,
)


def test_vehicle_record():
    record = np.zeros(1, VEHICLE)
    record["id"], record["state"] = 0x01020304, 1
    record["location"], record["rotation"] = (1.0, 2.0, 3.0), (0.0, 90.0, 0.0)
    record["velocity"], record["acceleration"] = (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)
    record["throttle"], record["steer"], record["brake"] = 0.5, -0.25, 1.0
    record["hand_brake"], record["gear"], record["speed_limit"] = 1, -1, 30.0
    record["light_state"], record["at_light"], record["light"] = 2, 1, 7
    expected = struct.pack("<IB6f", 0x01020304, 1, 1, 2, 3, 0, 90, 0) + struct.pack("<9f", 4, 5, 6, 0, 0, 0, 7, 8, 9)
    expected += struct.pack("<3f3Bi", 0.5, -0.25, 1.0, 1, 0, 0, -1) + struct.pack("<fBBIB", 30.0, 2, 1, 7, 0)
    assert record.tobytes() == expected + bytes(24)
    assert len(record.tobytes()) == 119


def test_light_and_walker_records():
    light = np.zeros(1, LIGHT)
    light["sign"], light["green"], light["elapsed"], light["frozen"], light["light_state"] = b"951", 10, 1.5, 1, 2
    rest = b"951".ljust(32, b"\0") + struct.pack("<4fIBB", 10, 0, 0, 1.5, 0, 1, 2)
    assert light.tobytes() == bytes(65) + rest
    walker = np.zeros(1, WALKER)
    walker["direction"], walker["speed"], walker["jump"] = (0, 1, 0), 1.5, 1
    assert walker.tobytes() == bytes(65) + struct.pack("<4fB", 0, 1, 0, 1.5, 1) + bytes(37)


def test_headers_and_token():
    header = sensor_header(Stream.WORLD, 9, 1.25, Pose(1, 2, 3, 4, 5, 6))
    assert header == struct.pack("<QQd", 17, 9, 1.25) + struct.pack("<6f", 1, 2, 3, 4, 5, 6)
    assert len(header) == 48
    assert world_header(7, 2.5, 0.05, True) == struct.pack("<Qdf", 7, 2.5, 0.05) + bytes(12) + struct.pack("<I", 1)
    assert token(5, 2001) == b"\x05\0\0\0" + b"\xd1\x07" + b"\x01\0" + bytes(16)


def test_envelopes():
    assert msgpack.packb(answer("0.9.16")) == b"\x91\x92\x01\xa60.9.16"
    assert msgpack.packb(answer(None)) == b"\x91\x91\xc2"
    assert msgpack.packb(refusal("no")) == b"\x91\x92\x00\x91\xa2no"


@pytest.mark.parametrize(
    ("yaw", "offset", "expected"),
    [
        (0.0, Pose(1, 2, 3, 0, 0, 0), (11, 22, 3, 0, 0, 0)),
        # Facing along y (which points to the right of x), a metre ahead is a metre along y, to the right is against x.
        (90.0, Pose(1, 2, 3, -15, 30, 5), (8, 21, 3, -15, 120, 5)),
    ],
)
def test_attached_places(yaw, offset, expected):
    assert Pose(10, 20, 0, 0, yaw, 0).attached(offset) == pytest.approx(expected)
