"""Small OpenVLA-OFT policies with random weights, and observations to feed them."""

from __future__ import annotations

import numpy as np
import torch

from vlarl.env_protocol import Float32Array, Observation
from vlarl.policies.oft_presets import preset
from vlarl.policies.openvla_oft import OpenVlaOft

INSTRUCTIONS = (
    "pick up the alphabet soup and place it in the basket",
    "open the middle drawer of the cabinet",
    "turn on the stove",
)


def random_policy(size: str = "tiny", seed: int = 0) -> OpenVlaOft:
    """A policy of that preset; the head is scaled up so that its distributions are far from uniform."""
    policy = OpenVlaOft.from_scratch(preset(size), seed)
    with torch.no_grad():
        policy.language_model.model.lm_head.weight.mul_(10.0)
    return policy


def observations(count: int, seed: int = 0) -> list[Observation]:
    """Noise images, random states, instructions in turn (their prompts differ in length)."""
    generator = np.random.default_rng(seed)
    return [
        Observation(
            images={
                camera: generator.integers(0, 256, (128, 128, 3), dtype=np.uint8) for camera in ("agentview", "wrist")
            },
            state=generator.uniform(-1, 1, 8).astype(np.float32),
            instruction=INSTRUCTIONS[i % len(INSTRUCTIONS)],
            time=0.0,
        )
        for i in range(count)
    ]


def noises(count: int, seed: int = 1) -> list[Float32Array]:
    """Uniform action noise."""
    generator = np.random.default_rng(seed)
    return [generator.random((8, 7), dtype=np.float32) for _ in range(count)]
