"""Configurations as JSON and back, and flags over them."""

from __future__ import annotations

import copy
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlarl.config import TrainConfig
from vlarl.config_io import class_tag, from_plain, load_config, save_config, to_plain
from vlarl.errors import ConfigError
from vlarl.file_modules import load_file
from vlarl.flags import apply_flags, changed_fields, narrow, split_lists, widen
from vlarl.resolve import list_names, resolve


class Part(Protocol):
    def build(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Small:
    size: int = 1
    """How large."""

    def build(self) -> int:
        return self.size


@dataclass(frozen=True, kw_only=True)
class Named(Small):
    mode: Literal["left", "right"] = "left"
    limit: Literal["none"] | int = "none"
    rates: tuple[float, float] = (0.5, 1.0)
    place: Path = Path("runs")
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    part: Part
    parts: tuple[Part, ...] = ()
    numbers: tuple[int, ...] = ()
    on: bool = True


WHOLE = Whole(part=Named(limit=4), parts=(Small(), Named(size=2, note="x")), numbers=(1, 2))


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    """The classes above live outside our packages."""
    monkeypatch.setattr("vlarl.resolve.TRUSTED_PACKAGES", ("vlarl", "envs", "configs", __name__.partition(".")[0]))


def test_every_shipped_experiment_survives_json(tmp_path):
    names = [item.name for item in list_names("configs")]
    assert "toy_grpo" in names
    for name in names:
        config = resolve(name, "configs", "config")()
        path = save_config(tmp_path / f"{name}.json", config)
        assert load_config(path, TrainConfig) == config, name


def test_fields_typed_as_protocols_come_back_as_what_they_were():
    plain = json.loads(json.dumps(to_plain(WHOLE)))
    assert plain["part"]["class"] == class_tag(Named)
    assert from_plain(plain) == WHOLE
    assert from_plain(plain, Whole) == WHOLE


@given(
    st.builds(
        Named,
        size=st.integers(),
        mode=st.sampled_from(["left", "right"]),
        limit=st.just("none") | st.integers(),
        rates=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
        note=st.none() | st.text(),
    )
)
def test_any_value_survives_json(named):
    assert from_plain(json.loads(json.dumps(to_plain(named), allow_nan=False)), Named) == named


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("part", "siz"), 3, "unknown field 'siz'. Did you mean 'size'?"),
        (("part", "siz"), 3, "@ config.part"),
        (("parts", 1, "size"), "2", "expected a whole number, found '2' @ config.parts[1].size"),
        (("part", "size"), True, "expected a whole number"),
        (("on",), 1, "expected true or false"),
        (("part", "mode"), "lft", "did you mean left?"),
        (("part", "limit"), "nne", "expected none or int, found nne"),
        (("part", "rates"), [1.0], "config.part.rates"),
        (("part", "rates"), ["a", 1.0], "expected a number, found 'a'"),
        (("part",), 3, "expected an object, found 3"),
        (("part",), {"size": 1}, "field 'class' is missing"),
        (("part", "class"), "os.path:join", "package 'os' is not one of"),
        (("part", "class"), "vlarl.files:json_text", "is not a dataclass"),
        (("part", "class"), "vlarl.config:TrainConfi", "Did you mean 'TrainConfig'?"),
        (("part", "class"), "nonsense", "expected 'package.module:Class'"),
        (("part", "place"), 3, "expected text"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(place, value, says):
    plain: Any = copy.deepcopy(to_plain(WHOLE))
    inner = plain
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(Exception, match=r".") as caught:
        from_plain(plain, Whole)
    assert caught.type.__module__ == "vlarl.errors"
    assert says in str(caught.value)


def test_a_missing_field_and_a_wrong_class_are_named(tmp_path):
    plain = to_plain(WHOLE)
    del plain["part"]
    with pytest.raises(ConfigError, match="field 'part' is missing"):
        from_plain(plain, Whole)
    path = save_config(tmp_path / "c.json", Small())
    with pytest.raises(ConfigError, match=r"c\.json: .*found a .*Small, expected a vlarl\.config:TrainConfig"):
        load_config(path, TrainConfig)


def test_a_file_is_only_followed_where_the_user_named_it(tmp_path):
    """config.json of a downloaded run must not be able to run code."""
    file = tmp_path / "own.py"
    file.write_text("from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Own:\n    x: int = 1\n")
    own = load_file(file).Own(x=5)
    path = save_config(tmp_path / "config.json", own)
    with pytest.raises(ConfigError, match="so it is not run"):
        load_config(path)
    assert load_config(path, trusted_files=[file]) == own


def test_flags_follow_the_objects():
    changed, _ = apply_flags(
        WHOLE,
        ["--part.mode", "right", "--part.limit", "9", "--parts.1.size", "7", "--numbers", "3,4", "--no-on"],
        command="test",
    )
    assert changed == dataclasses.replace(
        WHOLE,
        part=Named(limit=9, mode="right"),
        parts=(Small(), Named(size=7, note="x")),
        numbers=(3, 4),
        on=False,
    )
    assert type(changed.part) is Named
    assert changed_fields(WHOLE, changed) == ["part.mode", "part.limit", "parts", "numbers", "on"]


def test_no_flags_change_nothing():
    for item in list_names("configs"):
        config = resolve(item.name, "configs", "config")()
        assert widen(narrow(config)) == config
        assert apply_flags(config, [], command="test")[0] == config


@pytest.mark.parametrize("words", [["--part.mde", "right"], ["--part.mode", "up"], ["--numbers", "x"], ["stray"]])
def test_a_wrong_flag_exits_with_2_and_the_nearest(words, capsys):
    with pytest.raises(SystemExit) as caught:
        apply_flags(WHOLE, words, command="test")
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert {"--part.mde": "--part.mode", "--part.mode": "left", "--numbers": "x", "stray": "stray"}[words[0]] in said


def test_lists_with_commas():
    assert split_lists(["--tasks", "0,8", "--name", "a,b", "--x", "1"]) == "--tasks 0 8 --name a,b --x 1".split()
    assert split_lists(["--evaluation.tasks", "0-2,8", "11-12"]) == "--evaluation.tasks 0 1 2 8 11 12".split()
    assert split_lists(["--tasks", "5-2"]) == ["--tasks", "5-2"]  # refused later as no whole number
    assert split_lists(["--tasks", "7", "--init-states", "0-9"]) == "--tasks 7 --init-states 0-9".split()
