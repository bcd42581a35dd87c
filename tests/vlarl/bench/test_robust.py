"""The robustness study, tiny: it trains, cuts, evaluates, resumes, and its figures are what they say."""

import json

import numpy as np
import pytest

from vlarl.bench import robust
from vlarl.errors import UserError


def test_scores_of_a_grid():
    grid = {"mass": {str(i): [float(i), float(i) + 2] for i in range(5)}, "wind": {str(i): [0.0] for i in range(5)}}
    found = robust.scores({"nominal": [3.0, 5.0], "grid": grid})
    # point means 1..5 and five times 0: mean 1.5, worst two of ten are 0
    assert found == {"nominal": 4.0, "perturbed mean": 1.5, "perturbed CVaR": 0.0}


def test_a_tiny_study_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(robust, "grid", lambda env_id: {"mass": (0.5, 2.0), "delay": (1.0,)})
    options = robust.Options(
        contenders="adarl_repaired,sac_final_rank,parseval",
        steps=120,
        seeds=1,
        every=30,
        episodes=1,
        learning_starts=50,
        out=tmp_path / "runs",
        json=tmp_path / "all.json",
        figure=tmp_path / "figure.png",
    )
    robust.run(options)
    content = json.loads((tmp_path / "all.json").read_text())
    adaptive, fixed, parseval = content["runs"]
    assert adaptive["ranks"] and adaptive["cuts"] and adaptive["steps"] >= 120
    assert fixed["ranks"][0] == adaptive["ranks"][0] and parseval["ranks"] == []
    for result in content["runs"]:
        assert set(result["grid"]) == {"mass", "delay"}
        assert np.isfinite([value for values in result["grid"].values() for v in values.values() for value in v]).all()
    assert set(content["intervals"]) == {
        f"{name} {kind}"
        for name in ("adarl_repaired", "sac_final_rank", "parseval")
        for kind in ("nominal", "perturbed mean", "perturbed CVaR")
    }
    assert (tmp_path / "figure.png").stat().st_size > 1000
    monkeypatch.setattr(robust, "play", lambda *_: pytest.fail("finished runs are not played again"))
    robust.run(options)


def test_bad_requests_are_refused():
    with pytest.raises(UserError, match="unknown contender 'rnac'"):
        robust.run(robust.Options(contenders="sac,rnac"))
    with pytest.raises(UserError, match="name that first"):
        robust.run(robust.Options(contenders="sac_final_rank"))
