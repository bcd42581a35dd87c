"""What an episode is compared with: GRPO, Dr.GRPO, RLOO, REINFORCE++, OPO, NGRPO, CANON, and no baseline at all."""

from __future__ import annotations

from vlarl.objectives.advantages import GroupRelative, Halves, ReturnToGo, Signed
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.data_rules import GroupFilter
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.surrogates import Clip, Gradient


def grpo() -> PolicyGradientConfig:
    """GRPO: advantage in units of the group's standard deviation (DeepSeekMath, arXiv 2402.03300).

    Deviation: no KL term; add ``regularisers=(Kl(coefficient=0.04),)`` for the paper's.
    """
    return PolicyGradientConfig()


def dr_grpo() -> PolicyGradientConfig:
    """Dr.GRPO: no division by the deviation nor by the episode's length (arXiv 2503.20783).

    Deviation: the constant length is 1024 tokens; it only scales the learning rate.
    """
    return PolicyGradientConfig(
        advantage=GroupRelative(scale="none"), aggregation=Aggregation(mode="sequence_sum", length=1024.0)
    )


def rloo() -> PolicyGradientConfig:
    """RLOO: the baseline is the mean of the others in the group; plain policy gradient (arXiv 2402.14740).

    Deviations: no KL reward; PPO's clip in place of none, since mini-batches are used more than once.
    """
    return PolicyGradientConfig(advantage=GroupRelative(centre="leave_one_out", scale="none"))


def reinforce() -> PolicyGradientConfig:
    """REINFORCE with the group's mean as its baseline (Williams 1992): for one pass over each batch."""
    return PolicyGradientConfig(advantage=GroupRelative(scale="none"), ratio=Ratio(level="none"), surrogate=Gradient())


def reinforce_pp() -> PolicyGradientConfig:
    """REINFORCE++: reward-to-go whitened over all tokens of the batch, no groups (arXiv 2501.03262).

    Deviation: no KL reward per token.
    """
    return PolicyGradientConfig(
        groups=GroupFilter(minimum=1), advantage=ReturnToGo(), aggregation=Aggregation(mode="token_mean")
    )


def reinforce_pp_baseline() -> PolicyGradientConfig:
    """REINFORCE++ baseline: group mean first, then whitened over all tokens of the batch (arXiv 2501.03262)."""
    return PolicyGradientConfig(advantage=ReturnToGo(baseline="group"), aggregation=Aggregation(mode="token_mean"))


def opo() -> PolicyGradientConfig:
    """OPO: length-weighted mean as the variance-minimising baseline (arXiv 2505.23585)."""
    return PolicyGradientConfig(
        advantage=GroupRelative(centre="length_weighted", scale="none"), aggregation=Aggregation(mode="token_mean")
    )


def ngrpo() -> PolicyGradientConfig:
    """NGRPO: an imagined success in every group, so that groups without any still teach (arXiv 2509.18851)."""
    return PolicyGradientConfig(advantage=GroupRelative(virtual_rewards=1), surrogate=Clip(low=0.16, high=0.24))


def psr() -> PolicyGradientConfig:
    """PSR: learn from successes alone (RLVR-Decomposed, arXiv 2506.01347)."""
    return PolicyGradientConfig(groups=GroupFilter(minimum=1), advantage=Signed(positive=1.0, negative=0.0))


def nsr() -> PolicyGradientConfig:
    """NSR: learn from failures alone; keeps diversity (RLVR-Decomposed, arXiv 2506.01347)."""
    return PolicyGradientConfig(groups=GroupFilter(minimum=1), advantage=Signed(positive=0.0, negative=1.0))


def w_reinforce() -> PolicyGradientConfig:
    """W-REINFORCE: failures with full weight, successes with a tenth (RLVR-Decomposed, arXiv 2506.01347)."""
    return PolicyGradientConfig(groups=GroupFilter(minimum=1), advantage=Signed(positive=0.1, negative=1.0))


def canon() -> PolicyGradientConfig:
    """CANON: compare the shorter with the longer half of a group (arXiv 2509.23962).

    Deviation: the metric is the episode's length in control steps (or its jerk). The comparison with the other half has
    70 % of the weight, so that the half that wins is preferred; at 50 % it is Dr.GRPO's advantage.
    """
    return PolicyGradientConfig(advantage=Halves(other=0.7))
