"""The comparison's arithmetic and its resuming; the players themselves take minutes."""

import json
import sys

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


def test_runs_made_one_after_the_other_are_compared_with_each_other():
    results = [
        result("A", name, seed, [0], time)
        for seed, (ours, theirs) in enumerate(((1, 2), (8, 10), (30, 10)))
        for name, time in (("vlarl", ours), ("sb3", theirs))
    ]
    assert mujoco.summarise(results)[1]["A: seconds vlarl/sb3"] == pytest.approx(0.8)


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


SCRIPT = """
import colorsys
import sys
import gymnasium as gym, numpy as np, torch
from torch.utils.tensorboard import SummaryWriter

class Agent:
    def actor_mean(self, state):
        assert state.abs().max() <= 10
        return torch.full((1, 3), 5.0)  # beyond the actions' bounds

def make_env():
    env = gym.wrappers.RecordEpisodeStatistics(gym.make(words["--env-id"]))
    env = gym.wrappers.NormalizeObservation(env)
    return gym.wrappers.TransformObservation(env, lambda obs: np.clip(obs, -10, 10))

if __name__ == "__main__":
    words = dict(zip(sys.argv[1:], sys.argv[2:]))
    assert "--no-anneal-lr" in sys.argv
    writer = SummaryWriter("runs/x")
    envs = gym.vector.SyncVectorEnv([make_env])
    envs.reset(seed=int(words["--seed"]))
    global_step = 0
    for _ in range(int(words["--total-timesteps"])):
        global_step += 1
        obs, reward, terminations, truncations, infos = envs.step(np.ones((1, 3), np.float32))
        if "final_info" in infos:
            raise AssertionError("the old way of reading it fails")
        writer.add_scalar("x", 1.0, global_step)
    agent = Agent()
"""


def test_cleanrls_script_runs_as_it_is(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    for name in ("colorsys", "torch.utils.tensorboard"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "ppo.py").write_text(SCRIPT)
    from vlarl.bench.cleanrl import play_cleanrl

    found = play_cleanrl(tmp_path / "ppo.py", "Hopper-v5", 3, 60, 2)
    again = play_cleanrl(tmp_path / "ppo.py", "Hopper-v5", 3, 60, 2)
    assert found["steps"] == 60 and len(found["returns"]) == 2 and found["returns"][0] > 1
    assert found["returns"] == again["returns"] and found["curve"] == again["curve"]
    ends = [step for step, _ in found["curve"]]  # full torque: it falls after some 15 steps, again and again
    assert 2 <= len(ends) <= 6 and ends == sorted(ends) and all(value > 1 for _, value in found["curve"])
    assert [path.name for path in tmp_path.iterdir()] == ["ppo.py"]
    assert "colorsys" in sys.modules and "torch.utils.tensorboard" not in sys.modules


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="unknown contender 'rllib'; choose from vlarl, sb3, cleanrl"):
        mujoco.check(mujoco.Options(contenders="vlarl,rllib"))
    with pytest.raises(UserError, match=r"--cleanrl None: expected ppo, and where CleanRL's"):
        mujoco.check(mujoco.Options(contenders="vlarl,cleanrl"))
    with pytest.raises(UserError, match="--steps needs at least 2048"):
        mujoco.check(mujoco.Options(steps=10))
