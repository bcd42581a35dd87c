"""The benchmark of SAC's updates runs and writes what it promises; how fast they were is nobody's test."""

import json

import pytest

from vlarl.bench.updates import Options, run
from vlarl.errors import UserError


def test_rows_and_ratios(tmp_path, capsys):
    pytest.importorskip("mujoco")
    pytest.importorskip("stable_baselines3")
    file = tmp_path / "rows.json"
    run(Options(updates=2, repeats=2, json=file))
    result = json.loads(file.read_text())
    names = {f"{kind} {width}" for kind in ("ours", "by autograd", "Stable-Baselines3") for width in (64, 256)}
    assert {row["name"] for row in result["rows"]} == names | {"AdaRL 64"}
    assert all(row["repeats"] == 2 and row["value"] > 0 for row in result["rows"])
    assert set(result["ratios"]) == {f"{name}/ours {name.split()[-1]}" for name in names if "ours" not in name}
    assert "one update of SAC, Hopper-v5" in capsys.readouterr().out
    with pytest.raises(UserError, match="take 1 or more"):
        run(Options(updates=0))
