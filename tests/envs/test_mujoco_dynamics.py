"""Changed models: the paper's schedule, what is changed and what is not, distances, and their calibration."""

import numpy as np
import pytest

from envs.mujoco import MujocoConfig
from envs.mujoco_dynamics import (
    DynamicsConfig,
    ModelDistance,
    Range,
    calibrate_radius,
    nominal,
    probe_transitions,
    sinusoid,
)
from vlarl.env_protocol import EpisodeSpec, UnknownTaskError


def spec(number):
    return EpisodeSpec(suite="g", task=0, instruction="", init_state=number, seed=0)


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("Hopper", "torso", [0.4, 0.439734, 0.568294, 0.581859]),
        ("Walker2d", "torso", [0.2, 0.229552, 0.299749, 0.214112]),
        ("Ant", "gravity", [14.715, 17.066582, 17.650506, 10.011476]),
        ("Ant", "wind", [1.0, 1.095885, 1.119694, 0.808215]),
        ("Humanoid", "wind", [1.0, 1.239713, 1.299236, 0.520538]),
    ],
)
def test_the_papers_schedule(family, name, expected):
    assert [sinusoid(family, i)[name] for i in (0, 1, 5, 10)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Walker2d-v5"])
def test_the_nominal_model_is_the_stock_model(env_id):
    changed, stock = DynamicsConfig(env_id=env_id).make(), MujocoConfig(env_id=env_id).make()
    first, second = changed.reset(spec(3)), stock.reset(spec(3))
    np.testing.assert_allclose(first.state, second.state, atol=1e-9)
    actions = np.random.default_rng(0).uniform(-1, 1, (8, changed.env.action_space.shape[0])).astype(np.float32)
    a, b = changed.step_chunk(actions), stock.step_chunk(actions)
    np.testing.assert_allclose(a.observation.state, b.observation.state, atol=1e-6)


def test_parameters_reach_the_model_and_go_back():
    config = DynamicsConfig(
        env_id="Hopper-v5",
        sampler="fixed",
        ranges=tuple(
            Range(name=name, low=value, high=value)
            for name, value in (("mass", 1.5), ("friction", 0.5), ("gravity", 12.0), ("wind", 2.0), ("torso", 0.6))
        ),
    )
    slot, stock = config.make(), DynamicsConfig(env_id="Hopper-v5").make()
    stock.reset(spec(0))
    slot.reset(spec(0))
    model, plain = slot.env.unwrapped.model, stock.env.unwrapped.model
    np.testing.assert_allclose(model.body_mass, 1.5 * plain.body_mass)
    np.testing.assert_allclose(model.geom_friction[:, 0], 0.5 * plain.geom_friction[:, 0])
    assert model.opt.gravity[2] == -12.0 and model.opt.wind[0] == -2.0 and model.opt.density == 1.2
    assert model.geom("torso_geom").size[1] == pytest.approx(0.3)
    assert model.body("torso").pos[2] == pytest.approx(1.35) and model.body("thigh").pos[2] == pytest.approx(-0.3)
    slot.dynamics.apply(nominal("Hopper-v5"))
    for name in slot.dynamics.FIELDS:
        np.testing.assert_allclose(getattr(model, name), getattr(plain, name), atol=1e-12)


def test_a_delay_shifts_actions():
    late = DynamicsConfig(env_id="Hopper-v5", sampler="fixed", ranges=(Range(name="delay", low=2, high=2),)).make()
    plain = DynamicsConfig(env_id="Hopper-v5").make()
    late.reset(spec(1))
    plain.reset(spec(1))
    actions = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    shifted = np.concatenate((np.zeros((2, 3), np.float32), actions[:3]))
    parts = [late.step_chunk(part).observation.state for part in (actions[:2], actions[2:])]
    np.testing.assert_array_equal(parts[-1], plain.step_chunk(shifted).observation.state)


def test_equal_specs_play_under_equal_models():
    config = DynamicsConfig(env_id="Hopper-v5", sampler="uniform", ranges=(Range(name="mass", low=0.5, high=2.0),))
    assert config.parameters(4) == config.parameters(4) != config.parameters(5)
    assert all(0.5 <= config.parameters(i)["mass"] <= 2.0 for i in range(50))
    shrunk = DynamicsConfig(env_id="Hopper-v5", sampler="uniform", ranges=config.ranges, radius=0.1)
    assert all(0.95 <= shrunk.parameters(i)["mass"] <= 1.1 for i in range(50))


def test_distance_grows_with_the_change_and_is_calibrated():
    probes = probe_transitions("Hopper-v5", 12)
    distance = ModelDistance("Hopper-v5", probes)
    assert distance.of({}) == 0.0
    small, large = distance.of({"gravity": 10.0}), distance.of({"gravity": 14.0})
    assert 0 < small < large
    # gravity acts on velocities for one control step (0.008 s): the falling part alone gives about 4.19 * .008
    assert large == pytest.approx(4.19 * 0.008, rel=1.0)
    config = DynamicsConfig(env_id="Hopper-v5", sampler="uniform", ranges=(Range(name="gravity", low=9.81, high=20.0),))
    radius, reached = calibrate_radius(config, small, samples=4, probes=12, rounds=6)
    assert 0 < radius < 1 and 0.5 * small < reached <= small
    assert calibrate_radius(config, 1e9, samples=2, probes=4)[0] == 1.0


def test_what_does_not_exist_is_refused():
    with pytest.raises(UnknownTaskError, match="HalfCheetah-v5 has no parameter 'torso'; there are: mass"):
        DynamicsConfig(env_id="HalfCheetah-v5", ranges=(Range(name="torso", low=0, high=1),))
    with pytest.raises(UnknownTaskError, match="no sinusoid for 'Swimmer'"):
        DynamicsConfig(env_id="Swimmer-v5", sampler="sinusoid")
