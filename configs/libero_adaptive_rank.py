"""The quickstart with low-rank adapters whose ranks are cut while GRPO trains them.

The quickstart's policy, tasks and rollouts; in place of the last two layers' weights, adapters of rank 16 beside them
learn (14 matrices, 52 thousand numbers). After iterations 10, 15, 20 and 25 each adapter is cut to the directions that
hold 90 % of its singular values' sum, and five iterations without a cut follow. Beside it, with ranks that stay:

    vlarl train libero_adaptive_rank --learner.adapter-ranks.every 0 --out runs/fixed_rank

``vlarl bench ranks`` trains both, and one fixed at the rank that was found, and evaluates them in perturbed scenes. An
adapter's matrices start small, so the step size is about three times the quickstart's.
"""

from dataclasses import replace

from configs.libero_quickstart import config as quickstart
from vlarl.config import EvaluationConfig, TrainConfig
from vlarl.nn.adapter_ranks import AdapterRankConfig
from vlarl.nn.low_rank import RankRule
from vlarl.policy import Decoding, LoadConfig


def config() -> TrainConfig:
    """Alphabet soup and chocolate pudding into the basket, with ranks that follow the spectrum."""
    base = quickstart()
    ranks = AdapterRankConfig(every=5, first=10, last=25, rule=RankRule(name="min_energy", beta=0.9))
    return replace(
        base,
        name="libero_adaptive_rank",
        load=LoadConfig(adapter_rank=16),
        learner=replace(base.learner, learning_rate=1e-3, final_learning_rate=3e-4, adapter_ranks=ranks),
        evaluation=EvaluationConfig(
            episodes_per_task=80, decodings=(Decoding(mode="sample", temperature=0.3),), reference_profile=False
        ),
        videos=False,
        imitation_reference="",
    )
