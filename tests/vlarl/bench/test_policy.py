"""``vlarl bench policy``: rows that mean what they say, on a small policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from vlarl.bench.policy import Measured, Options, make_policy
from vlarl.cli import main


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_figures_are_written(tmp_path: Path):
    out = tmp_path / "policy.json"
    assert main(["bench", "policy", "--config", "tiny", "--batch", "1,2", "--repeats", "2", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    for size in (1, 2):
        for name in ("act", "update"):
            assert rows[f"{name} batch {size}"]["repeats"] == 2
            assert rows[f"{name} batch {size} env-steps"]["median"] == pytest.approx(
                8 * rows[f"{name} batch {size}"]["median"], rel=0.5
            )
            assert 0 < rows[f"{name} batch {size} outside matrix products"]["median"] < 1
    assert result["protocol"]["policy"] == "tiny, random weights"


def test_operations_are_two_per_parameter_and_token():
    policy = make_policy(Options(config="tiny"))
    count = Measured(policy, 2).floating_point_operations()
    layers = sum(p.numel() for p in policy.language_model.model.model.layers.parameters())
    projector = sum(p.numel() for p in policy.projector.parameters())
    prompt = len(policy.prompt_ids("put the bowl on the plate"))
    tokens = 1 + 32 + prompt + 56 + 1 - 1 + 1  # BOS counts as prompt; patches, state, prompt, placeholders, stop
    assert count["update"] == 3 * 2 * 2 * (layers * tokens + projector * 32)
    adapted = Measured(make_policy(Options(config="tiny", adapter_rank=2)), 2).floating_point_operations()
    assert adapted["update"] < count["update"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_7b_without_a_gpu_says_so(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "policy", "--config", "7b"]) == 1
    assert "no GPU is at hand" in capsys.readouterr().out
