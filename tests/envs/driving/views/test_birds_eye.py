"""Bird's-eye views: every channel against geometry by hand, at several scales and headings."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.views.bird_frame import inside
from envs.driving.views.birds_eye import BirdsEye, View, light_grey, speed_grey
from envs.driving.views.birds_eye_history import HISTORY, HistoryBirdsEye
from envs.driving.views.drawing import fill_box, fill_quad
from envs.driving.views.static_layers import BROKEN, ROAD, SHOULDER, SOLID, rasterise
from envs.driving.world.records import Kind, Lamp, Light
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, crossing, straight_road

VIEW = View(size=128, pixels_per_metre=2.0, from_bottom=50.0)


def scene(spawns=(), graph=None, view=VIEW, shoulders=None, **start):
    graph = graph or straight_road()
    worlds = DrivingWorlds(graph, worlds=1, actors=1 + len(spawns), history=HISTORY)
    worlds.reset({0: Start(seed=0, spawns=tuple(spawns), **{"route": (0,), "first_arc": 100.0, **start})})
    assert worlds.errors == [""]
    return worlds, BirdsEye(graph, view, shoulders)


def places(view, image):
    """Metres ahead and to the left of the pixels that are set."""
    row, column = np.nonzero(image)
    ahead = (view.size - view.from_bottom - (row + 0.5)) / view.pixels_per_metre
    return ahead, -(column + 0.5 - view.size / 2) / view.pixels_per_metre


def extent(view, image):
    ahead, left = places(view, image)
    half = 0.5 / view.pixels_per_metre
    return ahead.min() - half, ahead.max() + half, left.min() - half, left.max() + half


def test_road_and_markings_around_the_ego():
    """The ego at y 0 heading along x: road from -1.75 to 8.75; a broken line at 1.75, solid ones at the edges."""
    worlds, eye = scene()
    images = eye.render(worlds)
    assert images.shape == (1, 10, 128, 128)
    assert images.dtype == np.uint8
    assert extent(VIEW, images[0, 0]) == pytest.approx((-25.0, 39.0, -1.75, 8.75), abs=0.51)
    assert set(np.unique(images[0, 0])) == {0, 255}
    marks = images[0, 2, 64]
    left = -(np.arange(128) + 0.5 - 64) / 2
    assert set(marks[np.abs(left - 1.75) < 0.3]) == {127}
    for solid in (-1.75, 5.25, 8.75):
        assert 255 in marks[np.abs(left - solid) < 0.6]
    assert set(marks[np.abs(left) < 1.0]) == {0}


@pytest.mark.parametrize("heading", [0.0, 0.7, math.pi / 2, -2.5])
def test_static_layers_turn_with_the_ego(heading):
    """Every pixel is road if and only if its place is, up to the raster's resolution at the edges."""
    worlds, eye = scene()
    worlds.actors["heading"][0, 0] = heading
    image = eye.render(worlds)[0, 0]
    row, column = np.mgrid[0:128, 0:128] + 0.5
    ahead, left = (128 - 50 - row) / 2, (64 - column) / 2
    x = 100.0 + ahead * math.cos(heading) - left * math.sin(heading)
    y = ahead * math.sin(heading) + left * math.cos(heading)
    margin = np.minimum(np.minimum(y + 1.75, 8.75 - y), np.minimum(x, 400 - x))
    assert (image[margin > 0.75] == 255).all()
    assert (image[margin < -0.75] == 0).all()


def test_beyond_the_map_there_is_nothing():
    worlds, eye = scene()
    worlds.actors["x"][0, 0] = 5000.0
    images = eye.render(worlds)
    assert not images[0, [0, 2]].any()


@given(st.integers(-5000, 5000), st.integers(-70, 70), st.integers(1, 3000), st.integers(0, 200))
def test_range_inside_the_raster(begin, step, limit, count):
    first, last = inside(begin, step, limit, count)
    wanted = [i for i in range(count) if 0 <= begin + i * step < limit]
    assert list(range(first, last)) == wanted


