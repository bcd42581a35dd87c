"""The comparison of ranks, tiny: it trains, cuts, evaluates, goes on after a stop, and figures are what they say."""

import json
from dataclasses import replace

import pytest

from configs.libero_adaptive_rank import config as libero
from tests.support.adaptive_rank_experiment import AdaptedMlp
from tests.support.adaptive_rank_experiment import config as experiment
from vlarl.bench import ranks
from vlarl.config import EvaluationConfig, RolloutConfig
from vlarl.errors import UserError
from vlarl.policy import Decoding, LoadConfig

SUCCESS = {"stock": [8, 10], "light=0.5": [6, 10], "light=1.5": [1, 10]}


def test_scores_of_a_policy():
    assert ranks.scores(SUCCESS) == {
        "stock": 0.8,
        "light=0.5": 0.6,
        "light=1.5": 0.1,
        "perturbed mean": pytest.approx(0.35),
        "perturbed worst": 0.1,
    }
    assert ranks.scores({"stock": [1, 4]}) == {"stock": 0.25}


def test_differences_are_paired_by_seed():
    def result(name: str, seed: int, wins: int) -> dict:
        return {"contender": name, "seed": seed, "success": {"stock": [wins, 10]}, "ranks": {"rank_mean": 3.0}}

    wins = {"adaptive": (5, 9), "fixed": (4, 8), "fixed_final": (9, 9)}
    results = [result("start", 0, 1), *[result(n, s, w) for n, found in wins.items() for s, w in enumerate(found)]]
    summary = ranks.summarise(results)
    assert summary["intervals"]["adaptive"]["stock"]["mean"] == pytest.approx(0.7)
    equal = summary["differences"]["adaptive - fixed"]["stock"]
    assert equal["mean"] == pytest.approx(0.1) and equal["ci95"] == pytest.approx([0.1, 0.1])  # by 0.1 with either seed
    other = summary["differences"]["adaptive - fixed_final"]["stock"]
    assert other["ci95"][0] < -0.2 == pytest.approx(other["mean"])
    lines = list(ranks.markdown(summary))
    assert lines[2] == "| start | 0.100 |" and "| adaptive - fixed | 0.100 [0.100, 0.100] |" in lines


def test_contenders_differ_in_their_ranks_alone():
    base = libero()
    adaptive, fixed, final = (ranks.configured(base, name, 2, 5) for name in ranks.TRAINED)
    assert adaptive == replace(base, seed=2) and adaptive.learner.adapter_ranks.every == 5
    assert fixed.learner.adapter_ranks.every == 0 and fixed.load.adapter_rank == 16
    assert replace(fixed, learner=base.learner) == adaptive
    assert final.load.adapter_rank == 5 and replace(final, load=base.load) == fixed


def test_conditions_are_flags_of_the_environment():
    env = libero().env
    assert ranks.perturbed(env, "perturbation.camera=-0.03") == replace(
        env, perturbation=replace(env.perturbation, camera=-0.03)
    )
    assert all(ranks.perturbed(env, condition) != env for condition in ranks.PERTURBED)
    with pytest.raises(UserError, match=r"condition 'perturbation.light' has no value; expected FLAG=VALUE"):
        ranks.perturbed(env, "perturbation.light")
    with pytest.raises(SystemExit):
        ranks.perturbed(env, "perturbation.lihgt=1")


def test_a_tiny_study_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("vlarl.resolve.TRUSTED_PACKAGES", ("vlarl", "envs", "configs", "tests"))
    AdaptedMlp().save_pretrained(tmp_path / "start")
    base = replace(
        experiment(),
        policy=str(tmp_path / "start"),
        load=LoadConfig(adapter_rank=6),
        iterations=3,
        rollout=RolloutConfig(groups=2, group_size=4, temperature=1.3, workers=0, slots=4),
        evaluation=EvaluationConfig(episodes_per_task=2, decodings=(Decoding(mode="greedy"),)),
        videos=False,
    )
    monkeypatch.setattr("vlarl.commands.train.load_named", lambda name: base)
    options = ranks.Options(
        seeds=1, episodes=3, conditions=("speed=0.05",), out=tmp_path / "runs", json=tmp_path / "all.json"
    )
    played = []
    monkeypatch.setattr("vlarl.commands.eval.run", fake_evaluation(played))
    assert ranks.run(options) == 0
    content = json.loads((tmp_path / "all.json").read_text())
    start, adaptive, fixed, final = content["runs"]
    assert [run["contender"] for run in content["runs"]] == ["start", *ranks.TRAINED]
    assert adaptive["ranks"]["rank_mean"] < 6 and "rank/net.0" in adaptive["ranks"]
    assert fixed["ranks"] == {"rank_mean": 6.0}
    assert final["ranks"] == {"rank_mean": float(max(1, round(adaptive["ranks"]["rank_mean"])))}
    assert start["success"] == {"stock": [1, 3], "speed=0.05": [0, 3]}
    assert [(source.split("/")[-2], speed) for source, speed in played[2:4]] == [
        ("adaptive-3-seed0", 0.1),
        ("adaptive-3-seed0", 0.05),
    ]
    assert len(played) == 8
    (tmp_path / "runs" / "fixed-3-seed0" / "report.html").unlink()  # as if stopped before the end
    ranks.run(options)
    assert len(played) == 8 and (tmp_path / "runs" / "fixed-3-seed0" / "report.html").is_file()


def fake_evaluation(played: list):
    """In place of simulator processes: one success with the stock speed."""

    def run(checkpoint, env, options, load):
        played.append((checkpoint, env.speed))
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"successes": int(env.speed == 0.1), "episodes": options.episodes}))
        return 0

    return run


def test_an_experiment_that_cuts_nothing_is_refused():
    with pytest.raises(UserError, match=r"toy_grpo does not cut ranks"):
        ranks.run(ranks.Options(config="toy_grpo"))
