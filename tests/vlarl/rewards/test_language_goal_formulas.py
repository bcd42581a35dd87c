"""The formulas against numbers worked out by hand, and against their literal form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlarl.rewards import language_goal_formulas as formulas


def test_contrast_is_the_code_of_vlm_rl_turned_around():
    positive, negative = np.array([0.20, 0.20, 0.20]), np.array([0.18, 0.215, 0.24])
    z = negative - positive  # the code's sign
    by_the_code = 1 - np.clip(z, 0, 0.03) / 0.03
    np.testing.assert_allclose(by_the_code, [1.0, 0.5, 0.0], atol=1e-12)
    found = formulas.normalised(formulas.contrast(positive, negative), -0.03, 0.0)
    np.testing.assert_allclose(found, by_the_code, atol=1e-12)


def test_contrast_with_the_papers_weights():
    assert formulas.contrast(0.3, 0.1, alpha=0.7, beta=0.3) == pytest.approx(0.18)


def test_lord_and_lord_speed():
    assert formulas.lord(0.3) == pytest.approx(0.7)
    # 1 - 0.3 + 1 - |15 - 20| / 20
    assert formulas.lord_speed(0.3, 15.0) == pytest.approx(1.45)
    assert formulas.lord_speed(0.3, 50.0) == pytest.approx(0.2)


def test_threshold_and_not_a_number():
    found = formulas.thresholded([0.319, 0.32, 0.5, np.nan])
    np.testing.assert_array_equal(found, [-1, 1, 1, np.nan])
    assert np.isnan(formulas.normalised(np.nan, 0, 1))
    assert np.isnan(formulas.contrast(np.nan, 0.1))


def test_goal_baseline_by_hand():
    # target and baseline at right angles, the picture is the baseline: |x - t|^2 = 2 and all of it lies along the line
    assert formulas.goal_baseline(0.0, 1.0, 0.0, alpha=1.0) == pytest.approx(0.0)
    # alpha 0.5: P shrinks what is across the line to a half, and nothing along it
    assert formulas.goal_baseline(0.0, 1.0, 0.0, alpha=0.5) == pytest.approx(1 - 0.5 * 2.0)
    assert formulas.goal_baseline(1.0, 0.3, 0.3) == pytest.approx(1.0)  # the picture is the target


def test_goal_baseline_with_alpha_zero_is_the_similarity():
    assert formulas.goal_baseline(0.37, -0.2, 0.5, alpha=0.0) == pytest.approx(0.37)


@given(arrays(np.float64, (3, 5), elements=st.floats(-1, 1)), st.floats(0, 1))
def test_goal_baseline_equals_the_projection_of_embeddings(vectors, alpha):
    vectors = vectors + np.eye(3, 5) * 2.5  # neither zero nor parallel
    picture, target, baseline = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    direction = target - baseline
    projection = np.outer(direction, direction) / (direction @ direction)
    pulled = (picture - target) @ (alpha * projection + (1 - alpha) * np.eye(5))
    literal = 1 - 0.5 * np.sum(pulled**2)
    found = formulas.goal_baseline(picture @ target, picture @ baseline, float(target @ baseline), alpha)
    assert found == pytest.approx(literal, abs=1e-9)


def test_goal_baseline_refuses_equal_sentences():
    with pytest.raises(ValueError, match="no line between"):
        formulas.goal_baseline(0.1, 0.1, 1.0)


def test_lasting_deviation_looks_back_a_few_steps():
    found = formulas.lasting_deviation([0.0, 2.0, 4.0, 4.0], 2)
    np.testing.assert_allclose(found, [0.0, 1.0, 1.0, 0.0])
    assert len(formulas.lasting_deviation([], 3)) == 0


def test_synthesis_by_hand():
    # wanted 0.8 * 25 = 20 km/h, driven 15: 0.8; 0.6 m off: 0.8; 9 degrees: 0.9; deviation 0.1: 0.75
    assert formulas.synthesis(0.8, 15.0, 0.6, -9.0, 0.1) == pytest.approx(0.8 * 0.8 * 0.9 * 0.75)
    # danger: standing is right, 25 km/h is worth nothing
    assert formulas.synthesis(0.0, 0.0, 0.0, 0.0, 0.0) == 1.0
    assert formulas.synthesis(0.0, 25.0, 0.0, 0.0, 0.0) == 0.0
    # past 3 m, 90 degrees or 0.4 m nothing is left, and nothing turns negative twice
    for state in ((3.5, 0, 0), (0, 95, 0), (0, 0, 0.5), (4, 100, 1)):
        assert formulas.synthesis(1.0, 25.0, *state) == 0.0
    # too fast by more than the top speed costs
    assert formulas.synthesis(0.0, 50.0, 0.0, 0.0, 0.0) == -1.0


@given(st.floats(0, 1), st.floats(0, 25), st.floats(0, 5), st.floats(-180, 180), st.floats(0, 1))
def test_synthesis_stays_within_0_and_1_up_to_the_top_speed(language, speed, distance, angle, deviation):
    assert 0.0 <= formulas.synthesis(language, speed, distance, angle, deviation) <= 1.0
