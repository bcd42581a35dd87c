"""CARLA's world as ours, with a client that is faked: it moves nobody but the ego, and says what it is told to say."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from envs.carla.mirror import CarlaWorld, match_lights
from envs.drive import DriveConfig
from envs.driving.episodes import MapEpisodes
from envs.driving.maps.map_arrays import pack
from envs.driving.maps.map_generator import shipped_map
from envs.driving.shared import shared_map
from envs.driving.world.lights import GREEN
from envs.driving.world.records import EVENTS, Controller, Kind
from vlarl.env_protocol import EnvError, EpisodeSpec, Outcome

CONFIG = DriveConfig(route_metres=120.0, actors=40, layers=64, resolution=0, difficulty=1.0)
SPEC = EpisodeSpec(suite="drive_grid_town", task=0, instruction="x", init_state=3, seed=1)
PATH = shipped_map("grid_town")


class FakeLink:
    """Answers as :mod:`envs.carla.client_process` does."""

    def __init__(self):
        self.bodies, self.asked = {}, []
        self.touched, self.refused, self.speed = [], {}, 0.0

    def request(self, name, **arguments):
        self.asked.append((name, arguments))
        if name == "begin":
            bodies = [body for body in arguments["bodies"] if body["slot"] not in self.refused]
            self.bodies = {b["slot"]: (b["x"], b["y"], b["z"], b["yaw"], 0.0, 0.0, 0.0) for b in bodies}
            extents = {slot: (2.0, 1.0, 0.7) for slot in self.bodies}
            return {"extents": extents, "refused": self.refused, "bodies": dict(self.bodies)}
        x, y, z, yaw, *_ = self.bodies[0]
        vx, vy = self.speed * math.cos(math.radians(yaw)), self.speed * math.sin(math.radians(yaw))
        self.bodies[0] = (x + 0.1 * vx, y + 0.1 * vy, z, yaw, vx, vy, 0.0)
        touched, self.touched = self.touched, []
        return {"bodies": dict(self.bodies), "touched": touched}


def stop_places():
    """Every light of the map as a CARLA actor: id 100 + line -> its stop waypoint, in CARLA's frame."""
    stops = pack(shared_map(PATH)).stops
    return {
        100 + line: [(stop["x"], -stop["y"], -math.degrees(math.atan2(stop["sin"], stop["cos"])))]
        for line, stop in enumerate(stops)
        if stop["kind"] == 0
    }


def begin(link=None, lines=None, state=3):
    link = link or FakeLink()
    world = CarlaWorld(
        shared_map(PATH), link, stop_places() if lines is None else lines, ego="vehicle.x", actors=40, ticks=2,
        settle=1, route_metres=122,
    )  # fmt: skip
    episodes = MapEpisodes(CONFIG, PATH, 1, 1, world)
    episodes.start(0, EpisodeSpec(suite="", task=0, instruction="x", init_state=state, seed=1), 0)
    return link, world, episodes


def step(episodes, steer=0.0, pedal=0.0):
    return episodes.play({0: np.array([[steer, pedal]], np.float32)})[0]


def test_the_same_episode_looks_the_same_at_its_start():
    """All channels but those of bodies, whose sizes CARLA has, are equal; bodies overlap."""
    _, world, episodes = begin()
    drive = CONFIG.make()
    there = drive.reset(SPEC).images["layers"]
    here = episodes.observe(np.zeros(1, np.int64))[0].images["layers"]
    for channel in (0, 1, 2, 5, 6, 7, 9):
        np.testing.assert_array_equal(here[:, :, channel], there[:, :, channel])
    others = drive.worlds.actors[0]
    assert (others["active"][1:] > 0).sum() > 20
    np.testing.assert_array_equal(world.actors[0]["active"][:40], others["active"])
    for name in ("x", "y", "z", "heading", "speed", "velocity_x", "kind"):
        np.testing.assert_allclose(world.actors[0][name][:40], others[name], atol=1e-9)


def test_everybody_is_spawned_as_what_they_are():
    link, world, _ = begin()
    asked = link.asked[0][1]["bodies"]
    assert asked[0]["slot"] == 0 and asked[0]["who"] == "ego" and asked[0]["blueprint"] == "vehicle.x"
    kinds = {body["slot"]: (body["who"], body["blueprint"].partition(".")[0]) for body in asked}
    for slot, actor in enumerate(world.actors[0]):
        if slot in kinds and slot > 0:
            kind = Kind(int(actor["kind"]))
            who = "walker" if kind == Kind.PEDESTRIAN else "still" if kind == Kind.OBSTACLE else kinds[slot][0]
            assert kinds[slot] == (who, "walker" if kind == Kind.PEDESTRIAN else "vehicle")
    assert {who for who, _ in kinds.values()} == {"ego", "traffic", "walker", "still"}
    assert not (world.actors[0]["controller"] == Controller.TRAFFIC).any(), "CARLA moves them"


