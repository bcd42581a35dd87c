"""Many driving episodes at once: bitwise those that one slot plays, and one that fails stops nobody else."""

import dataclasses

import numpy as np
import pytest

from envs.drive import DriveConfig
from envs.driving.interleave import channels_last
from envs.driving.measurements import LENGTH, MEASURED
from envs.driving.shared import shared_map
from envs.driving.views.birds_eye import BirdsEye
from vlarl.env_protocol import ActionError, EnvError, EpisodeSpec, Observation, Outcome, StepResult, UnknownTaskError
from vlarl.errors import ConfigError

MAPS = ("grid_town", "winding_road")
SMALL = DriveConfig(maps=MAPS, routes=4, route_metres=40.0, horizon=60, actors=12, resolution=0, layers=32)


def spec(task=0, state=0, suite="drive_maps"):
    return EpisodeSpec(suite=suite, task=task, instruction="Follow the route.", init_state=state, seed=1)


def controls(task, state, count=60, chunk=1):
    """Some episode's actions: mostly ahead."""
    random = np.random.default_rng([task, state])
    steer, pedal = random.normal(0.0, 0.2, (count, chunk)), random.uniform(-0.2, 1.0, (count, chunk))
    return np.stack([steer, pedal], axis=-1).astype(np.float32)


def alone(config, task, state, chunk=1):
    """Everything that one slot answers."""
    slot = config.make()
    answers = [slot.reset(spec(task, state))]
    for actions in controls(task, state, chunk=chunk):
        answers.append(slot.step_chunk(actions))
        if slot.outcome.has_ended:
            break
    return answers


def together(config, wanted, slots, chunk=1, threads=1, reluctance=0):
    """The same episodes in a batch, refilled as they end; every so many turns a slot is not asked."""
    batch, waiting, playing = config.make_batch(slots, threads), list(wanted), {}
    answers = {key: [] for key in wanted}
    for turn in range(10_000):
        requests = {}
        for slot in range(slots):
            if slot not in playing and waiting:
                playing[slot] = waiting.pop(0)
                requests[slot] = spec(*playing[slot])
            elif slot in playing and not (reluctance and (turn + slot) % reluctance == 0):
                key = playing[slot]
                requests[slot] = controls(*key, chunk=chunk)[len(answers[key]) - 1]
        for slot, answer in batch.answer(requests).items():
            answers[playing[slot]].append(answer)
            if isinstance(answer, StepResult) and answer.outcome.has_ended:
                del playing[slot]
        if not playing and not waiting:
            return answers
    raise AssertionError("the episodes did not end")


def assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        seen = [x if isinstance(x, Observation) else x.observation for x in (a, b)]
        np.testing.assert_array_equal(seen[0].state, seen[1].state)
        assert seen[0].images.keys() == seen[1].images.keys()
        for name in seen[0].images:
            np.testing.assert_array_equal(seen[0].images[name], seen[1].images[name])
        assert (seen[0].instruction, seen[0].time) == (seen[1].instruction, seen[1].time)
        if isinstance(a, StepResult):
            assert a.outcome is b.outcome
            np.testing.assert_array_equal(a.executed, b.executed)
            told = [{k: v for k, v in x.events.items() if not k.startswith("seconds/")} for x in (a, b)]
            assert told[0].keys() == told[1].keys()
            for name in told[0]:
                np.testing.assert_array_equal(told[0][name], told[1][name])


@pytest.mark.parametrize(("slots", "chunk", "threads", "reluctance"), [(1, 1, 1, 0), (5, 1, 2, 3), (9, 3, 1, 0)])
def test_a_batch_of_any_size_plays_the_episodes_of_one_slot(slots, chunk, threads, reluctance):
    wanted = [(task, state) for task in (0, 3, 4, 6) for state in (0, 7)]
    found = together(SMALL, wanted, slots, chunk, threads, reluctance)
    for key in wanted:
        assert_equal(alone(SMALL, *key, chunk=chunk), found[key])
    outcomes = {answers[-1].outcome for answers in found.values()}
    assert len(outcomes) > 1  # the episodes do not all end alike


def test_vectors_and_pictures_are_the_same_in_a_batch():
    config = dataclasses.replace(SMALL, layers=0, resolution=16, every_frame=True, horizon=6)
    wanted = [(0, 0), (5, 1), (2, 2)]
    found = together(config, wanted, 2)
    for key in wanted:
        assert_equal(alone(config, *key), found[key])
    frames = found[0, 0][-1].frames
    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0]["birds_eye"], found[0, 0][-1].observation.images["birds_eye"])


