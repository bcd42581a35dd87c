"""``vlarl bench switching`` on the toy environment, whose switches cost nothing."""

import json

import pytest

from vlarl.bench import switching
from vlarl.errors import UserError


def test_rows_of_every_kind_of_start(tmp_path, monkeypatch):
    from envs.toy import ToyConfig

    monkeypatch.setattr(switching, "config_of", lambda options: ToyConfig())
    path = tmp_path / "switching.json"
    options = switching.Options(suite="toy", tasks=(0, 2), rounds=2, group=3, json=path)
    assert switching.run(options) == 0
    rows = {row["name"]: row for row in json.loads(path.read_text())["rows"]}
    repeats = {"first visit, renderer opened": 2, "switch, new initial state": 4, "next of a group": 6, "simulators": 1}
    for name, count in repeats.items():
        assert rows[name]["repeats"] == count and rows[name]["value"] > 0
    monkeypatch.setattr(switching, "LIMIT", 0.0)
    assert switching.run(switching.Options(suite="toy", tasks=(0, 2), rounds=1)) == 1, "too slow must be noticed"


def test_one_task_is_no_switch():
    with pytest.raises(UserError, match="at least two tasks"):
        switching.run(switching.Options(tasks=(0,)))