def test_controls_and_motion_are_carlas():
    link, world, episodes = begin()
    link.speed = 6.0
    before = float(world.actors["x"][0, 0]), float(world.actors["y"][0, 0])
    step(episodes, steer=0.25, pedal=-0.5)
    name, asked = link.asked[-1]
    assert name == "advance" and asked["ticks"] == 2
    assert asked["control"] == (0.0, -0.25, 0.5), "steering is positive to the right in CARLA"
    ego = world.actors[0, 0]
    assert math.dist(before, (ego["x"], ego["y"])) == pytest.approx(0.6)
    assert (ego["speed"], ego["acceleration"]) == (pytest.approx(6.0), pytest.approx(60.0))
    assert (ego["steer"], ego["brake"]) == (
        pytest.approx(0.25 * (1 - math.e**-1)),
        pytest.approx(0.5 * (1 - math.e**-1)),
    )
    assert world.worlds["step"][0] == 1 and world.worlds["distance"][0] == pytest.approx(0.6)


def test_the_end_of_the_route_ends_the_episode():
    """The ego is put further and further along its route; signs that it does not halt at cost score only."""
    link, world, _ = begin()
    episodes = MapEpisodes(dataclasses.replace(CONFIG, leaderboard=True), PATH, 1, 1, world)
    episodes.start(0, SPEC, 0)
    route = world.routes[0][: int(world.worlds["route_count"][0])]
    completion = []
    for point in [*route[5::3], route[-1]]:
        place = (point["x"], -point["y"], 0.0, -math.degrees(point["heading"]), 0.0, 0.0, 0.0)
        link.bodies = {0: place}
        result = step(episodes)
        completion.append(result.events["drive/route_completion"])
        assert result.outcome.has_ended == (completion[-1] == 100.0)
        if result.outcome.has_ended:
            break
    assert completion == sorted(completion) and completion[-1] == 100.0


@pytest.mark.parametrize(
    ("kind", "event"),
    [(Kind.CAR, "collision_vehicle"), (Kind.PEDESTRIAN, "collision_pedestrian"), (None, "collision_static")],
)
def test_collisions_are_those_that_carla_reports(kind, event):
    link, world, episodes = begin()
    kinds = world.actors["kind"][0]
    link.touched = [-1 if kind is None else int(np.flatnonzero((kinds == kind) & (np.arange(41) > 0))[0])]
    result = step(episodes)
    assert result.outcome is Outcome.FAILURE
    assert result.events[f"drive/count/{event}"] == 1.0
    assert sum(result.events[f"drive/count/collision_{what}"] for what in ("vehicle", "pedestrian", "static")) == 1.0


def test_who_finds_no_room_or_leaves_is_not_there():
    link = FakeLink()
    _, world, _ = begin()
    first, second = np.flatnonzero(world.actors["active"][0, 1:])[:2] + 1
    link.refused = {int(first): "somebody stands there"}
    _, world, episodes = begin(link)
    assert world.actors["active"][0, first] == 0 and world.actors["active"][0, second] == 1
    del link.bodies[int(second)]
    step(episodes)
    assert world.actors["active"][0, second] == 0
    bodies = {slot: body for slot, body in link.bodies.items() if slot > 0}
    link.request = lambda name, **_: {"bodies": bodies, "touched": []}
    with pytest.raises(EnvError, match="taken the ego out"):
        step(episodes)


def test_lights_follow_the_driving_world_and_only_changes_are_sent():
    link, world, episodes = begin()
    sent = dict(link.asked[0][1]["lights"])
    assert len(sent) == len(stop_places())
    for _ in range(160):
        before = dict(sent)
        step(episodes)
        changes = link.asked[-1][1]["lights"]
        assert all(before[number] != state for number, state in changes.items())
        sent |= changes
        if episodes.worlds.worlds["status"][0] != 1:
            break
    assert set(sent.values()) == {0, 1, 2}
    wanted = world._changed()
    assert {**sent, **wanted} == {100 + line: int(world.lights[0, line]) for line in world._light_lines.values()}


def test_lines_without_a_light_are_free():
    link, world, episodes = begin(lines={})
    step(episodes)
    assert (world.lights == GREEN).all()
    assert not [asked["lights"] for _, asked in link.asked if asked["lights"]]


def test_a_light_is_matched_by_place_and_direction():
    world_map = pack(shared_map(PATH))
    number, (place,) = next(iter(stop_places().items()))
    x, y, yaw = place
    assert match_lights(world_map, {7: [(x + 1.0, y - 1.0, yaw)]}) == {7: number - 100}
    assert match_lights(world_map, {7: [(x + 30.0, y + 30.0, yaw)]}) == {}
    assert match_lights(world_map, {7: [(x, y, yaw + 180.0)]}) != {7: number - 100}
    assert match_lights(world_map, {7: []}) == {}


def test_the_events_have_the_names_of_the_driving_world():
    _, _, episodes = begin()
    drive = CONFIG.make()
    drive.reset(SPEC)
    there = drive.step_chunk(np.zeros((1, 2), np.float32)).events
    assert set(step(episodes).events) == set(there)
    assert {name.removeprefix("drive/count/") for name in there if "/count/" in name} == set(EVENTS) - {
        "route_completed"
    }
