"""The benchmark of objectives runs and writes what it promises; how fast it was is nobody's test."""

import json

import pytest

from vlarl.bench.objectives import Options, run
from vlarl.errors import UserError


def test_rows_and_ratios(tmp_path, capsys):
    file = tmp_path / "rows.json"
    run(Options(presets="grpo,gspo,ppo", trajectories=16, decisions=4, repeats=2, threads=1, json=file))
    result = json.loads(file.read_text())
    names = {row["name"] for row in result["rows"]}
    assert names == {
        f"{preset} {part}" for preset in ("grpo", "gspo", "ppo") for part in ("advantages", "loss", "step", "step cpu")
    }
    assert all(row["repeats"] == 2 and row["value"] > 0 for row in result["rows"])
    assert set(result["ratios"]) == {"gspo step/grpo step", "ppo step/grpo step"}
    assert "16 x 4 x 56 tokens" in capsys.readouterr().out
    with pytest.raises(UserError, match="multiple of 8"):
        run(Options(trajectories=9))
