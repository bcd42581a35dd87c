"""Bodies in CARLA's frame, and which light or sign a vehicle is at."""

from __future__ import annotations

import numpy as np
import pytest

from envs.driving.carla_state import show_bodies
from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.world.occupancy import make_scratch
from envs.driving.world.records import Controller, Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds

RED, YELLOW, GREEN = 0, 1, 2
RECORD = np.dtype(
    [(name, "<f4", (3,)) for name in ("location", "rotation", "velocity", "angular_velocity", "acceleration")]
    + [("speed_limit", "<f4"), ("light_state", "u1"), ("at_light", "u1"), ("light", "<u4")]
)


@pytest.fixture(scope="module")
def worlds():
    worlds = DrivingWorlds(load_map(shipped_map("grid_town")), worlds=1, actors=3)
    worlds.reset({0: Start(seed=0)})
    worlds.actors["active"][0, 0] = 0
    return worlds


def show(worlds, lights, records=None):
    records = np.zeros(3, RECORD) if records is None else records
    ids = np.where(worlds.map.stops["kind"] == 0, 1000 + np.arange(len(lights)), 0)
    show_bodies(
        worlds.map, worlds.actors[0], np.array([1]), lights, ids, records, make_scratch(len(worlds.map.lanes), 1),
        worlds.parameters,
    )  # fmt: skip
    return records[1]


def put(worlds, line, before, speed=0.0):
    """A car whose front is so far before a stop line."""
    stop = worlds.map.stops[line]
    worlds.actors["kind"][0, 1] = Kind.NONE
    worlds.actors["active"][0, 1] = 0
    back = before + 2.3
    place = Spawn(
        x=stop["x"] - back * stop["cos"],
        y=stop["y"] - back * stop["sin"],
        heading=float(np.arctan2(stop["sin"], stop["cos"])),
        kind=Kind.CAR,
        controller=Controller.EXTERNAL,
        speed=speed,
    )
    worlds.spawn(0, 1, place)


def light_line(worlds):
    """A stop line of a light on a long straight lane."""
    stops, lanes = worlds.map.stops, worlds.map.lanes
    return next(k for k in range(len(stops)) if stops["kind"][k] == 0 and lanes["length"][stops["lane"][k]] > 60)


def test_frame_is_left_handed(worlds):
    put(worlds, light_line(worlds), 30.0)
    actor = worlds.actors[0, 1]
    actor["yaw_rate"], actor["acceleration"], actor["lateral_acceleration"] = 0.5, 1.0, 2.0
    actor["velocity_x"], actor["velocity_y"] = 3.0, 4.0
    actor["heading"] = np.pi / 2
    record = show(worlds, np.full(len(worlds.map.stops), GREEN, np.uint8))
    assert record["location"] == pytest.approx([actor["x"], -actor["y"], actor["z"]], rel=1e-6)
    assert record["rotation"] == pytest.approx([0, -90, 0])
    assert record["velocity"] == pytest.approx([3, -4, 0])
    assert record["angular_velocity"] == pytest.approx([0, 0, -np.degrees(0.5)])
    assert record["acceleration"] == pytest.approx([-2, -1, 0], abs=1e-6), "ahead is up, left is against x"


@pytest.mark.parametrize(
    ("before", "speed", "shown", "at"),
    [
        (5.5, 0.0, RED, True),
        (6.5, 0.0, RED, False),  # a vehicle that stands is at a light within 6 m
        (-0.4, 0.0, RED, True),
        (-0.6, 0.0, RED, False),  # its front is behind the line
        (15.0, 10.0, RED, True),  # 2 + 0.4 * 10 + 100 / (2 * 4.952) = 16.1 m
        (17.0, 10.0, RED, False),
        (12.0, 10.0, YELLOW, True),
        (9.0, 10.0, YELLOW, False),  # it cannot stop within 10.1 m
        (9.0, 10.0, GREEN, True),
    ],
)
def test_where_a_vehicle_is_at_its_light(worlds, before, speed, shown, at):
    line = light_line(worlds)
    put(worlds, line, before, speed)
    lights = np.full(len(worlds.map.stops), shown, np.uint8)
    record = show(worlds, lights)
    assert bool(record["at_light"]) is at
    assert record["light"] == (1000 + line if at else 0)
    assert record["light_state"] == (shown if at else GREEN)
    lane = worlds.map.stops["lane"][line]
    assert record["speed_limit"] == pytest.approx(3.6 * worlds.map.lanes["speed_limit"][lane])


def test_a_braking_vehicle_stays_at_its_light(worlds):
    line = light_line(worlds)
    records = np.zeros(3, RECORD)
    lights = np.full(len(worlds.map.stops), RED, np.uint8)
    for before, speed, at in ((17.0, 10.0, False), (15.0, 10.0, True), (14.0, 4.0, True), (-1.0, 4.0, False)):
        put(worlds, line, before, speed)
        assert bool(show(worlds, lights, records)["at_light"]) is at


def test_a_stop_sign_is_a_red_light_without_a_light(worlds):
    signs = np.flatnonzero(worlds.map.stops["kind"] == 1)
    assert len(signs)
    put(worlds, int(signs[0]), 1.0)
    record = show(worlds, np.full(len(worlds.map.stops), GREEN, np.uint8))
    assert (record["light_state"], record["at_light"], record["light"]) == (RED, 0, 0)


def test_reversing_and_braking(worlds):
    """Throttle below 0 drives backwards with the same pedal curve; against the motion it brakes."""
    put(worlds, light_line(worlds), 30.0)
    actor = worlds.actors[0, 1]
    x, y, heading = float(actor["x"]), float(actor["y"]), float(actor["heading"])
    actor["throttle_command"] = -1.0
    for _ in range(10):
        worlds.advance()
    assert -3.5 < actor["speed"] < -2.5
    behind = (actor["x"] - x) * np.cos(heading) + (actor["y"] - y) * np.sin(heading)
    assert behind < -1.0
    actor["throttle_command"] = 1.0
    speeds = []
    for _ in range(30):
        worlds.advance()
        speeds.append(float(actor["speed"]))
    assert speeds == sorted(speeds) and speeds[-1] > 1.0, "it brakes to a standstill, then drives ahead"
