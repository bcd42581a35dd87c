"""A perturbation changes what it names and nothing else."""

import dataclasses

import numpy as np
import pytest

from envs.libero import LiberoConfig
from envs.libero.perturbation import STOCK, Perturbation
from envs.libero.simulator import forget_tasks

FAST = LiberoConfig(profile="fast", controller="compiled")


@pytest.fixture(scope="module", autouse=True)
def forget_afterwards():
    yield
    forget_tasks()


def first_observation(make_spec, perturbation):
    env = dataclasses.replace(FAST, perturbation=perturbation).make()
    try:
        return env.reset(make_spec())
    finally:
        env.close()


@pytest.mark.libero
@pytest.mark.xdist_group("libero_object_0")
def test_light_camera_and_robot(make_spec):
    stock = first_observation(make_spec, STOCK)
    dim = first_observation(make_spec, Perturbation(light=0.5))
    moved = first_observation(make_spec, Perturbation(camera=0.05))
    bent = first_observation(make_spec, Perturbation(robot=0.1))
    for camera in ("agentview", "wrist"):
        assert dim.images[camera].mean() < 0.8 * stock.images[camera].mean()
    np.testing.assert_array_equal(dim.state, stock.state)
    np.testing.assert_array_equal(moved.images["wrist"], stock.images["wrist"])
    np.testing.assert_array_equal(moved.state, stock.state)
    # The camera stands further right, so the scene moves left in the picture: the shift by some columns fits best.
    seen, before = (o.images["agentview"].mean(2)[40:100] for o in (moved, stock))
    errors = {s: np.abs(seen[:, 16:-16] - np.roll(before, -s, axis=1)[:, 16:-16]).mean() for s in range(-12, 13)}
    assert 2 <= min(errors, key=errors.__getitem__) <= 10
    assert 0.005 < np.linalg.norm(bent.state[:3] - stock.state[:3]) < 0.3
    again = first_observation(make_spec, Perturbation(robot=0.1))
    np.testing.assert_array_equal(again.state, bent.state)


def test_a_result_says_what_was_changed():
    assert FAST.protocol()["perturbation"] == "none"
    changed = dataclasses.replace(FAST, perturbation=Perturbation(light=0.3))
    assert changed.protocol()["perturbation"] == {"light": 0.3, "camera": 0.0, "robot": 0.0}


@pytest.mark.parametrize("wrong", [{"light": -1.0}, {"robot": -0.1}, {"camera": float("nan")}])
def test_impossible_strengths_are_refused(wrong):
    with pytest.raises(ValueError, match=r"env.perturbation .* expected finite"):
        Perturbation(**wrong)