def test_what_goes_wrong_in_a_slot_stays_there():
    batch = SMALL.make_batch(4, 1)
    first = batch.answer({0: spec(), 1: spec(task=99), 2: spec(task=1), 3: np.zeros((1, 2), np.float32)})
    assert isinstance(first[0], Observation) and isinstance(first[2], Observation)
    assert isinstance(first[1], UnknownTaskError) and "task 99; it has 0 to 7" in str(first[1])
    assert isinstance(first[3], EnvError) and "reset" in str(first[3])
    moved = batch.answer({0: np.array([[0.0, 1.0]], np.float32), 2: np.array([[np.nan, 0.0]], np.float32)})
    assert moved[0].outcome is Outcome.RUNNING
    assert isinstance(moved[2], ActionError)
    worlds = batch.playing[2].worlds
    worlds.fail(2, "world 2: the test broke it")
    go = np.array([[0.0, 1.0]], np.float32)
    after = batch.answer({0: go, 2: go})
    assert isinstance(after[2], EnvError) and "the test broke it" in str(after[2])
    assert_equal(alone_with(go, 2), [first[0], moved[0], after[0]])
    batch.abandon(2)
    assert isinstance(batch.answer({2: spec(task=1)})[2], Observation)


def alone_with(actions, count):
    slot = SMALL.make()
    return [slot.reset(spec()), *(slot.step_chunk(actions) for _ in range(count))]


def test_measurements_are_those_of_the_world():
    slot = SMALL.make()
    start = slot.reset(spec())
    assert start.state.shape == (LENGTH,) and SMALL.state_size() == LENGTH
    np.testing.assert_array_equal(start.state[:7], 0.0)  # it stands
    assert start.state[MEASURED] == start.state[MEASURED + 2] == 1.0  # all time and all of the route is left
    assert start.state[MEASURED + 1] == pytest.approx(1.0 - 0.1 / 90.0)  # it has stood for 0.1 of 90 s
    state = slot.step_chunk(np.full((10, 2), (0.1, 1.0), np.float32)).observation.state
    ego, world = slot.worlds.actors[0, 0], slot.worlds.worlds[0]
    assert state[0] == pytest.approx(0.1, abs=1e-3) and state[1] == pytest.approx(1.0, abs=1e-3) and state[2] == 0.0
    assert state[3] == pytest.approx(ego["speed"] / 20.0) and 0.1 < state[3] < 0.2
    slip = np.arctan2(ego["velocity_y"], ego["velocity_x"]) - ego["heading"]
    assert state[4] == pytest.approx(np.hypot(ego["velocity_x"], ego["velocity_y"]) * np.sin(slip) / 20.0, abs=1e-6)
    assert state[4] > 0.0  # it steers to the left
    assert state[7] == pytest.approx(world["speed_limit"] / 20.0)
    assert state[8] == pytest.approx(1.0 - 10 / 60)
    assert state[10] == pytest.approx(1.0 - world["route_arc"] / world["route_length"])
    assert state[11:].min() >= 0.0 and state[11:].max() <= 1.0


def test_layers_are_the_birds_eye_view_with_channels_last():
    slot = SMALL.make()
    seen = slot.reset(spec(state=3)).images["layers"]
    view = SMALL.layers_view()
    assert seen.shape == (32, 32, 10) and (view.pixels_per_metre, view.from_bottom) == (0.5, 8.0)
    planes = BirdsEye(shared_map(SMALL.map_path("drive_grid_town")), view).render(slot.worlds)[0]
    np.testing.assert_array_equal(seen, planes.transpose(1, 2, 0))
    assert seen[..., 0].any() and seen[..., 1].any()  # road and route


def test_channels_last_is_a_transposition():
    images = np.random.default_rng(0).integers(0, 2, (3, 10, 8, 16)).astype(np.uint8) * 200
    images[0, 3] = 0
    rows = np.array([2, 0])
    np.testing.assert_array_equal(channels_last(images, rows), images[rows].transpose(0, 2, 3, 1))


def test_views_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="multiple of 8"):
        DriveConfig(layers=30)


def test_the_suite_of_several_maps_counts_its_tasks_map_by_map():
    tasks = SMALL.task_specs("drive_maps")
    assert [task.task for task in tasks] == list(range(8))
    assert tasks[5].name == "winding_road route 1"
    path, route = SMALL.place(spec(task=5))
    assert (path.stem, route) == ("winding_road", 1)
