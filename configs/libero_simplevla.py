"""SimpleVLA-RL's recipe as its authors run it, on one LIBERO suite: for a GPU and a published-size checkpoint.

Group 8 per (task, initial state), temperature 1.6 over the 256 action tokens, groups with success in [0.1, 0.9]
kept and further ones drawn until there are enough, clip 0.2 / 0.28, token ratios, mean over an episode's tokens then
over episodes, no KL, no entropy bonus, 512 steps for every suite, training on the initial states that are also
evaluated (arXiv 2509.09674; ``examples/run_openvla_oft_rl_libero.sh``).

Deviation: surplus groups of the last draw are learned from, where SimpleVLA-RL throws them away.
"""

from pathlib import Path

from envs.libero import LiberoConfig
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.grpo import simplevla
from vlarl.policy import Decoding
from vlarl.rewards.success import SuccessConfig

ASSETS = Path(__file__).parents[1] / "assets"


def config() -> TrainConfig:
    """The two libero_object tasks of the shipped policy; name your own with --policy, --suite and --tasks."""
    return TrainConfig(
        name="libero_simplevla",
        policy=str(ASSETS / "openvla_oft_compact_object"),
        env=LiberoConfig(profile="reference", controller="exact", horizon="simplevla"),
        suite="libero_object",
        tasks=(0, 8),
        split="official",
        iterations=300,
        rewards=(SuccessConfig(scale=5.0),),
        objective=simplevla(),
        rollout=RolloutConfig(groups=64, group_size=8, temperature=1.6, max_draws=8),
        learner=LearnerConfig(
            learning_rate=5e-6,
            warmup_updates=0,
            betas=(0.9, 0.999),
            weight_decay=0.01,
            epochs=1,
            minibatch_trajectories=128,
        ),
        evaluation=EvaluationConfig(episodes_per_task=50, decodings=(Decoding(mode="greedy"),), every=5),
    )
