"""Between our layout and the published one: the same bits, the same decisions, and nothing half-written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.support.openvla_parity import GOLDEN
from tests.support.policies import noises, observations, random_policy
from tests.support.published import published_copy
from vlarl.cli import main
from vlarl.errors import UserError
from vlarl.nn.adapters import LowRankLinear
from vlarl.policies.convert import convert, to_published
from vlarl.policies.oft_presets import preset
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import DEFAULT_LOAD, Decoding, LoadConfig

COMPACT = Path(__file__).parents[3] / "assets" / "openvla_oft_compact_object"


def stored(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a folder's safetensors files."""
    return {name: t for path in sorted(folder.glob("*.safetensors")) for name, t in load_file(path).items()}


def assert_same_tensors(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def decisions(folder: Path) -> list[np.ndarray]:
    policy = OpenVlaOft.from_pretrained(folder)
    return [o.log_probs for o in policy.act(observations(3), noises(3), Decoding(temperature=1.3))]


@pytest.mark.parametrize("kind", ["tiny", "linear patches", "one tower", "shipped"])
def test_ours_to_published_and_back(kind: str, tmp_path: Path):
    source = tmp_path / "ours"
    if kind == "shipped":
        source = COMPACT
    elif kind == "tiny":
        random_policy().save_pretrained(source)
    else:
        config = preset("tiny")
        vision = replace(
            config.vision,
            stem_channels=(),
            dino=config.vision.dino and replace(config.vision.dino, num_register_tokens=4),
        )
        if kind == "one tower":
            config = replace(config, projector_hidden_size=0)
            vision = replace(vision, dino=None)
        OpenVlaOft.from_scratch(replace(config, vision=vision), 0).save_pretrained(source)
    published, again = tmp_path / "published", tmp_path / "again"
    to_published(source, published, shard_bytes=200_000)
    assert json.loads((published / "config.json").read_text())["model_type"] == "openvla"
    assert len(list(published.glob("model-*.safetensors"))) > 1
    assert any(".attn.qkv." in name for name in stored(published))
    assert convert(published, again, DEFAULT_LOAD) == "ours"
    assert_same_tensors(stored(again), stored(source))
    assert json.loads((again / "config.json").read_text()) == json.loads(
        json.dumps(OpenVlaOft.from_pretrained(source).config.to_json())
    )
    for one, two, three in zip(decisions(source), decisions(published), decisions(again), strict=True):
        assert np.array_equal(one, two) and np.array_equal(one, three)


@pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")
@pytest.mark.parametrize("name", ["checkpoint", "checkpoint_v01"])
def test_published_to_ours_and_back(name: str, tmp_path: Path):
    ours, again = tmp_path / "ours", tmp_path / "again"
    assert main(["convert", str(GOLDEN / name), str(ours)]) == 0
    assert main(["convert", str(ours), str(again)]) == 0
    assert_same_tensors(stored(again), stored(GOLDEN / name))  # bfloat16 stays bfloat16, the unused pool is there
    before, after = (json.loads((folder / "config.json").read_text()) for folder in (GOLDEN / name, again))
    assert {key: value for key, value in after.items() if key != "vlarl"} == before
    for file in ("preprocessor_config.json", "generation_config.json", "added_tokens.json"):
        assert json.loads((again / file).read_text()) == json.loads((GOLDEN / name / file).read_text())
    states = [OpenVlaOft.from_pretrained(folder).state_dict() for folder in (GOLDEN / name, ours, again)]
    assert_same_tensors(states[1], states[0])
    assert_same_tensors(states[2], states[0])


def test_adapters_are_merged_or_kept_as_a_peft_folder(tmp_path: Path):
    source = tmp_path / "ours"
    random_policy().save_pretrained(tmp_path / "plain")
    policy = OpenVlaOft.from_pretrained(tmp_path / "plain", load=LoadConfig(adapter_rank=4))
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.normal_(std=0.05)
    policy.save_pretrained(source)
    expected = decisions(source)
    assert not all(np.array_equal(a, b) for a, b in zip(expected, decisions(tmp_path / "plain"), strict=True))
    to_published(source, tmp_path / "merged", merge=True)
    to_published(source, tmp_path / "kept")
    assert any(isinstance(module, LowRankLinear) for module in OpenVlaOft.from_pretrained(source).modules())
    for folder in (tmp_path / "merged", tmp_path / "kept" / "lora_adapter"):
        loaded = OpenVlaOft.from_pretrained(folder)
        assert not any(isinstance(module, LowRankLinear) for module in loaded.modules())
        for one, two in zip(expected, decisions(folder), strict=True):
            np.testing.assert_allclose(one, two, atol=2e-4)
    base = decisions(tmp_path / "kept")  # the base alone is what the adapters were put beside
    assert all(np.array_equal(a, b) for a, b in zip(base, decisions(tmp_path / "plain"), strict=True))


def test_targets_that_would_overwrite_something(tmp_path: Path):
    random_policy().save_pretrained(tmp_path / "ours")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"full holds something already"):
        convert(tmp_path / "ours", tmp_path / "full", DEFAULT_LOAD)
    with pytest.raises(UserError, match=r"lies inside"):
        convert(tmp_path / "ours", tmp_path / "ours" / "published", DEFAULT_LOAD)
    assert sorted(p.name for p in (tmp_path / "full").iterdir()) == ["notes.txt"]
    with pytest.raises(UserError, match="two folders"):
        from vlarl.commands.convert import main as command

        command([str(tmp_path / "ours")])


def test_a_damaged_source_writes_nothing(tmp_path: Path):
    folder = published_copy(random_policy(), tmp_path / "ours", tmp_path / "published")
    shard = sorted(folder.glob("model-*.safetensors"))[-1]
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(UserError, match=shard.name):
        convert(folder, tmp_path / "target", DEFAULT_LOAD)
    assert not (tmp_path / "target").exists()
