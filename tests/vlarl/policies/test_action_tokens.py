"""Bins, decoding and labels against hand-made numbers and properties."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlarl.policies.action_tokens import ActionTokens, expected_values, log_probs_and_entropy, sample_tokens

BINS = ActionTokens(256)


@given(st.floats(-1.5, 1.5))
def test_encoding_and_decoding_is_within_half_a_bin(value: float):
    decoded = BINS.decode(BINS.encode(np.array([value])))[0]
    assert abs(decoded - np.clip(value, -1, 1)) <= 1 / 255 + 1e-12


def test_ends_and_middle_of_the_scale():
    assert BINS.encode(np.array([-1.0, 1.0, 0.0])).tolist() == [255, 0, 128]
    np.testing.assert_allclose(BINS.values[[0, 1, 128, 255]], [254 / 255, 254 / 255, 0.0, -254 / 255], atol=1e-12)


@given(st.floats(-1, 1), st.sampled_from([0.5, 2.0, 4.0]))
def test_soft_labels_are_a_distribution_around_the_action(value: float, sigma: float):
    target = BINS.soft_targets(torch.tensor([value]), sigma)[0].double()
    assert abs(float(target.sum()) - 1) < 1e-6 and float(target[0]) == 0.0
    values = torch.from_numpy(BINS.values)
    assert abs(float(values[target.argmax()]) - value) <= 1 / 255 + 1e-6
    if abs(value) < 1 - 12 * sigma / 255:  # away from the ends nothing is cut off, so the mean is the action
        assert abs(float((target * values).sum()) - value) < 1e-3


def test_plain_labels():
    assert int(BINS.soft_targets(torch.tensor(0.0), 0.0).argmax()) == 128


def test_sampling_is_the_inverse_of_the_distribution_function():
    logits = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    noise = torch.tensor([0.05, 0.15, 0.29, 0.31, 0.59, 0.61, 0.99])
    drawn = sample_tokens(logits.expand(7, 4), noise, 1.0)
    assert drawn.tolist() == [0, 1, 1, 2, 2, 3, 3]
    hot = sample_tokens(logits.expand(7, 4), noise, 1e6)  # uniform
    assert hot.tolist() == [0, 0, 1, 1, 2, 2, 3]


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 3.0))
def test_sampled_tokens_have_probability(seed: int, temperature: float):
    generator = torch.Generator().manual_seed(seed)
    logits = 20 * torch.randn(50, 16, generator=generator)
    drawn = sample_tokens(logits, torch.rand(50, generator=generator), temperature)
    assert bool((torch.softmax(logits.double() / temperature, -1).gather(-1, drawn[:, None]) > 0).all())


def test_expected_values_by_hand():
    values = torch.tensor([0.5, -0.5], dtype=torch.float64)
    logits = torch.log(torch.tensor([[[[0.75, 0.25], [0.4, 0.6]]]]))  # one step, an arm entry and the gripper
    result = expected_values(logits, values, 1.0)
    np.testing.assert_allclose(result[0, 0], [0.25, -1.0], atol=1e-6)


def test_entropy_by_hand():
    log_probs, entropy = log_probs_and_entropy(torch.zeros(1, 4), torch.tensor([2]), 1.6)
    np.testing.assert_allclose([float(log_probs), float(entropy)], [-np.log(4), np.log(4)], rtol=1e-6)
