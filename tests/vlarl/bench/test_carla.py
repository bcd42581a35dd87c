"""The measurement of the CARLA stand-in with the genuine client, in short."""

from __future__ import annotations

import importlib.util
import json

import pytest

from vlarl.cli import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("carla") is None, reason="needs CARLA's own client: pip install carla==0.9.16"
    ),
]


def test_every_case_is_measured(tmp_path):
    file = tmp_path / "carla.json"
    words = "bench carla --cars 2 --ticks 20 --repeats 2 --camera 32 --json".split()
    assert main([*words, str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["protocol"]["backend"] == "vlarl stand-in"
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == ["3 cars that stand", "2 traffic-manager cars", "one 32 x 32 camera, frame-locked"]
    assert all(row["repeats"] == 2 and row["min"] > 0.0 for row in rows.values())
