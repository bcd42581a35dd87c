"""The flat-shaded camera against distances worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from envs.driving.pinhole import (
    BOX,
    FURTHEST,
    LINE_LABEL,
    ROAD_LABEL,
    SKY_LABEL,
    TERRAIN_LABEL,
    axes,
    cast_rays,
    render,
)
from envs.driving.views.static_layers import rasterise
from tests.support.maps import compiled, lane, road, section

GRAPH = compiled(road(1, 200.0, section(lane(-1, mark="solid"), lane(1))))
"""Straight along x, lanes 3.5 m wide to both sides of y = 0 (in CARLA's frame the right lane is at y = 1.75)."""
LAYERS = rasterise(GRAPH, 4.0)


def look(place, rotation=(0.0, 0.0, 0.0), boxes=(), size=(41, 61), focal=30.0):
    """Colours, depths, labels and actors of a picture whose middle pixel looks straight ahead."""
    image, depth = np.empty((*size, 4), np.uint8), np.empty(size, np.float32)
    labels, actors = np.empty(size, np.uint8), np.empty(size, np.int32)
    records = np.zeros(len(boxes), BOX)
    for record, values in zip(records, boxes):
        for name, value in ({"cos": 1.0} | values).items():
            record[name] = value
    axis = (0.5 * size[1], 0.5 * size[0])
    render(LAYERS, records, np.array(place, float), axes(*rotation), focal, axis, 0.0, image, depth, labels, actors)
    return image, depth, labels, actors


def car(x, y, **other):
    return {
        "x": x,
        "y": y,
        "half_length": 2.0,
        "half_width": 1.0,
        "height": 1.5,
        "red": 200,
        "label": 14,
        "actor": 7,
    } | other


def test_axes_are_those_of_a_left_handed_frame():
    assert axes(0, 0, 0) == pytest.approx(np.eye(3))
    assert axes(0, 90, 0)[0] == pytest.approx([0, 1, 0]) and axes(0, 90, 0)[1] == pytest.approx([-1, 0, 0])
    assert axes(90, 0, 0)[0] == pytest.approx([0, 0, 1])
    assert axes(10, 20, 30) @ axes(10, 20, 30).T == pytest.approx(np.eye(3))


def test_ground_and_sky():
    _, depth, labels, actors = look((100.0, 1.75, 2.0), (-45.0, 0.0, 0.0))
    assert depth[20, 30] == pytest.approx(2.0 * np.sqrt(2.0), rel=1e-5)
    assert labels[20, 30] == ROAD_LABEL and not actors.any()
    _, depth, labels, _ = look((100.0, 1.75, 2.0))
    assert labels[0, 30] == SKY_LABEL and depth[0, 30] == FURTHEST
    # Ten pixels below the middle the ray falls 1 m per 3 m: it meets the ground 6 m ahead.
    assert depth[30, 30] == pytest.approx(6.0, rel=1e-5)
    _, _, labels, _ = look((100.0, 20.0, 2.0), (-89.0, 0.0, 0.0))
    assert labels[20, 30] == TERRAIN_LABEL
    _, _, labels, _ = look((100.0, 3.5, 2.0), (-90.0, 0.0, 0.0))
    assert labels[20, 30] == LINE_LABEL, "the solid edge line"


def test_boxes_hide_what_is_behind_them():
    far, near = car(120.0, 1.75, actor=8), car(110.0, 1.75)
    for boxes in ((far, near), (near, far)):
        image, depth, labels, actors = look((100.0, 1.75, 0.75), boxes=boxes)
        assert depth[20, 30] == pytest.approx(8.0) and actors[20, 30] == 7 and labels[20, 30] == 14
        assert image[20, 30].tolist() == [0, 0, 160, 255], "the back face, a fifth darker"
    # The box is 2 m wide 8 m away: 30 * 2 / 8 = 7.5 pixels around the middle.
    columns = np.flatnonzero(actors[20] == 7)
    assert (columns[0], columns[-1]) == (27, 33)
    _, _, _, actors = look((100.0, 1.75, 0.75), (0.0, 180.0, 0.0), (near,))
    assert not actors.any(), "behind the camera"
    _, depth, _, actors = look((100.0, 1.75, 0.75), (0.0, 0.0, 0.0), (car(100.0, 1.75), far))
    assert actors[20, 30] == 8, "the box around the camera itself is not seen from within"


def test_turned_box():
    turned = car(110.0, 1.75, cos=np.cos(np.pi / 2), sin=np.sin(np.pi / 2))
    _, depth, _, _ = look((100.0, 1.75, 0.75), boxes=(turned,))
    assert depth[20, 30] == pytest.approx(9.0), "its side, half a width nearer than its middle"


def test_rays():
    box = np.zeros(1, BOX)
    for name, value in ({"cos": 1.0} | car(110.0, 1.75)).items():
        box[name] = value
    rays = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.8, 0.0, -0.6], [0.0, 0.0, 1.0]])
    distances, labels, actors = np.empty(5), np.empty(5, np.uint8), np.empty(5, np.int32)
    cast_rays(LAYERS, box, np.array([100.0, 1.75, 1.2]), rays, 0.0, 50.0, distances, labels, actors)
    assert distances == pytest.approx([8.0, 1.2, np.inf, 2.0, np.inf])
    assert actors.tolist() == [7, 0, 0, 0, 0]
    assert labels.tolist() == [14, ROAD_LABEL, 0, ROAD_LABEL, 0]
    cast_rays(LAYERS, box, np.array([100.0, 1.75, 1.2]), rays, 0.0, 7.9, distances, labels, actors)
    assert np.isinf(distances[0])


