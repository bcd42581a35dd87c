"""``vlarl bench faults`` on the toy environment: every fault recovered from; a difference would be seen."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vlarl.bench import faults
from vlarl.bench.footprint import footprint, slope
from vlarl.errors import UserError


def test_faults_are_caused_recovered_from_and_written(tmp_path, capsys):
    path = tmp_path / "faults.json"
    options = faults.Options(
        suite="toy", faults=("raise", "crash", "kill"), times=2, storm=4, soak=20, slots=4, watchdog=60.0, json=path
    )
    assert faults.run(options) == 0
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    assert {"raise", "crash", "kill", "all kinds at random", "growth of main_bytes"} <= rows.keys()
    for name in ("raise", "crash", "kill"):
        row = rows[name]
        assert (row["injected"], row["reported"], row["others"], row["others_equal"]) == (2, 2, 6, 6)
        assert row["replaced"] == (0 if name == "raise" else 2) == len(row["recovery"])
    assert "RuntimeError" in rows["crash"]["cause"]
    assert "| kill | 2 | 2 | 6 of 6 | 2 |" in capsys.readouterr().out


def test_a_row_is_bad_where_something_differs_or_stays_behind():
    good = faults.Row("kill", 2, 2, 6, 6, 2, [0.1], {"descriptors": 0, "processes": -1})
    assert good.is_good
    assert not replace(good, reported=1).is_good
    assert not replace(good, others_equal=5).is_good
    assert not replace(good, left_behind={"descriptors": 1}).is_good
    assert "+1 descriptors" in faults.describe(replace(good, left_behind={"descriptors": 1}))


def test_footprint_sees_descriptors_and_slope_is_least_squares():
    before = footprint()
    with open("/dev/null"):
        assert footprint().descriptors == before.descriptors + 1
    assert slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 6.0])) == pytest.approx(2.5)


def test_what_cannot_be_caused_is_refused():
    with pytest.raises(UserError, match="unknown fault 'unstable' for suite 'toy'"):
        faults.chosen_faults(faults.Options(suite="toy", faults=("unstable",)))
    with pytest.raises(UserError, match="--horizon at least 24"):
        faults.chosen_faults(faults.Options(suite="toy", horizon=8))
