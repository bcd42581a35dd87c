"""The whole network against OpenVLA-OFT: a small checkpoint in the published layout, numbers recorded from upstream.

Golden case file ``06_oft_discrete``: tolerances are those of its ``tolerances.json``.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vlarl.policies.oft_config import TowerConfig
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policies.prompt_tokenizer import load_tokenizer
from vlarl.policies.published_layout import config_from_published, state_from_published

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "openvla"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")

CASES = ["one_image", "one_image_b", "one_image_proprio", "two_images_proprio", "two_images_proprio_b"]


def read(name: str) -> dict:
    return json.loads((GOLDEN / "checkpoint" / name).read_text())


@pytest.fixture(scope="module")
def policy() -> OpenVlaOft:
    """The golden checkpoint in our class, fp32, with its proprio projector."""
    config = read("config.json")
    dino, siglip = config["timm_model_kwargs"]
    towers = (
        TowerConfig(
            hidden_size=dino["embed_dim"],
            num_hidden_layers=dino["depth"],
            num_attention_heads=dino["num_heads"],
            intermediate_size=4 * dino["embed_dim"],
            num_register_tokens=dino["reg_tokens"],
        ),
        TowerConfig(
            hidden_size=siglip["embed_dim"],
            num_hidden_layers=siglip["depth"],
            num_attention_heads=siglip["num_heads"],
            intermediate_size=int(siglip["embed_dim"] * siglip["mlp_ratio"]),
        ),
    )
    ours = config_from_published(
        config,
        read("preprocessor_config.json"),
        read("dataset_statistics.json")["libero_spatial_no_noops"],
        towers,
        cameras=("agentview", "wrist"),
        use_proprio=True,
    )
    policy = OpenVlaOft(ours, load_tokenizer(GOLDEN / "checkpoint")).eval()
    tensors = {}
    for shard in sorted((GOLDEN / "checkpoint").glob("*.safetensors")):
        tensors |= {name: tensor.float() for name, tensor in load_file(shard).items()}
    component = GOLDEN / "oft_components" / "proprio_projector--150000_checkpoint.pt"
    projector = torch.load(component, weights_only=True, map_location="cpu")
    tensors |= {name.replace("module.", "proprio_projector."): t.float() for name, t in projector.items()}
    model = policy.vision_backbone.siglip.model
    prefix = "vision_model." if hasattr(model, "vision_model") else ""
    policy.load_state_dict(state_from_published(tensors, prefix), strict=True)
    return policy


@pytest.mark.parametrize("case", CASES)
def test_logits_log_sum_exp_and_actions(policy: OpenVlaOft, case: str):
    golden = np.load(GOLDEN / "06_oft_discrete.npz")
    images = np.load(GOLDEN / "03_images.npz")["cropped_224"][golden[f"{case}/image_indices"]]
    ids = torch.from_numpy(golden[f"{case}/input_ids"])[None]
    has_proprio = f"{case}/proprio_normalised" in golden.files
    proprio = torch.from_numpy(golden[f"{case}/proprio_normalised"]).float()[None] if has_proprio else None
    with torch.no_grad():
        features = policy.vision_backbone(torch.from_numpy(images)).flatten(0, 1)[None]
        logits = policy.chunk_logits(features, ids, None, proprio)[0].view(56, 256)
    np.testing.assert_allclose(logits, golden[f"{case}/tail_logits"][0], rtol=0, atol=3e-4)
    np.testing.assert_allclose(torch.logsumexp(logits.double(), -1), golden[f"{case}/logsumexp_tail"][0], atol=5e-5)
    tokens = logits.argmax(-1).numpy()
    np.testing.assert_array_equal(tokens + policy.config.action_token_begin, golden[f"{case}/argmax_tail"][0])
    if (golden[f"{case}/argmax_full"] == golden[f"{case}/argmax_tail"]).all():
        actions = policy.action_normaliser.unnormalise(policy.bins.decode(tokens).reshape(8, 7))
        np.testing.assert_allclose(actions, golden[f"{case}/actions"], atol=1e-9)


def test_padded_batch_of_prompts_of_different_length(policy: OpenVlaOft):
    """Two rows of different prompt length in one padded batch with our mask give upstream's numbers too."""
    golden = np.load(GOLDEN / "06_oft_discrete.npz")
    images = np.load(GOLDEN / "03_images.npz")["cropped_224"]
    cases = ["one_image", "one_image_b"]
    prompts = [torch.from_numpy(golden[f"{case}/input_ids"]) for case in cases]
    lengths = torch.tensor([len(ids) for ids in prompts])
    assert lengths[0] != lengths[1]
    padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=policy.config.prompt.pad_id)
    with torch.no_grad():
        chosen = np.concatenate([images[golden[f"{case}/image_indices"]] for case in cases])
        logits = policy.chunk_logits(policy.vision_backbone(torch.from_numpy(chosen)), padded, lengths, None)
    for row, case in enumerate(cases):
        np.testing.assert_allclose(logits[row].view(56, 256), golden[f"{case}/tail_logits"][0], rtol=0, atol=3e-4)


def test_proprio_token(policy: OpenVlaOft):
    golden = np.load(GOLDEN / "06_oft_discrete.npz")
    case = "two_images_proprio"
    assert policy.proprio_projector is not None
    with torch.no_grad():
        token = policy.proprio_projector(torch.from_numpy(golden[f"{case}/proprio_normalised"]).float()[None])[0]
    np.testing.assert_allclose(token, golden[f"{case}/proprio_token"], atol=1e-5)


def test_prompt_ids_equal_upstreams(policy: OpenVlaOft):
    prompts = json.loads((GOLDEN / "04_prompts.json").read_text())
    entries = prompts["cases"]
    checked = 0
    for entry in entries:
        assert policy.prompt_ids(entry["instruction"]).tolist() == entry["input_ids_model"]
        checked += 1
    assert checked > 5


def test_tolerance_catches_a_small_mistake(policy: OpenVlaOft):
    """The bound is tight enough to see one wrong token among 313."""
    golden = np.load(GOLDEN / "06_oft_discrete.npz")
    images = np.load(GOLDEN / "03_images.npz")["cropped_224"][golden["one_image/image_indices"]]
    ids = torch.from_numpy(golden["one_image/input_ids"])[None]
    config = dataclasses.replace(policy.config.prompt, stop_id=13)
    original = policy.config
    try:
        policy.config = dataclasses.replace(original, prompt=config)
        with torch.no_grad():
            logits = policy.chunk_logits(policy.vision_backbone(torch.from_numpy(images)), ids, None, None)[0]
    finally:
        policy.config = original
    assert float(np.abs(logits.view(56, 256).numpy() - golden["one_image/tail_logits"][0]).max()) > 0.01
