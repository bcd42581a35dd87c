"""``vlarl bench drive``: the table has the rows it promises; how fast it was is nobody's test."""

import json

import pytest

from vlarl.bench.drive import Options, run
from vlarl.cli import main
from vlarl.errors import UserError


def test_rows_and_ratios(tmp_path, capsys):
    file = tmp_path / "rows.json"
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
        ({"worlds": 0}, "need at least 1"),
    ],
)
def test_bad_requests(flags, message):
    with pytest.raises(UserError, match=message):
        run(Options(**flags))


def test_unknown_map(capsys):
    assert main(["bench", "drive", "--maps", "grid_twon"]) == 2
    assert "grid_twon" in capsys.readouterr().err
