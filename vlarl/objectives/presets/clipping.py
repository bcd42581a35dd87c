"""How far a token may move: DAPO, GSPO, dual clip, Clip-Cov, KL-Cov, CISPO, SAPO, GPG, AReaL."""

from __future__ import annotations

from vlarl.objectives.advantages import GroupRelative
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.data_rules import GroupFilter, LengthPenalty
from vlarl.objectives.masks import CovarianceClip, StaleWeight
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.regularisers import CovarianceKl
from vlarl.objectives.surrogates import Cispo, Clip, Gradient, Sapo, Unclipped

TOKEN_MEAN = Aggregation(mode="token_mean")


def dapo() -> PolicyGradientConfig:
    """DAPO: higher upper clip, groups without signal dropped, mean over all tokens (arXiv 2503.14476).

    Resampling is ``--rollout.max-draws``. Deviation: no length penalty, which ``dapo_overlong`` has.
    """
    return PolicyGradientConfig(
        groups=GroupFilter(low=1e-6, high=1.0 - 1e-6), surrogate=Clip(low=0.2, high=0.28), aggregation=TOKEN_MEAN
    )


def dapo_overlong() -> PolicyGradientConfig:
    """DAPO with its soft punishment of long episodes (arXiv 2503.14476).

    Deviation: lengths are control steps, by default 512 with a margin of 128.
    """
    return PolicyGradientConfig(
        relabel=(LengthPenalty(),),
        groups=GroupFilter(low=1e-6, high=1.0 - 1e-6),
        surrogate=Clip(low=0.2, high=0.28),
        aggregation=TOKEN_MEAN,
    )


def gspo() -> PolicyGradientConfig:
    """GSPO: one ratio per episode, the geometric mean of its tokens' (arXiv 2507.18071)."""
    return PolicyGradientConfig(
        ratio=Ratio(level="trajectory_mean", log_limit=10.0), surrogate=Clip(low=3e-4, high=4e-4)
    )


def dual_clip() -> PolicyGradientConfig:
    """GRPO with a second clip for negative advantages at three times their size (arXiv 1912.09729)."""
    return PolicyGradientConfig(surrogate=Clip(low=0.2, high=0.28, dual=3.0))


def clip_cov() -> PolicyGradientConfig:
    """Clip-Cov: a few of the tokens that drive entropy down get no gradient (arXiv 2505.22617).

    Deviation: which of the candidates is not random (see ``CovarianceClip``).
    """
    return PolicyGradientConfig(masks=(CovarianceClip(),), aggregation=TOKEN_MEAN)


def kl_cov() -> PolicyGradientConfig:
    """KL-Cov: a KL penalty on the few tokens that drive entropy down, and no clip at all (arXiv 2505.22617)."""
    return PolicyGradientConfig(surrogate=Unclipped(), regularisers=(CovarianceKl(),), aggregation=TOKEN_MEAN)


def cispo() -> PolicyGradientConfig:
    """CISPO: the importance weight is clipped, not the gradient (MiniMax-M1, arXiv 2506.13585)."""
    return PolicyGradientConfig(surrogate=Cispo(), aggregation=TOKEN_MEAN)


def sapo() -> PolicyGradientConfig:
    """SAPO: a smooth gate in place of the clip (arXiv 2511.20347)."""
    return PolicyGradientConfig(surrogate=Sapo())


def gpg() -> PolicyGradientConfig:
    """GPG: the plain policy gradient with a group baseline (arXiv 2504.02546).

    Deviation: alpha, which makes up for groups without signal, is 1; drop those groups instead.
    """
    return PolicyGradientConfig(
        groups=GroupFilter(low=1e-6, high=1.0 - 1e-6),
        advantage=GroupRelative(scale="none"),
        ratio=Ratio(level="none"),
        surrogate=Gradient(),
        aggregation=TOKEN_MEAN,
    )


def areal() -> PolicyGradientConfig:
    """AReaL's decoupled PPO for data of several policy versions (arXiv 2505.24298).

    Deviation: weights beyond 5 are left out (a mode of the code, not of the paper). With data of the newest version
    alone it is GRPO.
    """
    return PolicyGradientConfig(masks=(StaleWeight(limit=5.0),), aggregation=TOKEN_MEAN)
