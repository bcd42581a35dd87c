"""A policy's weights spread over processes with FSDP2, one group of parameters per decoder layer.

Each process holds a part of every weight, its gradient and its optimiser state; a layer's weights are gathered for the
time it computes. The last decoder layer is computed at the action positions alone, without going through its
``forward``, so it belongs to the outermost group together with embeddings, projectors and heads.

Usage, in every process of a group::

    shard(policy)
    optimizer = torch.optim.AdamW(policy.trainable_parameters())
    accumulate(policy, [lambda: loss_of(piece) for piece in my_pieces])   # gradients: sums over pieces and processes
    leave()                                                               # the last line of the program
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

if TYPE_CHECKING:
    from vlarl.nn.openvla_network import OpenVlaNetwork

METHODS = ("act", "evaluate", "values")
"""What is called on a policy from outside; the outermost weights are gathered for each."""


def shard(policy: OpenVlaNetwork, mesh: DeviceMesh | None = None) -> None:
    """Shard in place; the default process group must exist. Gradients become sums over processes, not means.

    Args:
        policy: the same weights in every process; float32 where trained. Computes in ``policy.precision``.
        mesh: processes to shard over; None: all.
    """
    # Frozen weights are gathered as they are; the cast to the compute type is autocast's, as in one process.
    settings: dict[str, Any] = {"mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32)}
    if mesh is not None:
        settings["mesh"] = mesh
    groups = [policy.vision_backbone, *policy.language_model.layers[:-1], policy]
    for group in groups:
        fully_shard(group, **settings)
        group.set_force_sum_reduction_for_comms(True)  # pyrefly: ignore - fully_shard gave it these methods
        group.set_gradient_divide_factor(1.0)  # pyrefly: ignore
    for name in METHODS:
        if hasattr(policy, name):
            register_fsdp_forward_method(policy, name)


def accumulate(policy: OpenVlaNetwork, losses: Sequence[Callable[[], Tensor]]) -> float:
    """Add the gradients of these losses, one graph in memory at a time, talking to other processes at the last only.

    Every process must bring the same number of losses; one without data brings ``0 * (its parameters)``.

    Returns:
        The sum of the losses of this process.
    """
    total = 0.0
    for index, make in enumerate(losses):
        policy.set_requires_gradient_sync(index == len(losses) - 1)  # pyrefly: ignore - from fully_shard
        loss = make()
        loss.backward()
        total += float(loss.detach())
    return total


def leave(status: int = 0) -> NoReturn:
    """End this process of a group: wait for the others, run what was registered at exit, write out what was printed.

    The interpreter is not finalised. ``destroy_process_group`` does not stop gloo's threads while a sharded policy
    refers to the group; one of them that still has the tensors of a finished collective to release needs the
    interpreter for that and, where it is being finalised, aborts the process ("terminate called without an active
    exception", pytorch issue 190489). On a busy machine that turns a finished run into a failed one.

    Args:
        status: the process' exit status.
    """
    dist.barrier()  # who leaves first closes connections that a slower process may still read from
    dist.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
