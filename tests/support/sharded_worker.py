"""One process of a group that computes a policy's gradient together; started by ``test_training_at_size``.

Usage: sharded_worker.py RANK WORLD FILE FOLDER ADAPTER_RANK OUT
"""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from tests.support.training import losses_of, rollout
from vlarl.nn.sharding import accumulate, leave, shard
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import LoadConfig


def main(rank: int, world: int, meeting_point: str, folder: str, adapter_rank: int, out: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=world)
    policy = OpenVlaOft.from_pretrained(folder, load=LoadConfig(adapter_rank=adapter_rank, device="cpu"))
    batch = rollout(policy)
    shard(policy)
    sharded = [p for p in policy.trainable_parameters() if isinstance(p, DTensor)]
    assert len(sharded) == len(policy.trainable_parameters())
    assert all(p.to_local().numel() < p.numel() for p in sharded if p.shape[0] >= world)
    accumulate(policy, losses_of(policy, batch, size=2)[rank::world])
    gradients = {}
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None:
            assert isinstance(parameter.grad, DTensor)
            gradients[name] = parameter.grad.full_tensor().contiguous()
    if rank == 0:
        save_file(gradients, out)
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6])
