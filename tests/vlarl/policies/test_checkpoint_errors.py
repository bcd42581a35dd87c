"""A wrong checkpoint is refused with the file, the field, what was found and what was expected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.support.policies import observations, random_policy
from vlarl.errors import CheckpointError, ConfigError
from vlarl.policies.oft_presets import preset
from vlarl.policies.openvla_oft import OpenVlaOft


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_policy().save_pretrained(tmp_path / "policy")
    return tmp_path / "policy"


def assert_refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        OpenVlaOft.from_pretrained(folder)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_file(folder: Path, name: str):
    (folder / name).unlink()
    assert_refused(folder, name, "missing")


def test_missing_folder(tmp_path: Path):
    assert_refused(tmp_path / "nothing", "not a folder")


def test_other_architecture(folder: Path):
    edit_config(folder, model_type="llava")
    assert_refused(folder, "config.json", "model_type", "'llava'", "'openvla_oft'")


def test_unknown_field(folder: Path):
    edit_config(folder, chunks=8)
    assert_refused(folder, "config.json", "chunks")


def test_missing_field(folder: Path):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    del content["language"]["hidden_size"]
    path.write_text(json.dumps(content))
    assert_refused(folder, "config.json", "hidden_size", "language")


def test_wrong_type(folder: Path):
    content = json.loads((folder / "config.json").read_text())
    content["vision"]["dino"]["hidden_size"] = "wide"
    edit_config(folder, vision=content["vision"])
    assert_refused(folder, "config.json", "vision.dino.hidden_size", "int", "'wide'")


def test_statistics_of_another_length(folder: Path):
    edit_config(folder, action_statistics={"low": [-1.0] * 6, "high": [1.0] * 6, "mask": None})
    assert_refused(folder, "config.json", "action_statistics", "7", "6")


def test_weights_of_another_size(folder: Path):
    tensors = load_file(folder / "model.safetensors")
    tensors["projector.fc1.weight"] = tensors["projector.fc1.weight"][:, :5].contiguous()
    save_file(tensors, folder / "model.safetensors")
    assert_refused(folder, "model.safetensors", "projector.fc1.weight", "[64, 5]", "[64, 32]")


def test_missing_and_superfluous_tensor(folder: Path):
    tensors = load_file(folder / "model.safetensors")
    taken = tensors.pop("projector.fc2.bias")
    save_file(tensors, folder / "model.safetensors")
    assert_refused(folder, "model.safetensors", "projector.fc2.bias", "missing")
    save_file(
        tensors | {"projector.fc2.bias": taken, "action_head.weight": taken.clone()}, folder / "model.safetensors"
    )
    assert_refused(folder, "model.safetensors", "action_head.weight")


def test_nan_weights_are_named(folder: Path):
    tensors = load_file(folder / "model.safetensors")
    tensors["projector.fc3.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    assert_refused(folder, "projector.fc3.bias", "NaN")


def test_truncated_weights(folder: Path):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert_refused(folder, "model.safetensors", "not a readable safetensors file")


def test_damaged_tokenizer(folder: Path):
    (folder / "tokenizer.json").write_text("{}")
    assert_refused(folder, "tokenizer.json")


def test_observation_that_does_not_fit():
    policy = random_policy()
    seen = observations(1)[0]
    with pytest.raises(ValueError, match=r"no camera 'wrist'.*agentview"):
        policy.prepare([replace(seen, images={"agentview": seen.images["agentview"]})])
    small = {name: image[:64, :64] for name, image in seen.images.items()}
    with pytest.raises(ValueError, match=r"64 x 64.*128 x 128"):
        policy.prepare([replace(seen, images=small)])


def test_prompt_that_is_too_long():
    with pytest.raises(ValueError, match=r"prompt.max_tokens"):
        random_policy().prompt_ids("pick up the bowl " * 20)


def test_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'small'"):
        preset("smal")