def test_a_camera_with_next_to_no_roll_sees_the_same():
    """Level rows are drawn by a shorter way."""
    level, rolled = (look((100.0, 1.0, 2.0), (-10.0, 20.0, roll), (car(115.0, 5.0),)) for roll in (0.0, 1e-6))
    same = rolled[2] == level[2]
    assert same.mean() > 0.99 and 0.1 < np.mean(level[2] == ROAD_LABEL) < 0.9
    assert rolled[1][same] == pytest.approx(level[1][same], rel=1e-4)
    assert (rolled[0][same] == level[0][same]).all()


@pytest.mark.parametrize("seed", range(8))
def test_every_pixel_shows_what_its_ray_meets(seed):
    """Boxes everywhere, some below, beside and behind the camera at once: a part of them is before it all the same."""
    rng = np.random.default_rng(seed)
    place, rotation = np.array([100.0, 1.75, 1.7]), rng.uniform((-30, -180, -20), (30, 180, 20))
    near = [car(*rng.uniform((97.0, -2.0), (103.0, 5.0)), actor=n + 1, height=rng.uniform(0.5, 1.5)) for n in range(3)]
    far = [car(*rng.uniform((80.0, -20.0), (120.0, 20.0)), actor=n + 4, cos=0.6, sin=0.8) for n in range(4)]
    _, depth, _, actors = look(place, rotation, (*near, *far))
    rows, columns = np.mgrid[0:41, 0:61]
    ahead = np.stack([np.ones(rows.shape), (columns + 0.5 - 30.5) / 30.0, (20.5 - rows - 0.5) / 30.0], axis=-1)
    length = np.linalg.norm(ahead, axis=-1)
    rays = (ahead / length[..., None]).reshape(-1, 3) @ axes(*rotation)
    boxes = np.zeros(7, BOX)
    for record, values in zip(boxes, (*near, *far)):
        for name, value in ({"cos": 1.0} | values).items():
            record[name] = value
    distances, labels, met = np.empty(len(rays)), np.empty(len(rays), np.uint8), np.empty(len(rays), np.int32)
    cast_rays(LAYERS, boxes, place, rays, 0.0, 500.0, distances, labels, met)
    assert set(np.unique(actors)) - {0}, "something is seen"
    assert (met.reshape(rows.shape) == actors).mean() > 0.999, "but for ties"
    seen = (actors > 0) & (met.reshape(rows.shape) == actors)
    assert depth[seen] == pytest.approx((distances.reshape(rows.shape) / length)[seen], rel=1e-4)
