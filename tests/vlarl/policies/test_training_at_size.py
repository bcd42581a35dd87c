"""What training a large policy needs: adapters, recomputed layers, micro-batches, bf16, sharding, a critic.

All of them are claims about gradients, checked on a small policy; the code is the one that a 7B policy runs.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.support.policies import noises, observations, random_policy
from tests.support.training import gradients, losses_of, rollout
from vlarl.errors import CheckpointError, ConfigError
from vlarl.nn.adapters import LowRankLinear
from vlarl.objectives.critic import Critic, ValueFunction
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding, LoadConfig

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy")
    random_policy().save_pretrained(path)
    return path


def load(folder: Path, **options: object) -> OpenVlaOft:
    return OpenVlaOft.from_pretrained(folder, load=LoadConfig(**options))  # pyrefly: ignore


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], relative: float) -> None:
    """Every gradient within ``relative`` of the other's norm."""
    assert ours.keys() == theirs.keys() and ours
    for name, expected in theirs.items():
        scale = max(float(expected.norm()), 1e-6)
        assert float((ours[name] - expected).norm()) <= relative * scale, name


def test_micro_batches_that_split_a_trajectory_give_the_gradient_of_one_batch(folder: Path):
    policy = load(folder)
    batch = rollout(policy)
    whole = gradients(policy, losses_of(policy, batch, size=64))
    assert len(losses_of(policy, batch, size=64)) == 1 and len(losses_of(policy, batch, size=1)) == 4
    for size in (1, 2, 3):
        assert_close(gradients(policy, losses_of(policy, batch, size)), whole, 1e-4)


def test_recomputed_layers_give_the_same_gradient_and_keep_less(folder: Path):
    kept: dict[bool, int] = {}
    found: dict[bool, dict[str, Tensor]] = {}
    for recompute in (False, True):
        policy = load(folder, recompute=recompute)
        batch = rollout(policy)
        seen: dict[int, int] = {}

        def note(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        (make,) = losses_of(policy, batch, size=64)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = make()
            kept[recompute] = sum(seen.values())
        policy.zero_grad()
        loss.backward()
        found[recompute] = {n: p.grad for n, p in policy.named_parameters() if p.grad is not None}
    assert_close(found[True], found[False], 1e-6)
    assert kept[True] < 0.7 * kept[False]


def test_fresh_adapters_change_nothing_and_are_all_that_is_trained(folder: Path):
    plain, adapted = load(folder), load(folder, adapter_rank=4)
    decoding = Decoding(temperature=1.3)
    for one, two in zip(
        plain.act(observations(3), noises(3), decoding), adapted.act(observations(3), noises(3), decoding), strict=True
    ):
        np.testing.assert_array_equal(one.log_probs, two.log_probs)
    trained = {name for name, p in adapted.named_parameters() if adapted.is_trained(name)}
    assert trained and all(".lora_" in name for name in trained)
    assert len(adapted.trainable_parameters()) == len(trained)
    assert {name for name, p in adapted.named_parameters() if p.requires_grad} == trained
    layers = [m for m in adapted.modules() if isinstance(m, LowRankLinear)]
    assert len(layers) == 3 + 3 * 7  # the projector's three, and seven in each of three decoder layers
    found = gradients(adapted, losses_of(adapted, rollout(adapted), size=2))
    assert set(found) == trained
    assert all(bool(value.any()) for name, value in found.items() if name.endswith("lora_b"))


def test_trained_adapters_survive_saving_and_equal_their_merged_weights(folder: Path, tmp_path: Path):
    policy = load(folder, adapter_rank=4)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)), alpha=0.05)
    policy.save_pretrained(tmp_path / "adapted")
    again = load(tmp_path / "adapted")
    first, second = (p.act(observations(2), noises(2), Decoding())[1].log_probs for p in (policy, again))
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ConfigError, match=r"rank 4.*--merge"):
        load(tmp_path / "adapted", adapter_rank=8)
    for module in policy.modules():
        if isinstance(module, LowRankLinear):
            module.weight.data = module.merged_weight()
            module.lora_b.data.zero_()
    merged = policy.act(observations(2), noises(2), Decoding())[1].log_probs
    np.testing.assert_allclose(merged, first, atol=2e-4)


