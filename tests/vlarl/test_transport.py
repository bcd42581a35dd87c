"""Messages with large arrays arrive bit for bit, as copies, through memory without a name."""

import json
import os
import socket
import threading

import numpy as np
import pytest

from vlarl.bench import transport as bench
from vlarl.transport import SHARED_FROM, Receiver, Sender, receive_message, send_message


@pytest.fixture
def ends():
    first, second = socket.socketpair()
    with first, second:
        yield first, second


def images(seed, side=64):
    generator = np.random.default_rng(seed)
    return {name: generator.integers(0, 256, (side, side, 3), dtype=np.uint8) for name in ("a", "b")}


def test_large_arrays_are_not_in_the_socket_and_arrive_as_copies(ends):
    sender, receiver = Sender(ends[0]), Receiver(ends[1])
    sent = {"images": images(0), "state": np.arange(8.0), "text": "hello"}
    packed = sender.pack(3, sent)
    assert packed.sizes == [64 * 64 * 3] * 2 and len(packed.payload) < 1000
    sender.send(packed)
    first = receiver.receive()
    sender.send(sender.pack(3, {"images": images(1)}))  # overwrites the slot's memory
    second = receiver.receive()
    for name in ("a", "b"):
        np.testing.assert_array_equal(first["images"][name], sent["images"][name])
        np.testing.assert_array_equal(second["images"][name], images(1)[name])
    assert first["images"]["a"].flags.writeable and first["text"] == "hello"
    np.testing.assert_array_equal(first["state"], sent["state"])


def test_slots_have_their_own_memory_and_it_grows_when_needed(ends):
    sender, receiver = Sender(ends[0]), Receiver(ends[1])
    sender.send(sender.pack(0, images(0, 40)))
    sender.send(sender.pack(1, images(1, 40)))
    for seed in (0, 1):
        np.testing.assert_array_equal(receiver.receive()["a"], images(seed, 40)["a"])
    descriptors = len(os.listdir("/proc/self/fd"))
    for side in (80, 40, 80, 20):
        sender.send(sender.pack(0, images(side, side)))
        np.testing.assert_array_equal(receiver.receive()["b"], images(side, side)["b"])
    assert len(os.listdir("/proc/self/fd")) == descriptors, "outgrown memory is given back"


def test_what_is_not_contiguous_or_small_arrives_too(ends):
    sender, receiver = Sender(ends[0]), Receiver(ends[1])
    whole = np.arange(3 * SHARED_FROM, dtype=np.uint8).reshape(-1, 3)
    for message in (whole[:, 1], whole[::-1], np.asfortranarray(whole), np.zeros(0), np.ones(SHARED_FROM - 1, bool)):
        sender.send(sender.pack(0, message))
        np.testing.assert_array_equal(receiver.receive(), message)


def test_messages_larger_than_the_sockets_buffer_and_a_closed_end(ends):
    text = "x" * 1_000_000
    thread = threading.Thread(target=send_message, args=(ends[0], text))
    thread.start()
    assert receive_message(ends[1]) == text
    thread.join()
    ends[0].close()
    with pytest.raises(EOFError, match="closed"):
        receive_message(ends[1])


def test_the_benchmark_measures_both_ways(tmp_path):
    path = tmp_path / "transport.json"
    assert bench.run(bench.Options(resolution=64, messages=3, repeats=2, json=path)) == 0
    result = json.loads(path.read_text())
    assert {row["name"] for row in result["rows"]} == {"socket", "socket cpu", "shared", "shared cpu"}
    assert set(result["ratios"]) == {"shared/socket", "shared cpu/socket cpu"}
