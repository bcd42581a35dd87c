"""Bins, normalisation, gripper and proprioception against numbers recorded from OpenVLA-OFT itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vlarl.policies.action_tokens import ActionTokens
from vlarl.policies.normalisation import Normaliser, gripper_from_environment, gripper_to_environment
from vlarl.policies.oft_config import QuantileStatistics

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "openvla"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")

VOCABULARY = 32000


def statistics(key: str, kind: str, part: str = "action") -> QuantileStatistics:
    config = json.loads((GOLDEN / "checkpoint" / "config.json").read_text())["norm_stats"]
    overriding = json.loads((GOLDEN / "checkpoint" / "dataset_statistics.json").read_text())
    entry = (config | overriding)[key][part]
    low, high = ("q01", "q99") if kind == "bounds_q99" else ("min", "max")
    mask = entry.get("mask")
    return QuantileStatistics(
        low=tuple(entry[low]), high=tuple(entry[high]), mask=None if mask is None else tuple(mask)
    )


def test_token_ids():
    golden = np.load(GOLDEN / "01_action_tokenizer.npz")
    bins = ActionTokens(256)
    np.testing.assert_array_equal(bins.edges, golden["bins"])
    begin = VOCABULARY - 256
    np.testing.assert_array_equal(bins.encode(golden["actions"]) + begin, golden["token_ids"])
    np.testing.assert_array_equal(bins.encode(golden["chunk_actions"]) + begin, golden["chunk_token_ids"])
    single = golden["chunk_actions"].astype(np.float32)
    np.testing.assert_array_equal(bins.encode(single) + begin, golden["chunk_token_ids_from_float32"])


def test_decoded_tokens():
    golden = np.load(GOLDEN / "01_action_tokenizer.npz")
    ids = golden["decode_ids"]
    inside = (ids >= VOCABULARY - 256) & (ids < VOCABULARY)
    assert set(ids[inside]) == set(range(VOCABULARY - 256, VOCABULARY))
    decoded = ActionTokens(256).decode(ids[inside] - (VOCABULARY - 256))
    np.testing.assert_array_equal(decoded, golden["decoded"][inside])


@pytest.mark.parametrize("key", ["austin_no_mask", "bridge_orig", "fractal20220817_data", "libero_spatial_no_noops"])
@pytest.mark.parametrize("kind", ["bounds_q99", "bounds"])
def test_unnormalised_actions(key: str, kind: str):
    golden = np.load(GOLDEN / "02_normalisation.npz")
    result = Normaliser(statistics(key, kind)).unnormalise(golden["normalized_actions"])
    np.testing.assert_allclose(result, golden[f"unnorm/{key}/{kind}"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["bounds_q99", "bounds"])
def test_normalised_proprioception(kind: str):
    golden = np.load(GOLDEN / "02_normalisation.npz")
    result = Normaliser(statistics("libero_spatial_no_noops", kind, "proprio")).normalise(golden["proprio_in"])
    np.testing.assert_allclose(result, golden[f"proprio_norm/libero_spatial_no_noops/{kind}"], rtol=0, atol=1e-12)


def test_gripper():
    golden = np.load(GOLDEN / "02_normalisation.npz")
    result = gripper_to_environment(golden["gripper_in"], "openvla")
    np.testing.assert_array_equal(result, golden["gripper_env_action"])
    np.testing.assert_array_equal(gripper_to_environment(golden["gripper_in"], "signed"), golden["gripper_in"])
    back = gripper_to_environment(gripper_from_environment(np.array([[0.0, -1.0], [0.0, 1.0]]), "openvla"), "openvla")
    np.testing.assert_array_equal(back[:, 1], [-1.0, 1.0])
