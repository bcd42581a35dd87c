"""GRPO on the toy environment from random weights: learns in seconds, needs no simulator."""

from envs.toy import ToyConfig
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.grpo import GrpoConfig
from vlarl.policy import Decoding
from vlarl.rewards.success import SuccessConfig


def config() -> TrainConfig:
    """30 iterations of 64 episodes."""
    return TrainConfig(
        name="toy_grpo",
        policy="vlarl.policies.state_mlp:StateMlp",
        env=ToyConfig(),
        suite="toy",
        tasks=(0,),
        iterations=30,
        rewards=(SuccessConfig(),),
        objective=GrpoConfig(keep_low=0.01, keep_high=0.99),
        rollout=RolloutConfig(temperature=1.0, slots=16),
        learner=LearnerConfig(learning_rate=1e-2, average_decay=0.9),
        evaluation=EvaluationConfig(episodes_per_task=40, decodings=(Decoding(mode="sample"), Decoding(mode="greedy"))),
    )
