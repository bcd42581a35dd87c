"""The memory planner: what it counts is what a process takes; what it says fits, fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support.measured_update import config
from vlarl.cli import main
from vlarl.doctor.memory_plan import MemoryPlan, TrainingMode, plan
from vlarl.nn.live_memory import LiveBytes
from vlarl.policies.oft_presets import preset

ROOT = Path(__file__).parents[2]


def test_live_bytes_by_hand():
    a, b = torch.ones(100, 100), torch.ones(100, 100)
    with LiveBytes() as live:
        c = a @ b  # 40 kB
        d = c + 1  # 80 kB
        del c  # 40 kB
        e = d.view(-1)[:5]  # a view: nothing new
        f = d * 2  # 80 kB
        assert live.current == 80_000
    assert live.peak == 80_000 and e.numel() == 5 and f.numel() == 10_000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_the_plan_is_what_an_update_takes_from_the_system():
    rows = 32
    script = ROOT / "tests" / "support" / "measured_update.py"
    # glibc keeps freed pieces for later, up to three times what is alive; here every tensor gets pages of its own.
    strict = os.environ | {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0"}
    words = [sys.executable, str(script), str(rows)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=strict)
    assert done.returncode == 0, done.stderr
    measured = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(measured) == 4
    for recompute, adapter_rank, bytes_taken in measured:
        mode = TrainingMode(name="", recompute=recompute, adapter_rank=adapter_rank, precision=torch.float32)
        planned = plan(config(), mode, [rows])
        assert planned.fixed + planned.activations[rows] == pytest.approx(bytes_taken, rel=0.06), mode


def test_bytes_that_do_not_depend_on_the_batch():
    size = preset("tiny")
    full = plan(size, TrainingMode(name="", precision=torch.bfloat16), [1, 16])
    adapted = plan(size, TrainingMode(name="", adapter_rank=4, precision=torch.bfloat16), [1, 16])
    trained = full.gradients // 4
    assert full.optimizer == 8 * trained
    assert full.weights == 4 * trained + 2 * (adapted_base(adapted) - trained)
    assert adapted.gradients < full.gradients / 2
    assert full.activations[16] > full.activations[1]


def adapted_base(planned: MemoryPlan) -> int:
    """Number of frozen parameters of a policy with adapters: kept in bfloat16, the adapters in float32."""
    return (planned.weights - planned.gradients) // 2


def test_largest_micro_batch():
    made = MemoryPlan(
        mode=TrainingMode(name=""), weights=10**9, gradients=0, optimizer=0, activations={1: 10**9, 8: 8 * 10**9}
    )
    assert [made.largest(budget) for budget in (3.9, 4.1, 10.9, 11.1)] == [0, 1, 1, 8]


def test_doctor_plans_for_a_named_size_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "plan.json"
    assert main(["doctor", "--policy", "tiny", "--gpu-memory", "4", "--adapter-rank", "4", "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "LoRA rank 4" in " ".join(shown.split()) and "128+" in shown
    written = json.loads(out.read_text())
    assert [row["mode"] for row in written["plans"]][2] == "full fine-tuning"
    assert main(["doctor", "--policy", "tiny", "--gpu-memory", "0.1"]) == 1  # nothing fits beside the device's own
    assert main(["doctor", "--policy", "smal"]) == 2
    assert "Did you mean 'small'" in capsys.readouterr().err
