"""PPO learns to drive along an empty road, from the bird's-eye view and from vectors; the configuration runs whole."""

import json
import shutil

import pytest
import torch

from configs.drive_carl import config as drive_carl
from envs.drive import DriveConfig
from vlarl.collector import Collector, add_final_inputs
from vlarl.commands.train import main
from vlarl.learner import LearnerConfig, make_learner
from vlarl.make_slots import make_slots
from vlarl.policies.carl_driving import CarlDriving
from vlarl.policies.mlp import DrivingMlp
from vlarl.policy import Decoding
from vlarl.reward import score_all
from vlarl.rewards.carl import CarlConfig
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories

EMPTY_ROAD = DriveConfig(difficulty=0.0, routes=2, route_metres=30.0, horizon=60, actors=1, resolution=0)
SMALL = {"convolutions": ((8, 8, 8), (16, 3, 2)), "measured_layers": (16,), "joint_layers": (32,), "head_layers": (32,)}
CASES = {
    "birds-eye view": (
        DriveConfig(difficulty=0.0, routes=2, route_metres=30.0, horizon=60, actors=1, resolution=0, layers=64),
        lambda env: CarlDriving.for_env(env, **SMALL),
    ),
    "vectors": (EMPTY_ROAD, lambda env: DrivingMlp.for_env(env, hidden=(32,))),
}


@pytest.mark.parametrize("name", CASES)
def test_ppo_learns_to_follow_a_road(name):
    env, build = CASES[name]
    policy, tasks, completion = build(env), env.task_specs("drive_winding_road"), []
    config = LearnerConfig(
        learning_rate=2e-3, warmup_updates=0, epochs=4, minibatch_trajectories=256, microbatch_decisions=128, threads=1
    )
    learner = make_learner(policy, drive_carl().objective, config)
    with make_slots(env, [("drive_winding_road", 0)], workers=0, slots=16) as slots:
        collector = Collector(policy, slots)
        for iteration in range(10):
            specs = training_groups(tasks, split="heldout", groups=16, group_size=1, seed=0, iteration=iteration)
            episodes = collector.collect(specs, Decoding())
            score_all([CarlConfig().build()], episodes)
            add_final_inputs(policy, episodes, Decoding())
            metrics = learner.update(stack_trajectories(episodes), seed=0, iteration=iteration)
            assert metrics["ratio_before_update"] == pytest.approx(1.0, abs=1e-4)
            completion.append(sum(t.events[-1]["drive/route_completion"] for t in episodes) / len(episodes))
    assert completion[-1] > 2.0 * completion[0], completion


TINY = """--env.routes 2 --env.route-metres 20 --env.horizon 12 --env.actors 4 --rollout.groups 4 --rollout.slots 3
--tasks 0,1,2 --evaluation.tasks 3,5 --evaluation.suite-tasks 1 --evaluation.episodes-per-task 1 --iterations 2
--checkpoint-every 1 --learner.minibatch-trajectories 16 --learner.microbatch-decisions 16 --learner.epochs 1""".split()


@pytest.mark.parametrize("name", ["drive_carl", "drive_additive", "drive_language"])
def test_the_configuration_runs_whole_and_resumes_exactly(name, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main([name, "--out", str(whole), *TINY]) == 0
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert {"driving_score", "route_completion", "infractions_per_km/red_light", "reward"} <= lines[0].keys()
    for when in ("before", "after"):
        routes = json.loads((whole / f"eval_{when}.json").read_text())
        assert [row["task"] for row in routes["tasks"]] == [3, 5]
        assert routes["driving"]["route_completion"] >= 0.0
        other_map = json.loads((whole / f"eval_{when}_drive_roundabout.json").read_text())
        assert [(row["suite"], row["task"]) for row in other_map["tasks"]] == [("drive_roundabout", 1)]
    assert "driving score" in (whole / "report.html").read_text()
    shutil.copytree(whole, cut)
    newest = sorted((cut / "checkpoints").iterdir())[-1]
    shutil.rmtree(newest)
    assert main(["--resume", str(cut)]) == 0
    first, second = (CarlDriving.from_pretrained(folder / "policy").state_dict() for folder in (whole, cut))
    assert all(torch.equal(first[key], second[key]) for key in first)