@pytest.mark.parametrize("adapter_rank", [0, 4])
def test_bf16_computes_with_float32_master_weights(folder: Path, adapter_rank: int):
    exact, reduced = (
        load(folder, adapter_rank=adapter_rank),
        load(folder, adapter_rank=adapter_rank, precision="bfloat16"),
    )
    for name, parameter in reduced.named_parameters():
        expected = torch.float32 if reduced.is_trained(name) else torch.bfloat16
        assert parameter.dtype == expected, name
    batch = rollout(reduced)
    inputs = batch.inputs
    tokens = batch.tokens[batch.decision_mask]
    log_probs, _ = reduced.evaluate(inputs, tokens, batch.temperature)
    assert torch.equal(log_probs.detach(), batch.old_log_probs[batch.decision_mask])  # every ratio is 1 in bf16 too
    close, _ = exact.evaluate(inputs, tokens, batch.temperature)
    error = float((log_probs - close).detach().abs().max())
    assert 0 < error < 0.2
    ours = gradients(reduced, losses_of(reduced, batch, size=2))
    theirs = gradients(exact, losses_of(exact, batch, size=2))
    flat = [torch.cat([value.flatten().float() for value in part.values()]) for part in (ours, theirs)]
    assert torch.nn.functional.cosine_similarity(*flat, dim=0) > 0.98
    assert all(value.dtype == torch.float32 for value in ours.values())


def test_an_update_too_small_for_bf16_is_not_lost(folder: Path):
    """The reason for master weights: a step of 1e-6 on a weight of 1 vanishes in bfloat16."""
    policy = load(folder, precision="bfloat16")
    parameter = policy.trainable_parameters()[0]
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(parameter, alpha=1e-5)
    assert not torch.equal(parameter, before)
    lost = parameter.bfloat16() == before.bfloat16()
    assert float(lost.float().mean()) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("adapter_rank", [0, 4])
def test_two_sharded_processes_give_the_gradient_of_one(folder: Path, tmp_path: Path, adapter_rank: int):
    policy = load(folder, adapter_rank=adapter_rank)
    expected = gradients(policy, losses_of(policy, rollout(policy), size=64))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    script, out = ROOT / "tests" / "support" / "sharded_worker.py", tmp_path / "gradients.safetensors"
    words = ["2", str(tmp_path / "meeting"), str(folder), str(adapter_rank), str(out)]
    logs = [tmp_path / f"rank_{rank}.log" for rank in range(2)]
    workers = []
    for rank, log in enumerate(logs):
        command = [sys.executable, str(script), str(rank), *words]
        with log.open("w") as file:  # not a pipe: what was said stays readable if a worker hangs
            workers.append(subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT))
    try:
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(timeout=140)
    finally:
        for worker in workers:
            worker.kill()  # does nothing to one that has ended; -9 below says who hung
            worker.wait()
    statuses = [worker.returncode for worker in workers]
    assert statuses == [0, 0], "".join(
        f"\nrank {rank} ended with {status} and said:\n{log.read_text()[-4000:]}"
        for rank, (status, log) in enumerate(zip(statuses, logs, strict=True))
    )
    assert_close(load_file(out), expected, 1e-4)


def test_critic_on_the_shared_backbone(folder: Path):
    with pytest.raises(CheckpointError, match=r"no critic.*--load.value-head"):
        load(folder).values({})
    policy = load(folder, value_head=True)
    batch = rollout(policy)
    inputs = batch.inputs
    values = policy.values(inputs)
    assert values.shape == (4,) and not values.any()  # a new critic says 0
    assert policy.value_head is not None
    target = torch.tensor([1.0, 0.0, 1.0, 0.0])
    warm_up = torch.optim.Adam(policy.value_head.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (policy.values(inputs) - target).square().mean()
        warm_up.zero_grad()
        loss.backward()
        warm_up.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    log_probs, _ = policy.evaluate(inputs, batch.tokens[batch.decision_mask], batch.temperature)
    assert torch.equal(log_probs.detach(), batch.old_log_probs[batch.decision_mask])  # warm-up left the policy alone
    for head_only in (False, True):
        policy.zero_grad()
        alone = policy.values(inputs, head_only=head_only)
        assert torch.equal(alone.detach(), policy.values(inputs).detach())
        alone.sum().backward()
        reached = {name for name, p in policy.named_parameters() if p.grad is not None}
        assert all(name.startswith("value_head.") for name in reached) is head_only and reached


def test_a_shared_critic_is_refused_without_a_value_head(folder: Path):
    function = ValueFunction(Critic(source="policy"))
    with pytest.raises(ConfigError, match=r"no value head.*--load.value-head"):
        function.attach(load(folder))
    function.attach(load(folder, value_head=True))
