"""Checkpoints: exact, complete or absent, and untouched by a full disk or a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlarl.checkpoint import (
    MODEL_FILE,
    STATE_FILE,
    STATE_TENSORS_FILE,
    _decode,
    _encode,
    checkpoint_folder,
    latest_checkpoint,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
)
from vlarl.errors import CheckpointError, DiskError


def trained(steps: int = 3) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.99))
    for step in range(steps):
        train_step(model, optimizer, step)
    return model, optimizer


def train_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    generator = torch.Generator().manual_seed(step)
    loss = model(torch.randn(8, 5, generator=generator)).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_training_goes_on_bit_for_bit_after_a_restart(tmp_path):
    straight, optimizer = trained(6)
    model, early = trained(3)
    path = save_checkpoint(tmp_path, 3, model.state_dict(), early.state_dict(), {"iteration": 3})
    fresh, resumed = trained(0)
    policy_state, optimizer_state, meta = load_checkpoint(path)
    fresh.load_state_dict(policy_state)
    resumed.load_state_dict(optimizer_state)
    for step in range(meta["iteration"], 6):
        train_step(fresh, resumed, step)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name]), name
    assert optimizer.state_dict()["param_groups"] == resumed.state_dict()["param_groups"]


scalars = st.none() | st.booleans() | st.integers(-(2**130), 2**130) | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    scalars | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(trees)
def test_any_tree_comes_back(tree):
    import json

    tensors: dict[str, torch.Tensor] = {}
    assert _decode(json.loads(json.dumps(_encode(tree, "x", tensors))), tensors) == tree


def test_tensors_arrays_and_generator_states_come_back(tmp_path):
    generator = np.random.default_rng(3)
    shared = torch.arange(6.0)
    meta = {
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": generator.bit_generator.state,
        "array": np.arange(4, dtype=np.uint64) + 2**63,
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "transposed": shared.reshape(2, 3).T,
        "nan": float("nan"),
        "$tensor": "a key that looks like a mark",
    }
    state = {"a": shared, "b": shared}  # tied weights
    path = save_checkpoint(tmp_path, 1, state, {}, meta)
    policy_state, optimizer_state, loaded = load_checkpoint(path)
    assert torch.equal(policy_state["a"], shared)
    assert torch.equal(policy_state["b"], shared)
    assert optimizer_state == {}
    assert torch.equal(loaded["torch_rng"], meta["torch_rng"])
    assert loaded["numpy_rng"] == meta["numpy_rng"]
    assert np.array_equal(loaded["array"], meta["array"])
    assert loaded["array"].dtype == np.uint64
    assert torch.equal(loaded["half"], meta["half"])
    assert torch.equal(loaded["transposed"], meta["transposed"])
    assert loaded["nan"] != loaded["nan"]
    assert loaded["$tensor"] == meta["$tensor"]


def test_keeps_the_newest_and_orders_by_number(tmp_path):
    for iteration in (9, 10, 100):
        save_checkpoint(tmp_path, iteration, {}, {}, {}, keep=2)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["iteration-000010", "iteration-000100"]
    assert latest_checkpoint(tmp_path) == checkpoint_folder(tmp_path, 100)
    assert latest_checkpoint(tmp_path / "nothing") is None
    save_checkpoint(tmp_path, 100, {"w": torch.ones(1)}, {}, {}, keep=0)
    assert torch.equal(load_checkpoint(checkpoint_folder(tmp_path, 100))[0]["w"], torch.ones(1))


def test_extra_files_lie_beside_the_weights(tmp_path):
    path = save_checkpoint(
        tmp_path, 1, {"w": torch.ones(2)}, {}, {}, write_extra=lambda folder: (folder / "config.json").write_text("{}")
    )
    assert (path / "config.json").read_text() == "{}"
    assert path.stat().st_mode & 0o755 == 0o755


def test_incomplete_folders_do_not_count(tmp_path):
    good = save_checkpoint(tmp_path, 1, {}, {}, {})
    broken = save_checkpoint(tmp_path, 2, {}, {}, {})
    (broken / STATE_FILE).unlink()
    assert latest_checkpoint(tmp_path) == good
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(broken)
    assert STATE_FILE in str(caught.value)
    assert str(good) in str(caught.value)


@pytest.mark.parametrize("name", [MODEL_FILE, STATE_TENSORS_FILE])
def test_a_truncated_file_is_named(tmp_path, name):
    path = save_checkpoint(tmp_path, 1, {"w": torch.ones(100)}, {"m": torch.ones(100)}, {})
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        load_checkpoint(path)


def test_files_of_two_checkpoints_are_told_apart(tmp_path):
    one = save_checkpoint(tmp_path, 1, {}, {"m": torch.ones(1)}, {})
    two = save_checkpoint(tmp_path, 2, {}, {}, {})
    (two / STATE_FILE).write_bytes((one / STATE_FILE).read_bytes())
    with pytest.raises(CheckpointError, match=r"do not belong together.*optimizer\.m"):
        load_checkpoint(two)


def test_what_cannot_be_stored_is_refused_by_name(tmp_path):
    with pytest.raises(TypeError, match=r"meta\.callback holds a function"):
        save_checkpoint(tmp_path, 1, {}, {}, {"callback": lambda: None})
    assert list((tmp_path / "checkpoints").iterdir()) == []


def in_child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_full_disk_and_a_kill_leave_the_last_checkpoint(tmp_path):
    """One process meets a full disk, survives it, and is then killed right before the rename."""
    state = {"w": torch.arange(3.0)}
    good = save_checkpoint(tmp_path, 1, state, {}, {"iteration": 1})
    done = in_child(
        """
        import os, resource, signal, sys
        import torch
        from vlarl import checkpoint
        from vlarl.errors import DiskError
        big = {"w": torch.zeros(100_000)}
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        try:
            checkpoint.save_checkpoint(sys.argv[1], 2, big, {}, {})
        except DiskError as error:
            print(error, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        checkpoint.os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        checkpoint.save_checkpoint(sys.argv[1], 3, big, {}, {})
        """,
        tmp_path,
    )
    assert "cannot write" in done.stdout, done.stderr
    assert "untouched" in done.stdout
    assert done.returncode == -signal.SIGKILL
    assert latest_checkpoint(tmp_path) == good
    assert torch.equal(load_checkpoint(good)[0]["w"], state["w"])
    save_checkpoint(tmp_path, 4, state, {}, {})  # the next start clears the remains away
    assert sorted(p.name for p in good.parent.iterdir()) == ["iteration-000001", "iteration-000004"]


def test_a_run_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("x")
    with pytest.raises(DiskError, match="choose another"):
        save_checkpoint(tmp_path / "run", 1, {}, {}, {})