def test_vehicle_box_grey_and_line():
    """A car 20 m ahead and 3.5 m to the left at 10 m/s: its box, and a line of 10 m before it."""
    worlds, eye = scene([Spawn(x=120.0, y=3.5, kind=Kind.CAR, speed=10.0)])
    worlds.actors["velocity_x"][0, 1] = 10.0
    image = eye.render(worlds)[0, 3]
    grey = 127 + int(128 * 12.67 / 36.0)
    assert set(np.unique(image)) == {0, grey}
    ahead, left = places(VIEW, image)
    body = ahead < 22.3
    assert (ahead[body].min(), ahead[body].max()) == pytest.approx((17.7, 22.3), abs=0.5)
    assert (left[body].min(), left[body].max()) == pytest.approx((2.55, 4.45), abs=0.5)
    assert ahead.max() == pytest.approx(32.3, abs=0.5)
    assert np.ptp(left[~body]) <= 0.5, "one pixel wide"


def test_lamps():
    worlds, eye = scene([Spawn(x=120.0, y=3.5, kind=Kind.CAR)])
    worlds.actors["lamps"][0, 1] = Lamp.BRAKE | Lamp.LEFT_BLINKER
    image = eye.render(worlds)[0, 3]
    ahead, left = places(VIEW, image == 111)
    assert (ahead.mean(), left.mean()) == pytest.approx((18.5, 3.5), abs=0.3)
    ahead, left = places(VIEW, image == 44)
    assert (ahead.mean(), left.mean()) == pytest.approx((20.5, 4.0), abs=0.3)
    assert not (image == 77).any()


def test_pedestrians_are_enlarged_and_obstacles_have_their_own_image():
    worlds, eye = scene([Spawn(x=110.0, y=2.0, kind=Kind.PEDESTRIAN), Spawn(x=115.0, y=-1.0, kind=Kind.OBSTACLE)])
    images = eye.render(worlds)[0]
    ahead, left = places(VIEW, images[4])
    assert (ahead.mean(), left.mean()) == pytest.approx((10.3, 2.0), abs=0.3)
    assert (images[4] > 0).sum() >= 4, "1.2 m x 1.2 m at 0.5 m"
    assert set(np.unique(images[4])) == {0, speed_grey(0.0)}
    ahead, left = places(VIEW, images[8])
    assert (ahead.mean(), left.mean()) == pytest.approx((15.0, -1.0), abs=0.2)
    assert set(np.unique(images[8])) == {0, 255}
    assert not images[3].any(), "the ego itself is not drawn"


def test_route_is_drawn_from_here_on():
    worlds, eye = scene(last_arc=120.0)
    image = eye.render(worlds)[0, 1]
    low, high, right, left = extent(VIEW, image)
    assert (low, high) == pytest.approx((-1.5, 21.5), abs=0.6)
    assert (right, left) == pytest.approx((-1.5, 1.5), abs=0.6)


def test_light_levels():
    assert light_grey(Light.RED, 9.0) == 255
    assert light_grey(Light.GREEN, 9.0) == 80
    assert light_grey(Light.YELLOW, 3.0) == 170
    assert light_grey(Light.YELLOW, 1.5) == int(255 * (1 - 0.5 * 0.33))
    assert light_grey(Light.YELLOW, 0.0) == 255


def test_stop_lines_and_stop_signs():
    graph = straight_road(stops=[Stop(0, 120.0, 0, 0, 1), Stop(0, 130.0, 1, 0, 2), Stop(2, 50.0, 0, 1, 1)])
    worlds, eye = scene(graph=graph)
    images = eye.render(worlds)[0]
    ahead, left = places(VIEW, images[5])
    assert (ahead.mean(), left.mean()) == pytest.approx((20.0, 0.0), abs=0.3)
    assert np.ptp(left) == pytest.approx(3.0, abs=0.6)
    assert set(np.unique(images[5])) == {0, light_grey(worlds.lights[0, 0], worlds.lights_left[0, 0])}
    ahead, left = places(VIEW, images[6])
    assert (ahead.mean(), left.mean()) == pytest.approx((30.0, 0.0), abs=0.3)
    worlds.actors["served_stop"][0, 0] = 1
    assert not eye.render(worlds)[0, 6].any()


