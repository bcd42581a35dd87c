"""Means of curves, and the picture."""

import numpy as np
import pytest

from vlarl.bench.learning_curves import BINS, binned, draw_panels, thinned


def test_a_bin_is_the_mean_of_what_ended_in_it():
    curve = [[1, 10.0], [2, 20.0], [4 * BINS, 7.0]]  # bins of 4 steps: the first holds two episodes, the last one
    found = binned(curve, last=4 * BINS)
    assert found[0] == 15.0 and found[-1] == 7.0
    np.testing.assert_allclose(np.diff(found), -8.0 / (BINS - 1))  # between them a straight line


def test_nothing_is_drawn_where_nothing_was_played():
    found = binned([[300, 3.0], [500, 5.0]], last=1000)
    assert np.flatnonzero(np.isfinite(found)).tolist() == list(range(12, 21))
    assert found[12] == 3.0 and found[20] == 5.0


def test_a_thinned_curve_has_the_means_of_neighbours():
    curve = [[10, 1.0], [20, 3.0], [30, 5.0], [40, 7.0], [50, 6.0]]
    assert thinned(curve, points=2) == [[30, 3.0], [50, 6.5]]
    assert thinned(curve) == curve
    assert thinned([]) == []


def test_a_panel_per_title(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    curves = {"ours": [[[100, 1.0], [200, 2.0]], [[150, 1.5], [210, 3.0]]], "theirs": [[[200, 0.0]]]}
    file = tmp_path / "new" / "curves.png"
    draw_panels(file, {"Hopper-v5": curves, "Walker2d-v5": curves})
    height, width, _ = matplotlib.image.imread(file).shape
    assert width == pytest.approx(2.5 * height, rel=0.01)
