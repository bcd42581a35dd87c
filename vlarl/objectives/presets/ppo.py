"""PPO with a critic: plain, and as published for robot policies (VLA-RL, RL4VLA, RLinf)."""

from __future__ import annotations

from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.critic import Critic, Gae
from vlarl.objectives.data_rules import GroupFilter
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.surrogates import Clip, Gradient

EVERYTHING = GroupFilter(minimum=1)
TOKEN_MEAN = Aggregation(mode="token_mean")


def ppo() -> PolicyGradientConfig:
    """PPO with generalised advantage estimation and a separate critic (arXiv 1707.06347).

    One ratio per action, mini-batches of single decisions. Deviation: advantages are normalised over the batch, not
    over each mini-batch.
    """
    return PolicyGradientConfig(
        groups=EVERYTHING,
        advantage=Gae(),
        ratio=Ratio(level="action"),
        aggregation=TOKEN_MEAN,
        critic=Critic(),
        minibatch_of="decisions",
    )


def vla_rl() -> PolicyGradientConfig:
    """VLA-RL as coded: joint action log-probabilities, GAE without normalisation, critic warmed up (arXiv 2505.18719).

    Upstream takes the "old" log-probability from the same forward pass, so its ratio is always 1 and its clip never
    acts: with one pass over the data (``--learner.epochs 1``) this is that. Value clip .2, 5 iterations of critic
    warm-up, critic ten times as fast as the policy. Deviations: the critic is an MLP over pooled inputs in place of a
    second VLA; the log-probability counts action tokens only, not the stop token.
    """
    return PolicyGradientConfig(
        groups=EVERYTHING,
        advantage=Gae(normalise=False),
        ratio=Ratio(level="none"),
        surrogate=Gradient(),
        aggregation=TOKEN_MEAN,
        critic=Critic(coefficient=1.0, clip=0.2, warmup_iterations=5, rate_scale=10.0),
        minibatch_of="decisions",
    )


def rl4vla() -> PolicyGradientConfig:
    """RL4VLA's PPO: one ratio per action, Huber value loss with clip, normalised advantages (arXiv 2505.19789).

    Deviation: a separate critic over pooled inputs; with a policy that has ``values``,
    ``--objective.critic.source policy`` shares its backbone as upstream does.
    """
    return PolicyGradientConfig(
        groups=EVERYTHING,
        advantage=Gae(),
        ratio=Ratio(level="action"),
        surrogate=Clip(low=0.2, high=0.2),
        aggregation=TOKEN_MEAN,
        critic=Critic(coefficient=1.0, clip=0.2, huber=10.0, rate_scale=30.0),
        minibatch_of="decisions",
    )


def rlinf_ppo() -> PolicyGradientConfig:
    """RLinf's PPO for ManiSkill: token ratios, clip .2/.28, dual clip 3, Huber value loss (RLinf 0.3.0).

    Deviation: as ``rl4vla``.
    """
    return PolicyGradientConfig(
        groups=EVERYTHING,
        advantage=Gae(),
        surrogate=Clip(low=0.2, high=0.28, dual=3.0),
        aggregation=TOKEN_MEAN,
        critic=Critic(coefficient=1.0, clip=0.2, huber=10.0, rate_scale=30.0),
        minibatch_of="decisions",
    )