def test_speed_limits_are_drawn_where_they_begin():
    """The crossing's exits allow 13.9 m/s after 8 m/s within it."""
    graph = crossing()
    layers = rasterise(graph)
    assert len(layers.speed_signs) == 4
    worlds, eye = scene(graph=graph, route=(0, 9, 4), first_arc=70.0)
    image = eye.render(worlds)[0, 7]
    assert set(np.unique(image)) == {0, speed_grey(13.9)}


def test_shoulders():
    quad = np.array([[[90.0, -1.75], [130.0, -1.75], [130.0, -3.75], [90.0, -3.75]]])
    worlds, eye = scene(shoulders=quad)
    image = eye.render(worlds)[0, 9]
    assert extent(VIEW, image) == pytest.approx((-10.0, 30.0, -3.75, -1.75), abs=0.51)
    assert not scene()[1].render(worlds)[0, 9].any()


def test_raster_bits():
    layers = rasterise(straight_road(100.0), 4.0)
    area = ((layers.codes & ROAD) > 0).sum() / 16
    assert area == pytest.approx(100 * 10.5, rel=0.01)
    for bit in (SOLID, BROKEN):
        assert (layers.codes & bit).any()
    assert not (layers.codes & SHOULDER).any()


def test_other_scales_show_the_same_places():
    view = View(size=96, pixels_per_metre=1.0, from_bottom=30.0)
    worlds, eye = scene([Spawn(x=120.0, y=3.5, kind=Kind.TRUCK)], view=view)
    ahead, left = places(view, eye.render(worlds)[0, 3])
    body = ahead < 23.5
    assert (ahead[body].mean(), left[body].mean()) == pytest.approx((20.0, 3.5), abs=0.5)
    out = np.ones((1, 10, 96, 96), np.uint8)
    assert eye.render(worlds, out) is out
    assert (out == eye.render(worlds)).all(), "nothing of what was in the array remains"


@given(st.floats(0, 30), st.floats(0, 30), st.floats(-4, 4), st.floats(0.6, 8), st.floats(0.6, 8))
def test_a_box_holds_the_pixels_whose_centres_it_covers(x, y, heading, length, width):
    image = np.zeros((30, 30), np.uint8)
    fill_box(image, x, y, math.cos(heading), math.sin(heading), length, width, 9)
    row, column = np.mgrid[0:30, 0:30] + 0.5
    along = (column - x) * math.cos(heading) + (row - y) * math.sin(heading)
    across = (row - y) * math.cos(heading) - (column - x) * math.sin(heading)
    margin = np.minimum(length - np.abs(along), width - np.abs(across))
    assert (image[margin > 1e-6] == 9).all()
    assert (image[margin < -1e-6] == 0).all()


def test_quads_add_bits():
    image = np.ones((4, 4), np.uint8)
    fill_quad(image, 0.0, 0.0, 2.0, 0.0, 2.0, 4.0, 0.0, 4.0, 4, True)
    assert image.tolist() == [[5, 5, 1, 1]] * 4


def test_history_shows_where_vehicles_were():
    """A metre per step, at last 15 m ahead of the ego: 15, 10, 5 and 0 m behind that, in the ego's present frame."""
    worlds, _ = scene([Spawn(x=60.0, y=3.5, kind=Kind.CAR)], first_arc=85.0)
    eye = HistoryBirdsEye(worlds.graph)
    for step in range(41):
        worlds.actors["x"][0, 1] = 60.0 + step
        worlds.advance()
    images = eye.render(worlds)
    assert images.shape == (1, 6, 192, 192)
    for channel, ago in zip(range(2, 6), (15, 10, 5, 0), strict=True):
        ahead, left = places(eye.view, images[0, channel])
        assert np.mean(left) == pytest.approx(3.5, abs=0.1)
        assert np.mean(ahead) == pytest.approx(15.0 - ago, abs=0.15)
    assert set(np.unique(images[0, 1])) == {0, 120, 255}
    assert set(np.unique(images[0, 0])) == {0, 255}


def test_history_needs_worlds_that_keep_it():
    worlds = DrivingWorlds(straight_road(), worlds=1, actors=1, history=4)
    with pytest.raises(ValueError, match="keep 4 past steps; make them with history=16"):
        HistoryBirdsEye(worlds.graph).render(worlds)
