"""What an agent may ask of the driving world, against the world itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from envs.drive import DriveConfig
from envs.driving.pinhole import FURTHEST
from envs.driving.tools.requests import (
    KINDS,
    TOOLS,
    Boxes,
    Depth,
    ImageAnswer,
    PastView,
    Region,
    ToolError,
    describe_tools,
    parse_request,
)
from envs.driving.tools.tools import CAMERAS, COLOURS, DrivingTools
from envs.driving.world.records import Kind
from envs.driving.world.start import Spawn
from vlarl.env_protocol import EpisodeSpec

SPEC = EpisodeSpec(suite="drive_winding_road", task=0, instruction="x", init_state=1, seed=1)


@pytest.fixture(scope="module")
def slot():
    slot = DriveConfig(resolution=0, difficulty=0.0, actors=4).make()
    yield slot
    slot.close()


@pytest.fixture
def tools(slot):
    slot.reset(SPEC)
    tools = DrivingTools(slot.worlds, keep_seconds=1.0)
    return tools


def put(slot, ahead, left, kind=Kind.CAR):
    """Somebody who stands there, in the ego's frame, headed as the ego is."""
    ego = slot.worlds.actors[0, 0]
    cos, sin = math.cos(ego["heading"]), math.sin(ego["heading"])
    x, y = float(ego["x"] + ahead * cos - left * sin), float(ego["y"] + ahead * sin + left * cos)
    slot.worlds.spawn(0, 1, Spawn(x=x, y=y, heading=float(ego["heading"]), kind=kind, z=float(ego["z"])))


def test_a_view_shows_who_is_there_and_the_right_camera_does(slot, tools):
    put(slot, 12.0, 0.0)
    tools.look()
    colour = COLOURS[Kind.CAR]
    seen = {}
    for name in CAMERAS:
        image = tools.answer(PastView(camera=name)).image
        assert image.shape == (180, 320, 3) and image.dtype == np.uint8
        blueish = (image[:, :, 2] == int(0.8 * colour[2])) & (image[:, :, 0] == int(0.8 * colour[0]))
        seen[name] = int(blueish.sum())
    assert seen["front"] > 100
    assert not any(count for name, count in seen.items() if name != "front")


def test_depth_is_the_distance_to_the_bumper(slot, tools):
    put(slot, 12.0, 0.0)
    tools.look()
    depth = tools.answer(Depth()).metres
    assert depth.shape == (180, 320) and depth.dtype == np.float32
    half = float(slot.worlds.actors["half_length"][0, 1])
    assert depth[110, 160] == pytest.approx(12.0 - half, abs=0.05)
    assert depth[0, 160] == FURTHEST
    focal = 160.0 / math.tan(math.radians(35.0))
    assert depth[179, 40] == pytest.approx(1.6 * focal / 89.5, rel=0.01), "the ground, from the camera's height"


def test_boxes_are_in_the_egos_frame_and_sorted(slot, tools):
    put(slot, -20.0, 3.0, Kind.PEDESTRIAN)
    tools.look()
    (box,) = tools.answer(Boxes(kinds=("pedestrian",), metres=30.0)).boxes
    assert (box.kind, box.x, box.y) == ("pedestrian", pytest.approx(-20.0), pytest.approx(3.0))
    assert (box.length, box.height, box.heading) == (pytest.approx(0.6), pytest.approx(1.8), pytest.approx(0.0))
    assert tools.answer(Boxes(kinds=("pedestrian",), metres=20.0)).boxes == ()
    assert tools.answer(Boxes(kinds=("car",))).boxes == ()


def test_lights_are_boxes_with_a_state():
    slot = DriveConfig(resolution=0, difficulty=0.0).make()
    slot.reset(EpisodeSpec(suite="drive_grid_town", task=0, instruction="x", init_state=1, seed=1))
    tools = DrivingTools(slot.worlds)
    tools.look()
    lights = tools.answer(Boxes(kinds=("traffic_light",), metres=1000.0)).boxes
    assert len(lights) == len(slot.worlds.map.signal_stops)
    distances = [math.hypot(box.x, box.y) for box in lights]
    assert distances == sorted(distances)
    assert {box.state for box in lights} <= {"red", "yellow", "green"} and len({box.state for box in lights}) > 1


