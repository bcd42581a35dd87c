"""CaRL on our driving world: PPO with the simple reward, from random weights, on three maps (arXiv 2504.17838).

Scaled down from the paper's run on 8 GPUs (300 M steps, 128 environments, batches of 65,536, mini-batches of 16,384)
for half an hour of one core, by these rules: epochs (3), discount (.99), lambda (.95), clip (.1), entropy (.01), value
loss (.5), gradient norm (.5) and learning rate (2.5e-4 falling to 0) stay. Routes are a quarter as long (250 m for
1000 m), so a metre is worth four times as much; the hint taken off at a collision or a red light is four times as large
too, or running over lights would cost a quarter of what it costs there. Values are learned in units of the returns. A
batch is 32 whole episodes, 5,000 to 26,000 steps; mini-batches are of 1,024, smaller than a quarter of that, because
1.5 M steps hold too few updates otherwise (docs/benchmarks.md). The network is that of
``vlarl/policies/carl_driving.py``.

Trained on routes 0 to 47 of grid town, ring road and winding road; evaluated on routes 48 to 63 of the same maps in
other traffic, and on the roundabout, which is never trained on. ``drive_additive`` is the same with the additive
reward.
"""

from dataclasses import replace

from envs.drive import DriveConfig
from envs.driving.scores.carl_reward import CarlRewardSettings
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.critic import Critic
from vlarl.objectives.presets.ppo import ppo
from vlarl.objectives.regularisers import Entropy
from vlarl.objectives.surrogates import Clip
from vlarl.policy import Decoding
from vlarl.rewards.carl import CarlConfig

MAPS = ("grid_town", "ring_road", "winding_road")
ROUTES, TRAINED = 64, 48
"""Per map, and how many of them are trained on."""


def config() -> TrainConfig:
    """CaRL, scaled down."""
    tasks = range(len(MAPS) * ROUTES)
    return TrainConfig(
        name="drive_carl",
        policy="vlarl.policies.carl_driving:CarlDriving",
        env=DriveConfig(
            maps=MAPS,
            routes=ROUTES,
            route_metres=250.0,
            horizon=900,
            actors=24,
            layers=64,
            resolution=0,
            carl=CarlRewardSettings(hint=4.0),
        ),
        suite="drive_maps",
        tasks=tuple(task for task in tasks if task % ROUTES < TRAINED),
        iterations=100_000,
        steps=1_500_000,
        rewards=(CarlConfig(),),
        objective=replace(
            ppo(),
            surrogate=Clip(low=0.1, high=0.1),
            regularisers=(Entropy(coefficient=0.01),),
            critic=Critic(source="policy", normalise_returns=True),
        ),
        rollout=RolloutConfig(groups=32, group_size=1, temperature=1.0, workers=0, slots=32),
        learner=LearnerConfig(
            learning_rate=2.5e-4,
            final_learning_rate=0.0,
            warmup_updates=0,
            betas=(0.9, 0.999),
            max_grad_norm=0.5,
            epochs=3,
            minibatch_trajectories=1024,
            microbatch_decisions=128,
        ),
        evaluation=EvaluationConfig(
            episodes_per_task=2,
            tasks=tuple(task for task in tasks if task % ROUTES >= TRAINED),
            suites=("drive_roundabout",),
            suite_tasks=tuple(range(48)),
            decodings=(Decoding(mode="greedy"),),
        ),
        checkpoint_every=10,
        videos=False,
    )
