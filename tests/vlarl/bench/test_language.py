"""``vlarl bench language``: the rows it promises; how fast it was is nobody's test."""

import json

import pytest

from tests.support.image_text import tiny_clip
from vlarl.bench.language import ORIGINAL, OURS, STANDING, Options, run
from vlarl.errors import UserError


def test_rows_and_ratios(tmp_path):
    file, model = tmp_path / "rows.json", str(tiny_clip(tmp_path / "clip"))
    run(
        Options(model=model, slots=3, episodes=3, horizon=4, resolution=16, batch=2, repeats=2, device="cpu", json=file)
    )
    result = json.loads(file.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert set(rows) == {name + part for name in (OURS, STANDING, ORIGINAL) for part in ("", ": waiting")}
    assert all(row["repeats"] == 2 for row in rows.values())
    assert all(0 <= rows[f"{name}: waiting"]["value"] <= 100 for name in (OURS, STANDING, ORIGINAL))
    assert set(result["ratios"]) == {f"{OURS}/{ORIGINAL}", f"{OURS}/{STANDING}"}


def test_bad_requests():
    with pytest.raises(UserError, match="need at least 1"):
        run(Options(slots=0))