def test_a_region_is_seen_in_detail(slot, tools):
    """Every pixel of a region drawn twice as finely lies within the one that it details, and shows what that shows."""
    put(slot, 30.0, 0.0)
    tools.look()
    whole = tools.answer(PastView()).image
    detail = tools.answer(Region(left=80, top=45, right=240, bottom=135)).image
    assert detail.shape == whole.shape
    coarse = np.repeat(np.repeat(whole[45:135, 80:240], 2, axis=0), 2, axis=1)
    assert (coarse == detail).all(axis=2).mean() > 0.9
    narrow = tools.answer(Region(left=0, top=0, right=40, bottom=180)).image
    np.testing.assert_array_equal(narrow, whole[:, :40])


def test_the_past_is_as_it_was(slot, tools):
    tools.look()
    then = tools.answer(PastView()).image
    for _ in range(8):
        slot.step_chunk(np.array([[0.0, 1.0]], np.float32))
        tools.look()
    assert slot.worlds.actors["speed"][0, 0] > 1.0
    np.testing.assert_array_equal(tools.answer(PastView(seconds_ago=0.8)).image, then)
    assert (tools.answer(PastView()).image != then).any()
    with pytest.raises(ToolError, match="seconds_ago is 0.9; 0 to 0.8 s are remembered"):
        tools.answer(PastView(seconds_ago=0.9))
    for _ in range(8):
        slot.step_chunk(np.array([[0.0, 0.0]], np.float32))
        tools.look()
    with pytest.raises(ToolError, match="0 to 1 s are remembered"):
        tools.answer(Depth(seconds_ago=1.1))
    slot.reset(SPEC)
    tools.look()
    np.testing.assert_array_equal(tools.answer(PastView()).image, then)
    with pytest.raises(ToolError, match="0 to 0 s"):
        tools.answer(PastView(seconds_ago=0.5))


def test_before_the_first_look_there_is_nothing(tools):
    with pytest.raises(ToolError, match=r"call look\(\)"):
        tools.answer(PastView())


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (PastView(camera="frnt"), "Did you mean 'front'"),
        (PastView(seconds_ago=-0.1), "seconds_ago is -0.1"),
        (PastView(seconds_ago=math.nan), "seconds_ago is nan"),
        (Region(left=0, top=0, right=321, bottom=10), "within 320 x 180 pixels"),
        (Region(left=10, top=0, right=5, bottom=10), "within 320 x 180 pixels"),
        (Region(left=0, top=0, right=3, bottom=10), "at least 4 pixels"),
        (Region(left=-1, top=0, right=30, bottom=10), "columns -1 to 30"),
        (Boxes(kinds=("cra",)), "Did you mean 'car'"),
        (Boxes(metres=0.0), "metres is 0"),
    ],
)
def test_what_cannot_be_answered_is_said(tools, request_, says):
    tools.look()
    with pytest.raises(ToolError, match=says):
        tools.answer(request_)


@pytest.mark.parametrize(
    ("name", "parameters", "says"),
    [
        ("roi_inspektion", {}, "Did you mean 'roi_inspection'"),
        ("roi_inspection", {"left": 1, "top": 1}, "lacks right, bottom"),
        ("roi_inspection", {"left": 1.5, "top": 1, "right": 9, "bottom": 9}, "left is 1.5; int is needed"),
        ("depth_estimation", {"kamera": "front"}, "Did you mean 'camera'"),
        ("get_view_with_frame", {"seconds_ago": "now"}, "seconds_ago is 'now'; float is needed"),
        ("get_view_with_frame", {"seconds_ago": True}, "float is needed"),
        ("get_view_with_frame", {"camera": 3}, "str is needed"),
        ("detect_3d_objects", {"kinds": "car"}, "a list of texts is needed"),
    ],
)
def test_calls_that_mean_nothing(name, parameters, says):
    with pytest.raises(ToolError, match=says):
        parse_request(name, parameters)


def test_calls_become_requests(tools):
    tools.look()
    assert parse_request("roi_inspection", {"left": 1, "top": 2.0, "right": 9, "bottom": 9}) == Region(
        left=1, top=2, right=9, bottom=9
    )
    assert parse_request("detect_3d_objects", {"kinds": ["car"], "metres": 9}) == Boxes(kinds=("car",), metres=9.0)
    assert isinstance(tools.call("get_view_with_frame", {"camera": "back"}), ImageAnswer)


def test_the_description_can_be_told_to_a_model():
    told = {tool["tool_name"]: tool for tool in describe_tools()}
    assert set(told) == set(TOOLS)
    assert told["roi_inspection"]["params"]["left"] == {"type": "int"}
    assert told["detect_3d_objects"]["params"]["kinds"]["default"] == KINDS
    assert told["depth_estimation"]["description"] == "How far everything in a view is."
