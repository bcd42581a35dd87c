"""Facts of pictures from above, on scenes placed by hand."""

import numpy as np
import pytest

from envs.driving.views.captions import SENTENCES, UNDECIDED, Captions
from envs.driving.world.lights import GREEN, RED, YELLOW
from envs.driving.world.records import Kind
from envs.driving.world.start import Spawn, Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import Stop, straight_road


def road(stops=(), **start) -> DrivingWorlds:
    """The ego at x = 40 on a straight road along x."""
    worlds = DrivingWorlds(straight_road(stops=list(stops)), worlds=1, actors=3)
    worlds.reset({0: Start(seed=0, route=(0,), first_arc=40.0, **start)})
    assert worlds.errors == [""]
    return worlds


def facts(worlds: DrivingWorlds) -> dict[str, int]:
    row = Captions(worlds).answers()
    assert row.shape == (1, len(SENTENCES)) and row.dtype == np.int8
    return dict(zip(SENTENCES, row[0].tolist(), strict=True))


def test_an_empty_road():
    assert facts(road()) == {
        "crash": 0,
        "vehicle": 0,
        "light": 0,
        "person": 0,
        "road": 0,
        "lane": 0,
        "heading": 0,
        "junction": 0,
        "clear": 1,
    }


@pytest.mark.parametrize(("gap", "told", "clear"), [(3.0, 1, 0), (12.0, UNDECIDED, UNDECIDED), (30.0, 0, 1)])
def test_who_is_ahead(gap, told, clear):
    half_lengths = 2 * float(road().actors["half_length"][0, 0])
    found = facts(road(spawns=(Spawn(x=40.0 + half_lengths + gap, y=0.0, kind=Kind.CAR),)))
    assert (found["vehicle"], found["clear"], found["crash"]) == (told, clear, 0)


@pytest.mark.parametrize(("light", "told", "clear"), [(RED, 1, 0), (GREEN, 2, 1), (YELLOW, UNDECIDED, UNDECIDED)])
def test_the_light_ahead(light, told, clear):
    worlds = road([Stop(0, 52.0)])
    worlds.lights[0, :] = light
    found = facts(worlds)
    assert (found["light"], found["clear"]) == (told, clear)


def test_a_line_at_the_edge_of_the_picture_is_left_undecided():
    worlds = road([Stop(0, 40.0 + 20.0 + float(road().actors["half_length"][0, 0]))])
    worlds.lights[0, :] = RED
    assert (facts(worlds)["light"], facts(worlds)["clear"]) == (UNDECIDED, UNDECIDED)


@pytest.mark.parametrize(
    ("ahead", "left", "told"), [(10.0, 3.0, 1), (20.0, 3.0, UNDECIDED), (-5.0, 3.0, UNDECIDED), (40.0, 3.0, 0)]
)
def test_people(ahead, left, told):
    found = facts(road(spawns=(Spawn(x=40.0 + ahead, y=left, kind=Kind.PEDESTRIAN),)))
    assert found["person"] == told
    assert found["clear"] == (0 if told == 1 else 1 if told == 0 else UNDECIDED)


def test_a_crash():
    worlds = road(spawns=(Spawn(x=60.0, y=0.0, kind=Kind.CAR),))
    worlds.actors["speed"][0, 0] = 10.0
    for _ in range(30):
        if facts(worlds)["crash"] == 1:
            break
        worlds.step(np.array([[0.0, 1.0]]))
    assert (facts(worlds)["crash"], facts(worlds)["clear"]) == (1, 0)


@pytest.mark.parametrize(
    ("offset", "angle", "lane", "heading"),
    [(0.3, 0.2, 0, 0), (0.7, 0.4, UNDECIDED, UNDECIDED), (-1.4, -0.8, 1, 1)],
)
def test_lane_and_heading(offset, angle, lane, heading):
    worlds = road()
    worlds.worlds["route_offset"], worlds.worlds["route_angle"] = offset, angle
    found = facts(worlds)
    assert (found["lane"], found["heading"]) == (lane, heading)
    assert found["clear"] == (1 if heading == 0 else UNDECIDED)


@pytest.mark.parametrize(("fraction", "told"), [(0.0, 0), (0.3, UNDECIDED), (0.8, 1)])
def test_off_the_road(fraction, told):
    worlds = road()
    worlds.worlds["off_road_fraction"] = fraction
    assert facts(worlds)["road"] == told


def test_every_answer_has_sentences_of_its_own_and_one_is_kept_from_training():
    texts = [text for fact in SENTENCES.values() for answer in fact for text in answer]
    assert len(texts) == len(set(texts))
    assert all(len(answer) >= 3 for fact in SENTENCES.values() for answer in fact)
    trained = {word for fact in SENTENCES.values() for answer in fact for text in answer[:-1] for word in text.split()}
    kept = {word for fact in SENTENCES.values() for answer in fact for word in answer[-1].split()}
    assert kept <= trained, kept - trained
