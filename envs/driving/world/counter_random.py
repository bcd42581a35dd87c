"""Random numbers that are a function of (seed, step, actor, purpose): no state, no order, no batch.

The mixing is SplitMix64's finaliser (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators"),
applied once per key.
"""

from __future__ import annotations

import math

import numpy as np

from envs.driving.compiled import kernel

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


@kernel
def mix(value: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit flips half of the output bits."""
    value = (value ^ (value >> np.uint64(30))) * MIX_1
    value = (value ^ (value >> np.uint64(27))) * MIX_2
    return value ^ (value >> np.uint64(31))


@kernel
def random_bits(seed: np.uint64, step: int, actor: int, purpose: int) -> np.uint64:
    """64 random bits of one key."""
    word = mix(seed + GOLDEN)
    word = mix(word ^ (np.uint64(step) + GOLDEN))
    word = mix(word ^ (np.uint64(actor) * MIX_1 + GOLDEN))
    return mix(word ^ (np.uint64(purpose) * MIX_2 + GOLDEN))


@kernel
def uniform(seed: np.uint64, step: int, actor: int, purpose: int) -> float:
    """A number of [0, 1) with 53 random bits."""
    return float(random_bits(seed, step, actor, purpose) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@kernel
def choice(seed: np.uint64, step: int, actor: int, purpose: int, count: int) -> int:
    """A number of 0 ... ``count - 1``."""
    return int(uniform(seed, step, actor, purpose) * count)


@kernel
def normal(seed: np.uint64, step: int, actor: int, purpose: int) -> float:
    """A standard normal number (Box-Muller); uses ``purpose`` and ``purpose + 1``."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(seed, step, actor, purpose)))
    return radius * math.cos(2.0 * math.pi * uniform(seed, step, actor, purpose + 1))
