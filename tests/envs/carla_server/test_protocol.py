"""Calls and streams byte by byte, and clients that do not behave."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import struct

import msgpack
import numpy as np
import psutil
import pytest

from envs.carla_server.limits import Limits, ServerError
from envs.carla_server.server import CarlaServer
from envs.carla_server.wire import BODY, VEHICLE, WORLD_STREAM
from tests.envs.carla_server.raw_client import RawClient, RawListener, synchronous

MODEL3 = "vehicle.tesla.model3"


def test_handshake_byte_by_byte(client):
    client.send(b"\x94\x00\x01\xa7version\x91\x91\xc2")
    assert client.receive() == [1, 1, None, [[1, "0.9.16"]]]
    client.socket.setblocking(True)
    client.socket.settimeout(5)
    client.socket.send(b"\x94\x00\x02\xa7version\x91\x91\xc2")
    client.server.hub.poll(1.0)
    assert client.socket.recv(100) == b"\x94\x01\x02\xc0\x91\x92\x01\xa60.9.16"


def test_unknown_calls_name_the_call(client):
    said = client.refused("replay_file", "a", 0.0)
    assert said.startswith("replay_file: ") and "vlarl stand-in" in said and "0.9.16" in said


def test_asynchronous_calls_are_answered_without_result(client):
    assert client.request("set_weather_parameters", [1.0] * 14, asynchronous=True) is None
    assert client.call("get_weather_parameters") == [1.0] * 14


def test_a_call_without_metadata_is_refused(client):
    client.send(msgpack.packb([0, 5, "version", []]))
    kind, number, _, result = client.receive()
    assert (kind, number) == (1, 5) and result[0][0] == 0 and "metadata" in result[0][1][0]


def test_a_server_of_another_version_says_so(server):
    """The client compares: both versions are in its warning (see the contract tests)."""
    other = CarlaServer("grid_town", port=0, version="0.9.15")
    client = RawClient(other)
    assert client.call("version") == "0.9.15"
    client.close()
    other.close()


def test_states_are_streamed(server, client):
    listener = RawListener(server, WORLD_STREAM)
    assert len(listener.message()) > 48, "one at once: nothing ticks in synchronous mode"
    x, y, z, yaw = _spawn_place(client)
    number = client.spawn(MODEL3, (x, y, z), yaw)
    frame = client.call("tick_cue")
    state = listener.message()
    kind, sent_frame, _ = struct.unpack_from("<QQd", state)
    assert (kind, sent_frame) == (17, frame)
    records = np.frombuffer(state, BODY, offset=48 + 36)
    mine = records[records["id"] == number].view(VEHICLE)[0]
    assert mine["location"] == pytest.approx((x, y, 0.0), abs=1e-3)
    assert mine["rotation"][1] == pytest.approx(yaw, abs=1e-3)
    assert (mine["state"], mine["gear"]) == (1, 1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xc1",  # never used in msgpack
        b"GET / HTTP/1.1\r\n\r\n",
        msgpack.packb({"a": 1}),
        msgpack.packb([2, "notify", []]),
        msgpack.packb([0, 1, 2, 3]),
        msgpack.packb([0, "x", "version", [[False]]]),
        b"\x94\x00\x01\xa7version\xdd\xff\xff\xff\xff",  # an array that claims 4 billion elements
        b"\x91" * 5000,  # nested without end
    ],
)
def test_garbage_ends_only_its_own_connection(server, client, garbage):
    bad = RawClient(server)
    bad.send(garbage)
    bad.socket.shutdown(socket.SHUT_WR)
    assert bad.receive() is None
    assert client.call("version") == "0.9.16"
    assert len(server.hub.peers) == 1


def test_arguments_that_cannot_be_used(client):
    x, y, z, yaw = _spawn_place(client)
    number = client.spawn(MODEL3, (x, y, z), yaw)
    nan = float("nan")
    origin = [[0, 0, 0], [0, 0, 0]]
    stop = [0, 0, 0, False, False, False, 0]
    for name, arguments, says in (
        ("spawn_actor", ([0, "vehicle.tesla.model4", []], origin), "Did you mean 'vehicle.tesla.model3'?"),
        ("spawn_actor", ([0, MODEL3, [["wings", 4, "2"]]], origin), "attribute of vehicle.tesla.model3"),
        ("spawn_actor", ([0, MODEL3, [["number_of_wheels", 2, "3"]]], origin), "cannot be changed"),
        ("spawn_actor", ([0, MODEL3, []], [[x, y, z], [0, yaw, 0]]), "Spawn failed because of collision at spawn"),
        ("spawn_actor", ([0, MODEL3, []], [[nan, 0, 0], [0, 0, 0]]), "finite"),
        ("spawn_actor", ([0, MODEL3, []], "here"), "location and rotation"),
        ("spawn_actor", ([0, "sensor.camera.dvs", []], origin), "does not have this sensor"),
        ("spawn_actor", ([0, "sensor.camera.rgb", [["image_size_x", 2, "99999"]]], origin), "99999 x 600"),
        ("spawn_actor_with_parent", ([0, "sensor.other.imu", []], origin, 99999), "99999"),
        ("spawn_actor", (), "spawn_actor"),
        ("destroy_actor", (99999,), "no actor with id 99999"),
        ("apply_control_to_vehicle", (number, [nan, 0, 0, False, False, False, 0]), "finite"),
        ("apply_control_to_vehicle", (number, [1.0]), "seven values"),
        ("apply_control_to_vehicle", (1, stop), "spectator"),
        ("set_episode_settings", ([True],), "11"),
        ("set_episode_settings", ([True, False, [True, 99.0], True, 0.01, 10, 0, False, 0, 0, True],), "99.0"),
        ("load_new_episode", ("Twon01", True, 0), "map not found"),
        ("set_traffic_light_state", (number, 0), "no traffic light"),
        ("apply_batch", ("all",), "a list"),
    ):
        assert says in client.refused(name, *arguments), name
    assert client.call("destroy_actor", number) is True


def test_batches_answer_each_command(client):
    x, y, z, yaw = _spawn_place(client)
    spawn = [[0, [[0, MODEL3, []], [[x, y, z], [0, yaw, 0]], [False], 0, "", [[[16, [0, True]]]]]]]
    results = client.request("apply_batch", [spawn, spawn, [[1, [99999]]], [[20, ["quit"]]], ["what"]], True)
    assert results[0][0][0] == 1
    number = results[0][0][1]
    assert results[1][0][0] == 0 and "Spawn failed" in results[1][0][1][0]
    assert "99999" in results[2][0][1][0]
    assert "command 20 of apply_batch" in results[3][0][1][0]
    assert "not [[number, fields]]" in results[4][0][1][0]
    assert [found[0] for found in client.call("get_actors_by_id", [number])] == [number]


def test_what_belongs_to_the_map_stays(server, client):
    light = int(server.episode.lights.records["id"][0])
    assert client.call("destroy_actor", light) is False
    assert client.call("destroy_actor", server.episode.spectator.id) is False


def test_a_stalled_listener_stops_nobody(server):
    small = CarlaServer("grid_town", port=0, limits=Limits(pending_bytes=200_000))
    synchronous(small)
    stream = 77
    client, stalled, awake = RawClient(small), RawListener(small, stream), RawListener(small, stream)
    for number in range(200):  # 20 MB: more than the sockets buffer
        small.hub.publish(stream, struct.pack("<Q", number) + bytes(100_000))
        assert struct.unpack_from("<Q", awake.message())[0] == number
    assert client.call("version") == "0.9.16"
    peers = [peer for peer in small.hub.peers if getattr(peer, "dropped", 0)]
    assert len(peers) == 1, "what it cannot take is dropped"
    assert peers[0].pending < 400_000
    got = [stalled.message() for _ in range(200 - peers[0].dropped)]
    numbers = [struct.unpack_from("<Q", message)[0] for message in got]
    assert numbers == list(range(len(got))) and all(len(message) == 100_008 for message in got), "whole and in order"
    small.hub.publish(stream, struct.pack("<Q", 200))
    assert struct.unpack_from("<Q", stalled.message())[0] == 200, "and it goes on where it reads again"
    small.close()


def test_a_caller_that_does_not_read_is_disconnected(server, client):
    small = CarlaServer("grid_town", port=0, limits=Limits(pending_bytes=100_000))
    synchronous(small)
    greedy, other = RawClient(small), RawClient(small)
    question = msgpack.packb([0, 1, "get_map_data", [[False]]])
    for _ in range(200):  # 20 MB of answers
        try:
            greedy.socket.send(question)
        except OSError:
            break
        small.hub.poll(0.01)
    assert len(small.hub.peers) == 1
    assert other.call("version") == "0.9.16"
    small.close()


def test_a_message_that_is_too_large(server):
    small = CarlaServer("grid_town", port=0, limits=Limits(message_bytes=1 << 20))
    synchronous(small)
    large, other = RawClient(small), RawClient(small)
    with contextlib.suppress(ConnectionError):
        large.send(msgpack.packb([0, 1, "copy_opendrive_to_file", [[False], "x" * (4 << 20)]]))
    assert large.receive() is None
    assert other.call("version") == "0.9.16"
    small.close()


def test_no_more_connections_and_actors_than_allowed(server):
    small = CarlaServer("grid_town", port=0, limits=Limits(connections=2, actors=3))
    synchronous(small)
    first, second = RawClient(small), RawClient(small)
    assert first.call("version") == second.call("version")
    third = RawClient(small)
    assert third.receive() is None
    points = first.call("get_map_info")[1]
    for place, rotation in points[:3]:
        first.spawn(MODEL3, place, rotation[1])
    assert "no room: 3 vehicles and walkers" in first.refused("spawn_actor", [0, MODEL3, []], points[3])
    second.close()
    assert RawClient(small).call("version") == "0.9.16", "a place is free again"
    small.close()


def test_a_port_in_use(server):
    with pytest.raises(ServerError, match=rf"{server.hub.port}.*--port"):
        CarlaServer("grid_town", port=server.hub.port)
    taken = socket.create_server(("127.0.0.1", 0))
    below = taken.getsockname()[1] - 1
    with pytest.raises(ServerError, match=str(below + 1)):
        CarlaServer("grid_town", port=below)
    socket.create_server(("127.0.0.1", below)).close()  # nothing keeps it
    taken.close()


def test_a_first_map_that_is_not_there(server):
    with pytest.raises(ServerError, match="Did you mean 'grid_town'"):
        CarlaServer("gird_town", port=0)


def test_a_client_that_goes_takes_its_traffic_manager_along(server, client):
    other = RawClient(server)
    assert other.call("add_traffic_manager_running", ["10.0.0.1", 8000]) is True
    assert client.call("is_traffic_manager_running", 8000) is True
    assert client.call("get_traffic_manager_running", 8000) == ["10.0.0.1", 8000]
    assert client.call("add_traffic_manager_running", ["10.0.0.2", 8000]) is False
    other.close()
    assert client.call("is_traffic_manager_running", 8000) is False


def test_a_thousand_fuzzed_messages(server, client):
    """No crash, no leak: calls with random names and arguments, bytes flipped, cut off."""
    names = [*server.calls, "", "no_such_call", "__class__", "_private"]
    dice = random.Random(7)
    gc.collect()
    before, actors = psutil.Process().memory_info().rss, set(server.episode.actors.by_id)
    for number in range(1000):
        fuzz = RawClient(server)
        message = bytearray(msgpack.packb([0, number, dice.choice(names), [[dice.random() < 0.3], *_junk(dice, 3)]]))
        if dice.random() < 0.5:
            for _ in range(dice.randrange(1, 4)):
                message[dice.randrange(len(message))] = dice.randrange(256)
        if dice.random() < 0.2:
            del message[dice.randrange(len(message)) :]
        fuzz.send(bytes(message))
        server.hub.poll(0.0)
        fuzz.close()
        if server.episode.actors.by_id.keys() != actors:  # it did spawn something, or loaded a map
            actors = set(server.episode.actors.by_id)
    synchronous(server)
    assert client.call("version") == "0.9.16"
    assert client.call("tick_cue") == server.episode.frame
    assert np.isfinite(server.episode.bodies["x"]).all()
    while len(server.hub.peers) > 1:
        server.hub.poll(0.01)
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 100e6


def _junk(dice, depth):
    """Random arguments."""
    kinds = [
        lambda: dice.choice([None, True, False, 0, 1, 2, 24, -1, 2**31, 2**63, 1.5, float("nan"), float("inf")]),
        lambda: dice.choice(["", MODEL3, "sensor.camera.rgb", "grid_town", "\udcff", "x" * 300]).encode(
            "utf-8", "replace"
        ),
        lambda: [[dice.uniform(-99, 99)] * 3, [0.0, 0.0, 0.0]],
        lambda: [_junk(dice, depth - 1) for _ in range(dice.randrange(4))] if depth else [],
        lambda: [[dice.randrange(25), _junk(dice, 1)]],
    ]
    return [dice.choice(kinds)() for _ in range(dice.randrange(4))]


def _spawn_place(client):
    (x, y, z), (_, yaw, _) = client.call("get_map_info")[1][0]
    return x, y, z, yaw
