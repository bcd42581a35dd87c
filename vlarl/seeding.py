"""Named random streams, so that every random number has one owner and a run can be resumed anywhere.

A stream is a pure function of its name and integers (run seed, iteration, episode ...): nothing
random is kept between iterations, hence nothing random has to be saved.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np

from vlarl.env_protocol import EpisodeSpec, Float32Array


def stream(name: str, *numbers: int) -> np.random.Generator:
    """The generator called ``name`` for these integers; equal arguments give equal streams on every machine."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([zlib.crc32(name.encode()), *numbers])))


def episode_seed(name: str, *numbers: int) -> int:
    """A 63-bit seed for one episode."""
    return int(stream(name, *numbers).integers(0, 2**63))


def episode_noise(spec: EpisodeSpec, shape: tuple[int, ...]) -> Iterator[Float32Array]:
    """The action noise of one episode, decision by decision: ``float32 [*shape]``, uniform in (0, 1).

    It belongs to the episode and to nothing else, so results do not depend on slots, workers or machines.
    """
    generator = stream("action-noise", spec.seed)
    while True:
        yield np.clip(generator.random(shape, dtype=np.float32), 1e-7, 1.0 - 1e-7)
