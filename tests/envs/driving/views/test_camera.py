"""The front camera: places by hand, who hides whom, lights and lamps in their colours, the same in any batch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.views import camera_scene as scene
from envs.driving.views.camera import PALETTE, CameraView, FrontCamera
from envs.driving.views.perspective import depth_of, fill_convex, ground_row, make_lens, to_image
from envs.driving.world.lights import GREEN, RED, YELLOW
from envs.driving.world.records import Kind, Lamp
from envs.driving.world.scenarios import scenario
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, straight_road

LEVEL = CameraView(width=160, height=120, ahead=0.0, above=1.5, pitch=0.0)
FOCAL = 80.0
"""Pixels, of 160 that see 90 degrees."""


def look(spawns=(), stops=(), view=LEVEL, change=None, **start):
    graph = straight_road(stops=list(stops))
    worlds = DrivingWorlds(graph, worlds=1, actors=1 + len(spawns))
    worlds.reset({0: Start(seed=0, spawns=tuple(spawns), **{"route": (0,), "first_arc": 100.0, **start})})
    assert worlds.errors == [""]
    if change is not None:
        change(worlds)
    return FrontCamera(graph, view).render(worlds)[0]


def where(image, number):
    """Rows and columns of the pixels in a colour of the palette."""
    return np.nonzero((image == PALETTE[number]).all(axis=2))


def test_the_ground_by_hand():
    """Below the horizon road between its edges and grass beyond; above it sky."""
    image = look()
    assert tuple(image[0, 80]) == tuple(PALETTE[scene.SKY])
    row = 100  # looks down by 40.5 of 80 pixels: at 1.5 * 80 / 40.5 = 2.963 m, 0.037 m per pixel
    per_pixel = 1.5 / 40.5
    rightmost = 1.75 / per_pixel  # where the right lane ends, with half of its solid line
    colours = [tuple(pixel) for pixel in image[row]]
    assert colours[80] == tuple(PALETTE[scene.ASPHALT])
    assert colours[80 + int(rightmost) - 8] == tuple(PALETTE[scene.ASPHALT])
    painted = where(image[row : row + 1], scene.PAINT)[1]
    painted = painted[painted > 80]
    assert painted.min() == pytest.approx(80 + rightmost - 0.15 / per_pixel, abs=3.5)
    assert painted.max() == pytest.approx(80 + rightmost + 0.15 / per_pixel, abs=3.5)
    assert colours[-1] in (tuple(PALETTE[scene.GRASS]), tuple(PALETTE[scene.GRASSES_APART]))


@given(st.floats(-20.0, 30.0), st.integers(0, 239), st.floats(0.5, 3.0), st.floats(40.0, 120.0))
def test_rows_of_the_ground_and_places_agree(pitch, row, height, field_of_view):
    """A place on the ground that a row looks at is drawn in that row."""
    lens = make_lens(320, 240, field_of_view, 0.7, height, pitch)
    ahead, across = ground_row(lens, row)
    if 0.0 < ahead < 1e4 and depth_of(lens, ahead + lens.ahead, 0.0) > 0.1:
        column, found = to_image(lens, ahead + lens.ahead, -30.0 * across, 0.0)
        assert found == pytest.approx(row + 0.5, abs=1e-3)
        assert column == pytest.approx(190.0, abs=1e-3)


def test_a_box_by_hand():
    """An obstacle of 4.6 x 1.9 x 1.5 m with its rear 10 m ahead: as high as the camera, so its top is the horizon."""
    image = look([Spawn(x=112.3, y=0.0, kind=Kind.OBSTACLE)])
    rows, columns = where(image, scene.CRATE + 2)
    assert rows.min() == 60
    assert rows.max() == 60 + int(FOCAL * 1.5 / 10.0) - 1
    half = FOCAL * 0.95 / 10.0
    assert columns.min() == 80 - round(half)
    assert columns.max() == 80 + round(half) - 1
    assert len(where(image, scene.CRATE + 1)[0]) == 0, "its sides are hidden by its rear"
    assert len(where(image, scene.CRATE)[0]) == 0, "its top is edge on"


@pytest.mark.parametrize(("y", "side"), [(3.5, 1), (-3.5, -1)])
def test_a_box_beside_shows_the_side_that_faces_the_ego(y, side):
    rows, columns = where(look([Spawn(x=108.0, y=y, kind=Kind.OBSTACLE)]), scene.CRATE + 1)
    assert len(rows) > 20
    assert ((columns < 80) == (side > 0)).all()


def test_the_nearer_hides_the_further():
    far, near = Spawn(x=125.0, y=0.0, kind=Kind.PEDESTRIAN), Spawn(x=112.0, y=0.0, kind=Kind.TRUCK)
    assert len(where(look([far]), scene.COAT + 2)[0]) > 0
    for spawns in ([far, near], [near, far]):
        image = look(spawns)
        assert len(where(image, scene.COAT + 2)[0]) == 0
        assert len(where(image, scene.TRUCK_BODY + 2)[0]) > 100


@pytest.mark.parametrize("x", [90.0, 60.0])
def test_nothing_behind_is_seen(x):
    there = look([Spawn(x=x, y=0.0, kind=Kind.OBSTACLE)])
    np.testing.assert_array_equal(there, look())


def test_what_touches_the_lens_is_cut_off():
    """A box 0.45 m before the camera fills the middle; of one beside it only what lies ahead is drawn."""
    close = CameraView(width=64, height=64, ahead=2.0, above=1.2, pitch=0.0)
    image = look([Spawn(x=104.75, y=0.0, kind=Kind.OBSTACLE)], view=close)
    assert (image[40, 5:60] == PALETTE[scene.CRATE + 2]).all()
    _, columns = where(look([Spawn(x=103.0, y=2.0, kind=Kind.OBSTACLE)], view=close), scene.CRATE + 1)
    assert columns.min() == 0
    assert columns.max() < 32


@pytest.mark.parametrize(
    ("state", "shown"), [(RED, scene.LAMP_RED), (YELLOW, scene.LAMP_YELLOW), (GREEN, scene.LAMP_GREEN)]
)
def test_traffic_lights_show_their_colour_at_the_right(state, shown):
    def light(worlds):
        worlds.lights[:] = state

    image = look(stops=[Stop(0, 112.0)], change=light)
    lamps = {number: where(image, number + 2) for number in (scene.LAMP_RED, scene.LAMP_YELLOW, scene.LAMP_GREEN)}
    assert [number for number, found in lamps.items() if len(found[0])] == [shown]
    rows, columns = lamps[shown]
    assert columns.min() > 80
    assert rows.max() < 60


def test_a_light_for_others_is_not_shown():
    rear = look(stops=[Stop(2, 288.0)])  # 12 m ahead, for those who come the other way
    for number in (scene.LAMP_RED, scene.LAMP_YELLOW, scene.LAMP_GREEN):
        assert len(where(rear, number + 2)[0]) == 0


def test_stop_signs_and_brake_lamps():
    assert len(where(look(stops=[Stop(0, 115.0, kind=1)]), scene.SIGN + 2)[0]) > 5

    def brake(worlds):
        worlds.actors["lamps"][0, 1] = Lamp.BRAKE | Lamp.LEFT_BLINKER

    car = [Spawn(x=110.0, y=0.0, kind=Kind.CAR)]
    assert len(where(look(car), scene.LAMP_RED + 2)[0]) == 0
    image = look(car, change=brake)
    _, columns = where(image, scene.LAMP_RED + 2)
    assert columns.min() < 80 < columns.max()
    assert where(image, scene.AMBER + 2)[1].max() < 80
    oncoming = [Spawn(x=110.0, y=0.0, heading=math.pi, kind=Kind.CAR)]
    assert len(where(look(oncoming, change=brake), scene.LAMP_RED + 2)[0]) == 0


def test_the_route_is_painted_if_asked_for():
    assert len(where(look(), scene.ROUTE)[0]) == 0
    view = CameraView(width=160, height=120, ahead=0.0, above=1.5, pitch=0.0, route=True)
    rows, columns = where(look(view=view), scene.ROUTE)
    assert len(rows) > 100
    assert np.abs(columns[rows > 70] + 0.5 - 80).max() < 0.3 * FOCAL


def test_finer_pictures_are_averages():
    spawns = [Spawn(x=112.0, y=1.0, kind=Kind.CAR)]
    fine = look(spawns, view=CameraView(width=64, height=48, finer=2))
    double = look(spawns, view=CameraView(width=128, height=96)).astype(np.uint16)
    blocks = double.reshape(48, 2, 64, 2, 3).sum(axis=(1, 3)) // 4
    np.testing.assert_array_equal(fine, blocks)


def test_the_same_in_any_batch_and_with_any_number_of_threads():
    graph = straight_road()
    images = []
    for seeds, threads in (((7,), 1), ((3, 7, 5), 1), ((5, 3, 7), 2)):
        worlds = DrivingWorlds(graph, worlds=len(seeds), actors=13, threads=threads)
        worlds.reset({w: scenario(seed, 1.0, 13, 200.0) for w, seed in enumerate(seeds)})
        for _ in range(20):
            worlds.step(np.tile([0.0, 0.4], (len(seeds), 1)))
        images.append(FrontCamera(graph, LEVEL).render(worlds)[seeds.index(7)])
        worlds.close()
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


@given(st.lists(st.tuples(st.floats(-50, 90), st.floats(-50, 90)), min_size=3, max_size=3))
def test_triangles_fill_the_pixels_whose_centres_they_hold(corners):
    image = np.zeros((40, 40), np.uint8)
    places = np.array(corners)
    fill_convex(image, places, 3, 1)
    rows, columns = np.mgrid[:40, :40] + 0.5
    ends = np.roll(places, -1, axis=0)
    sides = [
        (ex - ax) * (rows - ay) - (ey - ay) * (columns - ax) for (ax, ay), (ex, ey) in zip(places, ends, strict=True)
    ]
    margin = 1e-6 * (1.0 + np.abs(places).max()) ** 2
    assert image[np.all([side > margin for side in sides], axis=0)].all()
    assert image[np.all([side < -margin for side in sides], axis=0)].all()
    outside = np.any([side > margin for side in sides], axis=0) & np.any([side < -margin for side in sides], axis=0)
    assert not image[outside].any()
