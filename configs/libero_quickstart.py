"""The quickstart: a compact, deliberately data-poor OpenVLA-OFT policy improved by GRPO on two real LIBERO tasks.

Sized for 2 CPU cores. Our default differs from the ``simplevla`` recipe (``configs/libero_simplevla.py``) where a
small policy on a small machine asks for it:

- temperature 0.4 in place of 1.6 in rollouts: imitation with soft labels and little data is broad already, and what the
  rollouts do is what is evaluated, nearly: noise serves to explore, and after training it costs success
  (docs/benchmarks.md). The rollouts' own temperature and greedy decoding stand beside the headline in the report;
- two passes over the data with a step size that falls over the run: the network is small, and rollouts are what costs;
- only the last two of the four transformer layers learn: the projectors, embeddings and head get almost nothing but
  noise (``tools/gradient_study.py``), and fewer moving parts gain as fast with a fifth of the KL (docs/benchmarks.md);
- 64 episodes per iteration in place of 512, of two tasks, with a horizon of 160 steps;
- the average of the last updates' weights is what is evaluated and saved.
"""

from pathlib import Path

from envs.libero import LiberoConfig
from vlarl.config import EvaluationConfig, RolloutConfig, TrainConfig
from vlarl.learner import LearnerConfig
from vlarl.objectives.grpo import GrpoConfig
from vlarl.policy import Decoding
from vlarl.rewards.success import SuccessConfig

ASSETS = Path(__file__).parents[1] / "assets"


def config() -> TrainConfig:
    """Alphabet soup and chocolate pudding into the basket."""
    return TrainConfig(
        name="libero_quickstart",
        policy=str(ASSETS / "openvla_oft_compact_object"),
        env=LiberoConfig(profile="fast", controller="compiled", horizon=160),
        suite="libero_object",
        tasks=(0, 8),
        split="heldout",
        iterations=30,
        rewards=(SuccessConfig(),),
        objective=GrpoConfig(),
        rollout=RolloutConfig(groups=8, group_size=8, temperature=0.4, workers=2, slots=16),
        learner=LearnerConfig(
            learning_rate=3e-4,
            final_learning_rate=1e-4,
            epochs=2,
            minibatch_trajectories=16,
            frozen=("projector", "proprio_projector", "embed_tokens", "layers.0", "layers.1", "norm", "lm_head"),
            average_decay=0.95,
        ),
        evaluation=EvaluationConfig(
            episodes_per_task=80,
            decodings=(
                Decoding(mode="sample", temperature=0.3),
                Decoding(mode="sample", temperature=0.4),
                Decoding(mode="greedy"),
            ),
        ),
        imitation_reference=str(ASSETS / "openvla_oft_compact_object" / "imitation.json"),
    )
