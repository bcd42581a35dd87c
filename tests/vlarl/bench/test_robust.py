"""The robustness study, tiny: it trains, cuts, evaluates, resumes, and its figures are what they say."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vlarl.bench import robust, robust_training
from vlarl.env_protocol import EpisodeSpec
from vlarl.errors import UserError


def test_scores_of_a_grid():
    grid = {"mass": {str(i): [float(i), float(i) + 2] for i in range(5)}, "wind": {str(i): [0.0] for i in range(5)}}
    found = robust.scores({"nominal": [3.0, 5.0], "grid": grid})
    # point means 1..5 and five times 0: mean 1.5, worst two of ten are 0
    assert found == {"nominal": 4.0, "perturbed mean": 1.5, "perturbed CVaR": 0.0}


def test_a_tiny_study_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(robust, "grid", lambda env_id: {"mass": (0.5, 2.0), "delay": (1.0,)})
    options = robust.Options(
        contenders="adarl_repaired,sac_final_rank,parseval,sac_restarts",
        steps=120,
        seeds=1,
        every=30,
        episodes=1,
        learning_starts=50,
        out=tmp_path / "runs",
        json=tmp_path / "all.json",
        figure=tmp_path / "figure.png",
    )
    robust.run(options)
    content = json.loads((tmp_path / "all.json").read_text())
    adaptive, fixed, parseval, restarts = content["runs"]
    assert adaptive["ranks"] and adaptive["cuts"] and adaptive["steps"] >= 120
    assert fixed["ranks"][0] == adaptive["ranks"][0] and parseval["ranks"] == []
    assert restarts["ranks"] == [64, 64, 64] and len(restarts["cuts"]) == len(adaptive["cuts"])
    for result in content["runs"]:
        assert set(result["grid"]) == {"mass", "delay"}
        assert np.isfinite([value for values in result["grid"].values() for v in values.values() for value in v]).all()
    assert set(content["intervals"]) == {
        f"{name} {kind}"
        for name in ("adarl_repaired", "sac_final_rank", "parseval", "sac_restarts")
        for kind in ("nominal", "perturbed mean", "perturbed CVaR")
    }
    assert (tmp_path / "figure.png").stat().st_size > 1000
    monkeypatch.setattr(robust, "train_and_evaluate", lambda *_: pytest.fail("finished runs are not played again"))
    robust.run(options)


def test_rnac_and_ppo_in_the_same_study(tmp_path, monkeypatch):
    base = robust_training.resolve("mujoco_ppo", "configs", "config")()
    small = replace(base, rollout=replace(base.rollout, min_steps=60), learner=replace(base.learner, epochs=1))
    monkeypatch.setattr(robust_training, "resolve", lambda *_: lambda: small)
    monkeypatch.setattr(robust, "grid", lambda env_id: {"mass": (2.0,)})
    options = robust.Options(contenders="ppo,rnac_ds,rnac_ipm,sac_full_rank", steps=100, seeds=1, out=tmp_path)
    options = replace(options, episodes=1, learning_starts=50, json=tmp_path / "all.json")
    robust.run(options)
    ppo, ds, ipm, full = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert ppo["protocol"] | {"next_states": 2, "action_noise": 0.005} == ds["protocol"]
    assert (
        ppo["curve"][0] == ipm["curve"][0] != ds["curve"][0]
    )  # equal starts; noise on the actions from the first step
    assert ppo["nominal"] != ipm["nominal"]  # other advantages, another policy
    assert full["ranks"] == [64, 64, 64] and full["cuts"] == []
    assert 0 < ppo["distance"]["mean"] < ppo["distance"]["max"] and ppo["distance"]["models"] == 32


def double_sampling(worst) -> robust_training.DoubleSamplingSlot:
    return robust_training.DoubleSamplingConfig(env_id="Hopper-v5", sampler="sinusoid", worst=worst).make()


def test_double_sampling_takes_the_worst_next_state_two_times_of_three():
    seen = []

    def worst(states):
        seen.append(states)
        return 1

    slot = double_sampling(worst)
    spec = EpisodeSpec(suite="g", task=0, instruction="", init_state=3, seed=5)
    slot.reset(spec)
    action = np.array([0.3, -0.2, 0.1], np.float32)
    taken = []
    for _ in range(300):
        first, second = (slot._next_state(action + d) for d in (0.0, 0.004))
        assert not np.array_equal(first, second)  # what is tried leaves no trace in the slot itself
        np.testing.assert_array_equal(slot._next_state(action), first)
        number = len(seen)
        noisy = slot._noisy(action)
        assert np.abs(noisy - action).max() <= 0.005 + 1e-6
        taken.append(len(seen) > number)
    assert 0.25 < np.mean(taken) < 0.42  # the worst one's second lot: one of three
    result = slot.step_chunk(action[None])
    assert result.executed.tolist() == [True] and np.isfinite(result.reward).all()
    slot.close()


def test_double_sampling_tries_what_then_happens_and_repeats():
    slot, tried = double_sampling(lambda states: tried.append(states) or 0), []
    spec = EpisodeSpec(suite="g", task=0, instruction="", init_state=3, seed=5)
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (12, 1, 3)).astype(np.float32)
    runs = []
    for _ in range(2):
        slot.reset(spec)
        runs.append([slot.step_chunk(action).observation.state for action in actions])
    np.testing.assert_array_equal(*runs)
    happened = np.concatenate(runs)
    for states in tried:
        assert min(np.abs(happened - states[0]).max(axis=1)) < 1e-5
    assert tried
    slot.close()


def test_the_worst_state_is_the_one_of_least_value():
    env = robust_training.DynamicsConfig(env_id="Hopper-v5")
    _, learner = robust_training.make("rnac_ds", env, 0, robust.Options(), [])
    worst, states = robust_training.worst_by(learner), [np.full(11, x, np.float32) for x in (0.0, 1.0, -1.0)]
    assert worst(states) == 0
    learner.objective.value.network = lambda inputs: -inputs["state"].sum(-1)
    assert worst(states) == 1


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="unknown contender 'rnac_kl'"):
        robust.run(robust.Options(contenders="sac,rnac_kl"))
    with pytest.raises(UserError, match="name that first"):
        robust.run(robust.Options(contenders="sac_final_rank"))
