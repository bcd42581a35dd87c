"""Shape checks of the demonstration record, and what open_demonstrations says about paths."""

import numpy as np
import pytest

from tests.support.demonstrations import demonstration
from vlarl.data import DataError, open_demonstrations


def test_length_and_float_conversion():
    made = demonstration(0, steps=4, state=np.zeros((4, 2)), actions=np.ones((4, 3)))
    assert len(made) == 4
    assert made.state.dtype == made.actions.dtype == np.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": np.zeros((4, 8), np.float32)}, "state has 4 rows but actions have 5"),
        ({"actions": np.zeros((5, 7), np.int64)}, "actions is int64 (5, 7)"),
        ({"actions": np.zeros(5, np.float32)}, "expected float32 with two dimensions"),
        ({"images": {}}, "at least one camera"),
        ({"images": {"a": np.zeros((5, 8, 8, 3), np.float32)}}, "images['a'] is float32"),
        ({"images": {"a": np.zeros((4, 8, 8, 3), np.uint8)}}, "images['a'] has 4 frames but actions have 5"),
        ({"images": {"a": np.zeros((5, 8, 8), np.uint8)}}, "expected uint8 [T, H, W, 3]"),
        ({"instruction": "  "}, "needs an instruction"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError) as caught:
        demonstration(0, **changes)
    assert message in str(caught.value)


def test_an_entry_that_is_not_finite_is_named():
    actions = np.zeros((5, 7), np.float32)
    actions[3, 6] = np.nan
    with pytest.raises(ValueError, match=r"actions\[3, 6\] is nan"):
        demonstration(0, actions=actions)


def test_no_steps():
    with pytest.raises(ValueError, match="at least one step"):
        demonstration(0, steps=0)


def test_open_nothing_and_unknown(tmp_path):
    with pytest.raises(DataError, match=r"does not exist.*vlarl demos"):
        open_demonstrations(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"holds notes.txt; known are"):
        open_demonstrations(tmp_path)
    (tmp_path / "inner" / "meta").mkdir(parents=True)
    (tmp_path / "inner" / "meta" / "info.json").write_text("{}")
    with pytest.raises(DataError, match=r"Did you mean .*inner\?"):
        open_demonstrations(tmp_path)
