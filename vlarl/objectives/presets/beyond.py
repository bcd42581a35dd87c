"""Beyond on-policy policy gradients: demonstrations, replay, classifiers, temperature, pseudo-labels."""

from __future__ import annotations

from vlarl.objectives.advantages import GroupRelative
from vlarl.objectives.archive import Demonstrations, Replay
from vlarl.objectives.data_rules import Annealing, Consensus
from vlarl.objectives.masks import CovarianceClip
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.regularisers import Entropy, Kl
from vlarl.objectives.surrogates import Clip, Unclipped
from vlarl.objectives.trajectory_surrogates import ImplicitClassifier, TrajectoryBalance


def hpt() -> PolicyGradientConfig:
    """HPT: imitate a demonstration where the whole group failed, reinforce elsewhere (arXiv 2509.04419).

    Deviation: without demonstrations (``add_demonstrations``) the run's own successes are imitated.
    """
    return PolicyGradientConfig(
        advantage=GroupRelative(scale="none"),
        surrogate=Unclipped(),
        demonstrations=Demonstrations(mode="hybrid", gate=0),
    )


def rl_plus() -> PolicyGradientConfig:
    """RL-PLUS: demonstrations as samples of an unknown policy, weighted by a mixture (arXiv 2508.00222).

    Deviations: as ``hpt``; a demonstration's advantage is 1 minus its group's mean return.
    """
    return PolicyGradientConfig(
        advantage=GroupRelative(scale="none"),
        demonstrations=Demonstrations(mode="external"),
        regularisers=(Entropy(coefficient=1e-3),),
    )


def flowrl() -> PolicyGradientConfig:
    """FlowRL: match the distribution ``exp(beta A)`` by trajectory balance, partition head included (arXiv 2509.15207).

    Deviations: the importance weight is clipped at 1.2 (upstream computes a clipped one and uses the other); the head
    sees the pooled inputs of the first decision.
    """
    return PolicyGradientConfig(ratio=Ratio(level="trajectory"), surrogate=TrajectoryBalance())


def pacs() -> PolicyGradientConfig:
    """PACS: a classifier of success whose logit is the episode's log-ratio (arXiv 2509.02522).

    Deviation: the group baseline is taken over those of the group that lie in the mini-batch.
    """
    return PolicyGradientConfig(ratio=Ratio(level="trajectory"), surrogate=ImplicitClassifier())


def spear() -> PolicyGradientConfig:
    """SPEAR: replay of good episodes with a rising weight, dual clip 10 (arXiv 2509.22601).

    Deviations: see ``vlarl.objectives.archive``; covariance clipping acts on replayed and fresh tokens alike.
    """
    return PolicyGradientConfig(
        advantage=GroupRelative(scale="none"),
        surrogate=Clip(low=0.2, high=0.28, dual=10.0),
        masks=(CovarianceClip(share=0.02, low=1.0, high=40.0),),
        replay=Replay(capacity=256),
    )


def ead() -> PolicyGradientConfig:
    """EAD: GRPO with a temperature that falls along the episode (arXiv 2510.05251).

    Deviation: it falls from decision to decision, with d = 50 decisions at first; see ``Annealing``.
    """
    return PolicyGradientConfig(surrogate=Clip(low=0.2, high=0.28), temperature=(Annealing(),))


def ttrl() -> PolicyGradientConfig:
    """TTRL: no reward at all; most of the group ending alike is taken for right (arXiv 2504.16084).

    Deviation: the answer is where the episode ends; see ``Consensus``.
    """
    return PolicyGradientConfig(relabel=(Consensus(),), regularisers=(Kl(coefficient=1e-3),))
