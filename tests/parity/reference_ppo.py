"""PPO in one file, written for reading: plain loops, one episode and one decision at a time.

An independent second opinion for ``tests/parity/test_ppo.py``; nothing of ``vlarl.objectives`` is used. Formulas:
Schulman et al., arXiv 1707.06347 (clipped surrogate) and 1506.02438 (advantages); value clipping as in baselines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Episode:
    """What was recorded, as Python lists over decisions."""

    rewards: list[float]
    values: list[float]
    final_value: float
    """Value after the last decision; counts only where ``truncated``."""
    truncated: bool
    old_log_probs: list[float]
    """Of whole actions."""
    new_log_probs: list[float]
    new_values: list[float]
    new_entropies: list[float]
    """Per action dimension, averaged."""


def advantages_of(episode: Episode, gamma: float, lam: float) -> list[float]:
    """Sum over k of ``(gamma lam)^k delta_{t+k}``, written out."""
    length = len(episode.rewards)
    following = [*episode.values[1:], episode.final_value if episode.truncated else 0.0]
    delta = [episode.rewards[t] + gamma * following[t] - episode.values[t] for t in range(length)]
    return [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, length)) for t in range(length)]


def losses(
    episodes: list[Episode],
    *,
    gamma: float,
    lam: float,
    clip: float,
    value_clip: float,
    value_coefficient: float,
    entropy_coefficient: float,
) -> dict[str, float]:
    """Policy, value and total loss of all decisions as one mini-batch, advantages normalised over it."""
    raw = [advantages_of(episode, gamma, lam) for episode in episodes]
    flat = [a for row in raw for a in row]
    mean = sum(flat) / len(flat)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in flat) / (len(flat) - 1))
    policy = value = entropy = 0.0
    for episode, row in zip(episodes, raw, strict=True):
        for t, advantage in enumerate(row):
            target = advantage + episode.values[t]
            normalised = (advantage - mean) / (deviation + 1e-8)
            ratio = math.exp(episode.new_log_probs[t] - episode.old_log_probs[t])
            clipped = min(max(ratio, 1 - clip), 1 + clip)
            policy += -min(ratio * normalised, clipped * normalised)
            moved = episode.new_values[t] - episode.values[t]
            near = episode.values[t] + min(max(moved, -value_clip), value_clip)
            value += 0.5 * max((episode.new_values[t] - target) ** 2, (near - target) ** 2)
            entropy += episode.new_entropies[t]
    count = len(flat)
    policy, value, entropy = policy / count, value / count, entropy / count
    total = policy + value_coefficient * value - entropy_coefficient * entropy
    return {"policy": policy, "value": value, "entropy": entropy, "total": total}
