"""GRPO improves a random policy on the toy environment: the whole loop below the trainer."""

import torch

from envs.toy import ToyConfig
from vlarl.collector import Collector
from vlarl.learner import Learner, LearnerConfig
from vlarl.objectives.grpo import GrpoConfig
from vlarl.policies.state_mlp import StateMlp
from vlarl.policy import Decoding
from vlarl.reward import score_all
from vlarl.rewards.success import SuccessConfig
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories
from vlarl.worker_pool import WorkerPool


def test_grpo_raises_success_on_the_toy_task():
    torch.set_num_threads(1)
    policy, config = StateMlp(), ToyConfig()
    learner = Learner(policy, GrpoConfig(keep_low=0.01, keep_high=0.99).build(), LearnerConfig(learning_rate=1e-2))
    tasks = config.task_specs("toy")[:1]
    success = []
    with WorkerPool(config, tasks=[("toy", 0)], workers=1, num_slots=8) as pool:
        collector = Collector(policy, pool)
        for iteration in range(30):
            specs = training_groups(tasks, split="heldout", groups=8, group_size=8, seed=0, iteration=iteration)
            trajectories = collector.collect(specs, Decoding())
            score_all([SuccessConfig().build()], trajectories)
            metrics = learner.update(stack_trajectories(trajectories), seed=0, iteration=iteration)
            if "ratio_before_update" in metrics:
                assert abs(metrics["ratio_before_update"] - 1.0) < 1e-6
            success.append(sum(t.succeeded for t in trajectories) / len(trajectories))
    assert sum(success[:3]) / 3 < 0.5
    assert sum(success[-5:]) / 5 > 0.9
