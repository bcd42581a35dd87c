"""SAC on Gymnasium's MuJoCo tasks from random weights: two ReLU layers of 256, learning rate 3e-4, one update per step.

At least 1000 control steps per iteration, so the default of 100 iterations is somewhat above 100k steps.
"""

from envs.mujoco import MujocoConfig
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.sac import SacConfig
from vlarl.policy import Decoding
from vlarl.rewards.environment import EnvironmentConfig


def config() -> TrainConfig:
    """Hopper-v5; another with --env.env-id."""
    return TrainConfig(
        name="mujoco_sac",
        policy="vlarl.policies.mlp:SquashedMlp",
        env=MujocoConfig(),
        suite="gymnasium",
        iterations=100,
        rewards=(EnvironmentConfig(),),
        objective=SacConfig(),
        rollout=RolloutConfig(groups=1, group_size=1, min_steps=1000, temperature=1.0, workers=0, slots=1),
        learner=LearnerConfig(learning_rate=3e-4),
        evaluation=EvaluationConfig(episodes_per_task=20, decodings=(Decoding(mode="greedy"),)),
        checkpoint_every=10,
        videos=False,
    )
