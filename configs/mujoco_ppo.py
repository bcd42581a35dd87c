"""PPO on Gymnasium's MuJoCo tasks from random weights, with the usual hyper-parameters.

At least 2000 steps per iteration (whole episodes), mini-batches of 64 decisions, 10 passes, learning rate 3e-4 falling
to 0, clip .2, discount .99, lambda .95, gradient norm .5, value loss .5, two tanh layers of 64 for policy and critic
each, states and returns normalised (Schulman et al. 2017; the values of CleanRL and Stable-Baselines3, which cut
rollouts at 2048 steps). ``vlarl bench mujoco`` compares.
"""

from dataclasses import replace

from envs.mujoco import MujocoConfig
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.critic import Critic
from vlarl.objectives.presets.ppo import ppo
from vlarl.policy import Decoding
from vlarl.rewards.environment import EnvironmentConfig


def config() -> TrainConfig:
    """Hopper-v5; another with --env.env-id."""
    return TrainConfig(
        name="mujoco_ppo",
        policy="vlarl.policies.mlp:MlpPolicy",
        env=MujocoConfig(),
        suite="gymnasium",
        iterations=100,
        rewards=(EnvironmentConfig(),),
        objective=replace(ppo(), critic=Critic(normalise_returns=True)),
        rollout=RolloutConfig(groups=1, group_size=1, min_steps=2000, temperature=1.0, workers=0, slots=1),
        learner=LearnerConfig(
            learning_rate=3e-4,
            final_learning_rate=0.0,
            warmup_updates=0,
            betas=(0.9, 0.999),
            max_grad_norm=0.5,
            epochs=10,
            minibatch_trajectories=64,
            microbatch_decisions=128,  # mini-batches come out a little above 64
            threads=1,
        ),
        evaluation=EvaluationConfig(episodes_per_task=20, decodings=(Decoding(mode="greedy"),)),
        checkpoint_every=10,
        videos=False,
    )
