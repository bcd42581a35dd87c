"""Deciding for many episodes at once with small networks, without one episode's decision depending on the others.

Libraries may round differently for other batch sizes. So rows are always computed in blocks of the same size, the last
one filled up with zeros; within a block a row's place changes nothing (tested).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from vlarl.env_protocol import Float32Array
from vlarl.policies.distributions import Distribution
from vlarl.policy import Decoding
from vlarl.types import PolicyOutput

BLOCK = 16
"""Rows computed together."""


def act_in_blocks(
    rows: Sequence[Mapping[str, Tensor]],
    noise: Sequence[Float32Array],
    decoding: Decoding,
    *,
    distribution: Distribution,
    parameters: Callable[[dict[str, Tensor]], Tensor],
    version: int,
) -> list[PolicyOutput]:
    """Decide for every row.

    Args:
        rows: per episode what ``parameters`` takes, without the leading dimension; becomes ``PolicyOutput.inputs``.
        noise: per episode ``float32 [chunk, token]``, uniform in (0, 1).
        decoding: mode and temperature.
        distribution: of the actions, which are in [-1, 1] as the environment wants them.
        parameters: from inputs ``[BLOCK, ...]`` to the distribution's parameters ``[BLOCK, chunk, P]``.
        version: optimiser updates that the policy has seen.
    """

    @torch.inference_mode()  # holds for the thread it is entered in
    def decide(start: int) -> list[PolicyOutput]:
        torch.set_num_threads(1)  # per thread: blocks are the parallelism
        part = rows[start : start + BLOCK]
        inputs = {name: _stacked([row[name] for row in part]) for name in part[0]}
        given = parameters(inputs)
        if decoding.mode == "sample":
            uniform = _stacked([torch.from_numpy(values) for values in noise[start : start + BLOCK]])
            tokens = distribution.sample(given, uniform.clamp(min=1e-7), decoding.temperature)
        else:
            tokens = distribution.mode(given)
        log_probs = distribution.log_probs(given, tokens, decoding.temperature)[0].numpy()
        actions, numbers = distribution.actions(tokens).numpy().astype(np.float32), tokens.numpy()
        return [
            PolicyOutput(
                actions=actions[index],
                tokens=numbers[index],
                log_probs=log_probs[index],
                inputs=row,
                temperature=decoding.temperature,
                version=version,
            )
            for index, row in enumerate(part)
        ]

    starts = range(0, len(rows), BLOCK)
    parts = map(decide, starts) if len(starts) == 1 else _threads().map(decide, starts)
    return [output for part in parts for output in part]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """``[BLOCK, ...]``, zero where there are fewer."""
    block = values[0].new_zeros(BLOCK, *values[0].shape)
    torch.stack(list(values), out=block[: len(values)])
    return block
