"""The comparison's arithmetic and its resuming; the players themselves take minutes."""

import json

import pytest

from vlarl.bench import mujoco
from vlarl.errors import UserError


def result(env, contender, seed, returns, seconds):
    return {"env": env, "contender": contender, "seed": seed, "returns": returns, "seconds": seconds} | {
        "steps": 1000,
        "cpu_seconds": seconds / 4,
    }


def test_intervals_over_seeds_and_time_ratio():
    results = [result("A", "vlarl", seed, [value, value + 2], 10) for seed, value in enumerate((0, 1, 2))]
    results += [result("A", "sb3", 0, [5.0], 20)]
    found = mujoco.intervals(results)
    # means 1, 2, 3: deviation 1, t(.975, 2) = 4.302653, half-width 4.302653 / sqrt(3)
    assert found["A vlarl"]["mean"] == 2.0
    assert found["A vlarl"]["ci95"] == pytest.approx([2 - 2.484138, 2 + 2.484138], abs=1e-5)
    assert found["A sb3"] == {"mean": 5.0, "ci95": None, "seeds": 1}
    assert mujoco.summarise(results)[1] == {
        "A: seconds vlarl/sb3": 0.5,
        "A: cpu_seconds vlarl/sb3": 0.5,
    }


def test_a_stopped_comparison_goes_on_with_what_is_missing(tmp_path, monkeypatch, capsys):
    played = []

    def player(name):
        def play(algorithm, env_id, seed, steps):
            if len(played) == 3 and name == "sb3":
                raise KeyboardInterrupt
            played.append((name, env_id, seed))
            return {"steps": steps, "seconds": 1.0, "cpu_seconds": 1.0, "curve": [], "returns": [float(seed)]}

        return play

    monkeypatch.setattr(mujoco, "play_ours", player("vlarl"))
    monkeypatch.setattr(mujoco, "play_sb3", player("sb3"))
    monkeypatch.setattr(mujoco, "check", lambda options: None)
    options = mujoco.Options(envs="A", seeds=2, out=tmp_path / "runs", json=tmp_path / "all.json", threads=1)
    with pytest.raises(KeyboardInterrupt):
        mujoco.run(options)
    assert played == [("vlarl", "A", 0), ("sb3", "A", 0), ("vlarl", "A", 1)]
    played.clear()
    mujoco.run(options)
    assert played == [("sb3", "A", 1)]
    content = json.loads((tmp_path / "all.json").read_text())
    assert len(content["runs"]) == 4 and content["intervals"]["A sb3"]["mean"] == 0.5


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="unknown contender 'cleanrl'"):
        mujoco.check(mujoco.Options(contenders="vlarl,cleanrl"))
    with pytest.raises(UserError, match="--steps needs at least 2048"):
        mujoco.check(mujoco.Options(steps=10))
