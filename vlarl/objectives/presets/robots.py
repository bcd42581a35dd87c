"""GRPO as published for robot policies: SimpleVLA-RL, SRPO, RLinf, RL4VLA; and ratios of whole actions."""

from __future__ import annotations

from vlarl.objectives.advantages import ReturnToGo
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.data_rules import GroupFilter
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.surrogates import Clip


def simplevla() -> PolicyGradientConfig:
    """SimpleVLA-RL: token ratios, clip .2/.28, groups with 10 to 90 % success (arXiv 2509.09674). No deviation.

    The same as ``vlarl.objectives.grpo.simplevla()``; the rest of the recipe is ``configs/libero_simplevla.py``.
    """
    return PolicyGradientConfig(groups=GroupFilter(low=0.1, high=0.9), surrogate=Clip(low=0.2, high=0.28))


def srpo() -> PolicyGradientConfig:
    """SRPO's objective, which is SimpleVLA-RL's (arXiv 2511.15605); what is its own is the progress reward.

    Deviations: the paper's KL term is left out, as in its shipped recipe. Groups without a success are kept, where a
    progress reward matters most (upstream's filter removes them before the reward is computed).
    """
    return PolicyGradientConfig(groups=GroupFilter(low=0.0, high=0.9), surrogate=Clip(low=0.2, high=0.28))


def rlinf() -> PolicyGradientConfig:
    """RLinf's GRPO for LIBERO: dual clip 3, groups outside 10 to 90 % muted, not dropped (RLinf 0.3.0, token level).

    No deviation where its buffer holds ``max_episode_steps`` positions per episode.
    """
    return PolicyGradientConfig(
        groups=GroupFilter(low=0.1, high=0.9, mode="mute"), surrogate=Clip(low=0.2, high=0.28, dual=3.0)
    )


def rl4vla_grpo() -> PolicyGradientConfig:
    """RL4VLA's "GRPO": rewards normalised over the batch, reward-to-go, one ratio per action (arXiv 2505.19789).

    Deviations: upstream normalises the non-zero rewards and then sums, here the sums are normalised; its log-prob
    buffer counts every action seven times.
    """
    return PolicyGradientConfig(
        groups=GroupFilter(minimum=1),
        advantage=ReturnToGo(),
        ratio=Ratio(level="action"),
        aggregation=Aggregation(mode="token_mean"),
    )


def grpo_action() -> PolicyGradientConfig:
    """GRPO with one ratio per control step: a motion is accepted or clipped as a whole. Ours."""
    return PolicyGradientConfig(ratio=Ratio(level="action"))


def grpo_chunk() -> PolicyGradientConfig:
    """GRPO with one ratio per action chunk, as RLinf's chunk level. Ours."""
    return PolicyGradientConfig(ratio=Ratio(level="chunk"))
