"""Pictures for people: the ego and its route are there, infractions are marked where and when they happened."""

import numpy as np
import pytest

from envs.driving.views.birds_eye_picture import EGO, OBSTACLE, RED, ROUTE
from envs.driving.views.film import ALARM, PANEL, Film
from envs.driving.world.lights import RED as RED_LIGHT
from envs.driving.world.records import Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, straight_road

SIZE, METRES = 200, 50.0
"""4 pixels per metre; the ego's centre is 60 pixels above the lower edge."""


def film_of(spawns=(), stops=(), **start):
    worlds = DrivingWorlds(straight_road(stops=list(stops)), worlds=2, actors=1 + len(spawns))
    way = {"route": (0,), "first_arc": 100.0, "last_arc": 200.0} | start
    worlds.reset({1: Start(seed=0, spawns=tuple(spawns), **way)})
    assert worlds.errors[1] == ""
    return worlds, Film(worlds, world=1, size=SIZE, view_metres=METRES)


def near(image, colour):
    """Metres ahead of and to the left of the ego of the pixels in a colour of the view."""
    view = image[PANEL:].astype(int)
    rows, columns = np.nonzero(np.abs(view - colour).sum(axis=2) < 12)
    return (SIZE - 60 - rows - 0.5) * METRES / SIZE, (SIZE / 2 - columns - 0.5) * METRES / SIZE


def test_ego_route_and_obstacle_by_hand():
    _, film = film_of([Spawn(x=115.0, y=-3.0, kind=Kind.OBSTACLE)])
    image = film.draw()
    assert image.shape == (SIZE + PANEL, SIZE, 3) and image.dtype == np.uint8
    ahead, left = near(image, EGO)
    assert (ahead.min(), ahead.max()) == pytest.approx((-2.3, 2.3), abs=0.4)
    assert (left.min(), left.max()) == pytest.approx((-0.95, 0.95), abs=0.4)
    ahead, left = near(image, OBSTACLE)
    assert (ahead.mean(), left.mean()) == pytest.approx((15.0, -3.0), abs=0.3)
    ahead, left = near(image, ROUTE)
    assert ahead.max() > 30.0
    assert np.abs(left).max() < 1.0
    np.testing.assert_array_equal(image, film.draw())


def test_a_collision_is_marked_between_the_two_and_stays_there():
    worlds, film = film_of([Spawn(x=112.0, y=0.0, kind=Kind.OBSTACLE)], speed=10.0)
    for _ in range(12):
        worlds.step(np.array([[0.0, 0.0], [0.0, 0.5]]))
        film.look()
    (mark,) = film.marks
    assert mark.kind == "collision_static"
    assert 107.0 < mark.x < 112.0
    assert mark.text == f"collision static {mark.time:.1f} s"
    ahead, left = near(film.draw(), ALARM)
    assert (np.median(ahead), np.median(left)) == pytest.approx(
        (mark.x - worlds.actors["x"][1, 0], mark.y - worlds.actors["y"][1, 0]), abs=1.5
    )
    film.reset()
    assert len(near(film.draw(), ALARM)[0]) == 0


def test_a_red_light_run_over_is_marked_once():
    worlds, film = film_of(stops=[Stop(0, 110.0)], speed=10.0)
    assert len(near(film.draw(), RED)[0]) == 0
    for _ in range(15):
        worlds.lights[:] = RED_LIGHT
        worlds.step(np.array([[0.0, 0.0], [0.0, 0.0]]))
        film.look()
    assert [mark.kind for mark in film.marks] == ["red_light"]


def test_the_verdict_and_the_panel_are_written():
    _, film = film_of()
    plain, told = film.draw(), film.draw("success")
    changed = np.nonzero((plain != told).any(axis=2))
    assert changed[0].min() > PANEL
    assert len(changed[0]) > 200
    assert plain[:PANEL].max() > 200, "white letters on the panel"
