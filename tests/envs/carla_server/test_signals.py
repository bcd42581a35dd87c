"""Traffic lights over time, by hand on the shipped grid town."""

from __future__ import annotations

import numpy as np
import pytest

from envs.carla_server.maps import MapLibrary
from envs.carla_server.signals import GREEN, OFF, RED, YELLOW, Lights, find_signs
from envs.driving.maps.map_arrays import pack


@pytest.fixture
def lights():
    carla_map = MapLibrary().load("grid_town")
    world_map = pack(carla_map.graph)
    signs = find_signs(carla_map.drive, carla_map.graph, world_map)
    return Lights(signs, world_map, 100, dict(carla_map.drive.controllers))


def shown(lights, number):
    """What each phase of a cycle shows."""
    found = []
    for phase in lights.cycles[number].phases:
        states = {int(lights.records["light_state"][light]) for light in phase}
        assert len(states) == 1, "the lights of a phase change together"
        found.append(states.pop())
    return found


def test_every_light_has_stop_lines_and_every_line_its_light(lights):
    stops = lights.world_map.stops
    covered = [line for sign in lights.signs for line in sign.lines]
    assert sorted(set(covered)) == np.flatnonzero(stops["kind"] == 0).tolist()
    assert all(len(sign.lines) >= 1 for sign in lights.signs)
    for sign in lights.signs:
        for line in sign.lines:  # the box of the light lies on its lines: a client finds its stop waypoints with it
            yaw = np.radians(sign.pose.yaw)
            x, y, along, _ = sign.box
            dx, dy = stops["x"][line] - sign.pose.x, -stops["y"][line] - sign.pose.y
            right, back = dx * np.cos(yaw) + dy * np.sin(yaw), dy * np.cos(yaw) - dx * np.sin(yaw)
            assert abs(right - x) <= along and back == pytest.approx(y, abs=1.5)
            heading = np.arctan2(-stops["sin"][line], stops["cos"][line])
            assert np.cos(yaw - heading - np.pi / 2) == pytest.approx(1.0, abs=1e-3)


def test_phases_take_turns(lights):
    """Green 10 s, yellow 3 s, red 2 s, then the next phase."""
    count = len(lights.cycles[0].phases)
    assert count >= 2
    for phase in range(count + 1):
        for stage, seconds in ((GREEN, 10.0), (YELLOW, 3.0), (RED, 2.0)):
            expected = [RED] * count
            expected[phase % count] = stage
            assert shown(lights, 0) == expected
            lights.advance(seconds - 0.1)
            assert shown(lights, 0) == expected, "until its time is over"
            lights.advance(0.1)


def test_lines_show_what_their_lights_show(lights):
    for _ in range(300):
        lights.advance(0.05)
    for light, sign in enumerate(lights.signs):
        for line in sign.lines:
            assert lights.actor_of_line[line] == 100 + light
            assert lights.shown[line] == lights.records["light_state"][light]


def test_times_states_and_elapsed(lights):
    first = lights.cycles[0].phases[0][0]
    lights.advance(4.0)
    assert lights.records["elapsed"][first] == pytest.approx(4.0)
    lights.set_seconds(first, "yellow", 1.0)
    lights.advance(6.0)
    assert shown(lights, 0)[0] == YELLOW and lights.records["elapsed"][first] == pytest.approx(0.0, abs=1e-6)
    lights.advance(1.0)
    assert shown(lights, 0)[0] == RED
    lights.set_state(first, OFF)
    assert lights.records["light_state"][first] == OFF
    assert lights.shown[lights.signs[first].lines[0]] == OFF
    lights.reset(0)
    assert shown(lights, 0)[0] == GREEN


def test_frozen_time_stands_still(lights):
    lights.advance(9.0)
    lights.freeze(0, True)
    lights.advance(100.0)
    assert shown(lights, 0)[0] == GREEN
    mine = lights.cycle_of == 0
    assert lights.records["frozen"][mine].all() and not lights.records["frozen"][~mine].any()
    assert lights.records["elapsed"][lights.cycles[0].phases[0][0]] == pytest.approx(9.0)
    lights.freeze(0, False)
    lights.advance(0.9)
    assert shown(lights, 0)[0] == GREEN
    lights.advance(0.2)
    assert shown(lights, 0)[0] == YELLOW
