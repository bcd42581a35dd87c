"""``vlarl bench drive``: the table has the rows it promises; how fast it was is nobody's test."""

import json

import pytest

from vlarl.bench.drive import Options, run
from vlarl.bench.drive_peers import Peer, make_peers
from vlarl.cli import main
from vlarl.errors import UserError


def test_rows_and_ratios(monkeypatch, tmp_path, capsys):
    file = tmp_path / "rows.json"
    monkeypatch.setattr("vlarl.bench.drive.make_peers", lambda others: ([], "none"))
    run(
        Options(
            maps="roundabout", actors="2,4", others=4, sizes="32", worlds=2, steps=2, repeats=2, threads=1, json=file
        )
    )
    result = json.loads(file.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    cases = ["roundabout, 4 others", "roundabout, 2 others", "vector", "32 px, roundabout"]
    assert set(rows) == {name + part for name in cases for part in ("", ": cost")}
    assert all(row["repeats"] == 2 and row["value"] > 0 for row in rows.values())
    assert rows["roundabout, 4 others"]["unit"] == "actor-steps/s"
    assert rows["32 px, roundabout"]["unit"] == "steps/s"
    assert list(result["ratios"]) == ["cost, 2/4 others"]
    assert "roundabout:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"actors": "5,many"}, "--actors is '5,many'; whole numbers of at least 1"),
        ({"sizes": "8"}, "--sizes is '8'; whole numbers of at least 16"),
        ({"maps": "a/town.xodr,b/town.xodr"}, "every map needs another name"),
        ({"worlds": 0}, "need at least 1"),
    ],
)
def test_bad_requests(flags, message):
    with pytest.raises(UserError, match=message):
        run(Options(**flags))


def test_unknown_map(capsys):
    assert main(["bench", "drive", "--maps", "grid_twon"]) == 2
    assert "grid_twon" in capsys.readouterr().err


class Road:
    """Stands for a gymnasium environment: ends every third step."""

    def __init__(self):
        self.steps, self.resets = 0, 0

    def step(self, action):
        assert action == [0.0, 0.0]
        self.steps += 1
        return None, 0.0, self.steps % 3 == 0, False, {}

    def reset(self, seed):
        self.resets += 1


def test_a_peer_is_stepped_and_reset_where_it_ends(monkeypatch, tmp_path, capsys):
    road = Road()
    peer = Peer("peer, 2 others", "actor-steps/s", 3, road)
    view = Peer("peer's view", "steps/s", 1, Road())
    monkeypatch.setattr("vlarl.bench.drive.make_peers", lambda others: ([peer, view], "peer 1.0"))
    file = tmp_path / "rows.json"
    run(
        Options(maps="roundabout", actors="2", others=2, sizes="16", worlds=1, steps=7, repeats=2, threads=1, json=file)
    )
    assert (road.steps, road.resets) == (14, 4)
    result = json.loads(file.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    assert rows["peer, 2 others"]["repeats"] == 2
    assert rows["peer, 2 others"]["unit"] == "actor-steps/s"
    for name, ours in (("peer, 2 others", "roundabout, 2 others"), ("peer's view", "16 px, roundabout")):
        expected = rows[f"{name}: cost"]["value"] / rows[f"{ours}: cost"]["value"]
        assert result["ratios"][f"cost, {name}/{ours}"] == pytest.approx(expected)
    assert "peer 1.0" in capsys.readouterr().out


def test_without_a_peer_a_line_says_so(monkeypatch):
    monkeypatch.setattr("vlarl.bench.drive_peers.util.find_spec", lambda name: None)
    peers, fact = make_peers(4)
    assert peers == []
    assert "not installed" in fact and "pip install highway-env" in fact


def test_highway_env_plays_where_it_is_installed():
    pytest.importorskip("highway_env", reason="highway-env is not installed")
    peers, fact = make_peers(4)
    assert "highway-env" in fact
    for peer in peers:
        seconds, cpu = peer.spend(3)
        assert seconds > 0 and cpu > 0
