"""What is wrong with a published folder is said: file, field, what was found, what was expected, the fix."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.openvla_parity import GOLDEN
from tests.support.policies import noises, observations, random_policy
from tests.support.published import edit_json, published_copy, writable_copy
from vlarl.errors import CheckpointError, ConfigError, UserError
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policies.tensor_files import read_pickle
from vlarl.policy import Decoding, LoadConfig, load_policy

needs_golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy in the published layout, four or more shards."""
    folder = tmp_path_factory.mktemp("published")
    return published_copy(random_policy(), folder / "ours", folder / "published")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return writable_copy(made, tmp_path / "policy")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    if not GOLDEN.is_dir():
        pytest.skip(f"golden data not found at {GOLDEN}")
    return writable_copy(GOLDEN / "checkpoint", tmp_path / "golden")


def assert_refused(folder: Path, *words: str, **load: object) -> str:
    """The message; nothing in the folder changed."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(CheckpointError) as caught:
        OpenVlaOft.from_pretrained(folder, load=LoadConfig(**load))  # pyrefly: ignore
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return str(caught.value)


def last_shard(folder: Path) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[-1]


def test_missing_shard(folder: Path):
    shard = last_shard(folder)
    shard.unlink()
    assert_refused(folder, shard.name, "is missing", "model.safetensors.index.json", "fetch that file again")


def test_missing_index(folder: Path):
    (folder / "model.safetensors.index.json").unlink()
    assert_refused(folder, "model.safetensors.index.json is missing", "which shard")


def test_truncated_shard(folder: Path):
    shard = last_shard(folder)
    shard.write_bytes(shard.read_bytes()[:-100])
    assert_refused(folder, shard.name, "not a readable safetensors file", "bytes")


def test_shard_of_another_checkpoint(folder: Path):
    shard = last_shard(folder)
    tensors = load_file(shard)
    taken = sorted(tensors)[0]
    del tensors[taken]
    save_file(tensors, shard)
    assert_refused(folder, shard.name, taken, "different checkpoints")


def test_index_that_points_elsewhere(folder: Path):
    index = folder / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"][next(iter(content["weight_map"]))] = "../secret.safetensors"
    index.write_text(json.dumps(content))
    assert_refused(folder, "model.safetensors.index.json", "../secret.safetensors", "same folder")


def test_git_lfs_pointer(folder: Path):
    last_shard(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert_refused(folder, "Git LFS pointer", "git lfs pull")


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def test_pickle_in_place_of_safetensors(folder: Path, tmp_path: Path):
    torch.save({"weight": Bomb(tmp_path / "ran")}, last_shard(folder))
    assert_refused(folder, last_shard(folder).name, "pickle", "expected safetensors")
    for path in folder.glob("model*"):
        path.unlink()
    torch.save({"weight": Bomb(tmp_path / "ran")}, folder / "pytorch_model.bin")
    assert_refused(folder, "pytorch_model.bin", "pickle", "model.safetensors")
    assert not (tmp_path / "ran").exists()


def test_pickled_component_is_opened_only_where_asked_for_and_never_run(folder: Path, tmp_path: Path):
    component = folder / "proprio_projector--100_checkpoint.pt"
    torch.save({"module.fc1.weight": Bomb(tmp_path / "ran")}, component)
    assert_refused(folder, component.name, "pickle", "--load.allow-pickle")
    assert_refused(folder, component.name, "not a readable file of tensors", allow_pickle=True)
    assert not (tmp_path / "ran").exists()
    torch.save([1, 2], component)
    assert_refused(folder, component.name, "list", "dict of tensors", allow_pickle=True)
    component.write_bytes(b"PK\x03\x04 cut off")
    assert_refused(folder, component.name, "not a readable file of tensors", allow_pickle=True)
    torch.save({"module.a": torch.ones(2)}, component)
    assert read_pickle(component, allowed=True)["a"].tolist() == [1.0, 1.0]


def test_two_components_of_one_kind(folder: Path):
    for step in (100, 200):
        torch.save({}, folder / f"proprio_projector--{step}_checkpoint.pt")
    assert_refused(folder, "2 files named proprio_projector--*", "expected one", allow_pickle=True)


def test_vocabulary_of_another_size(folder: Path):
    content = json.loads((folder / "config.json").read_text())
    content["vlarl"]["language"]["vocab_size"] += 64
    edit_json(folder / "config.json", **content)
    assert_refused(folder, "vocab_size", "[576, 32]", "[640, 32]")


@needs_golden
def test_published_vocabulary_of_another_size(golden: Path):
    text = json.loads((golden / "config.json").read_text())["text_config"]
    edit_json(golden / "config.json", text_config=text | {"vocab_size": 32128})
    assert_refused(golden, "-of-00004.safetensors", "[32064, 64]", "[32128, 64]", "vocab_size")


def test_tokenizer_of_another_model(folder: Path):
    content = json.loads((folder / "config.json").read_text())
    content["vlarl"]["language"]["vocab_size"] = 448
    edit_json(folder / "config.json", **content)
    assert_refused(folder, "tokenizer.json", "513 pieces", "448")


@needs_golden
def test_statistics_mask_of_the_wrong_length(golden: Path):
    file = golden / "dataset_statistics.json"
    content = json.loads(file.read_text())
    content["libero_spatial_no_noops"]["action"]["mask"] = [True, False]
    file.write_text(json.dumps(content))
    assert_refused(golden, "libero_spatial_no_noops", "action.mask", "2 entries", "expected 7")


@needs_golden
def test_statistics_without_mask_are_used_with_a_warning(golden: Path):
    with pytest.warns(UserWarning, match=r"austin_no_mask.*mask' is missing.*gripper too"):
        policy = OpenVlaOft.from_pretrained(golden, load=LoadConfig(unnorm_key="austin_no_mask"))
    assert policy.config.action_statistics.mask is None


@needs_golden
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"q99": [0.0]}, ("action.q99", "1 entries", "has 7")),
        ({"q01": None}, ("action.q01", "None", "list of finite numbers")),
        ({"q01": ["a"] * 7}, ("action.q01", "finite numbers")),
    ],
)
def test_statistics_that_do_not_fit(golden: Path, change: dict, words: tuple[str, ...]):
    file = golden / "dataset_statistics.json"
    content = json.loads(file.read_text())
    content["libero_spatial_no_noops"]["action"] |= change
    file.write_text(json.dumps(content))
    assert_refused(golden, *words)


@needs_golden
def test_unnorm_key_is_chosen_or_the_keys_are_listed(golden: Path):
    message = assert_refused(golden, "unknown unnorm_key 'libero_spatal'", "Did you mean", unnorm_key="libero_spatal")
    assert "bridge_orig" in message
    assert OpenVlaOft.from_pretrained(golden, load=LoadConfig(unnorm_key="libero_spatial")).config.action_dim == 7
    (golden / "dataset_statistics.json").unlink()
    assert_refused(golden, "--load.unnorm-key KEY", "austin_no_mask, bridge_orig, fractal20220817_data")
    edit_json(golden / "config.json", norm_stats=None)
    assert_refused(golden, "no action statistics", "dataset_statistics.json", "norm_stats")


def test_nan_weights_are_named(folder: Path):
    for shard in sorted(folder.glob("model-*.safetensors")):
        tensors = load_file(shard)
        if "projector.fc3.bias" in tensors:
            tensors["projector.fc3.bias"][0] = float("nan")
            save_file(tensors, shard)
    assert_refused(folder, "projector.fc3.bias", "NaN")


@needs_golden
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("arch_specifier", "linear", ("arch_specifier", "'linear'", "no-align+fused-gelu-mlp")),
        ("image_resize_strategy", "letterbox", ("image_resize_strategy", "letterbox", "resize-naive")),
        ("use_film", True, ("use_film", "True", "fork")),
        ("architectures", ["MyVLA"], ("architectures", "MyVLA", "OpenVLAForActionPrediction")),
        ("timm_override_act_layers", ["quick_gelu", None], ("timm_override_act_layers", "quick_gelu")),
        ("use_fused_vision_backbone", False, ("use_fused_vision_backbone", "False", "True")),
        ("text_config", None, ("text_config", "None", "dict")),
        ("pad_to_multiple_of", None, ("pad_to_multiple_of", "None", "int")),
    ],
)
def test_a_forks_config_is_refused(golden: Path, field: str, value: object, words: tuple[str, ...]):
    edit_json(golden / "config.json", **{field: value})
    assert_refused(golden, "config.json", *words)


@needs_golden
def test_unknown_vision_tower(golden: Path):
    edit_json(golden / "config.json", timm_model_kwargs=None)
    assert_refused(golden, "timm_model_ids", "vit_goldena_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2")


@needs_golden
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
def test_missing_small_file(golden: Path, name: str):
    (golden / name).unlink()
    assert_refused(golden, name, "is missing")


@needs_golden
def test_tensor_of_another_network(golden: Path):
    shard = golden / "model-00003-of-00004.safetensors"
    save_file(load_file(shard) | {"vision_backbone.film.scale": torch.ones(3)}, shard)
    assert_refused(golden, shard.name, "vision_backbone.film.scale", "not part of the OpenVLA network")


@needs_golden
@pytest.mark.parametrize(
    ("file", "meaning"),
    [("noisy_action_projector--1_checkpoint.pt", "diffusion"), ("vision_backbone--1_checkpoint.pt", "FiLM")],
)
def test_variants_that_are_not_implemented(golden: Path, file: str, meaning: str):
    (golden / file).write_bytes(b"")
    assert_refused(golden, file, meaning, "not implemented")


@needs_golden
def test_l1_checkpoint_loads_and_evaluates_and_is_refused_for_token_learning(golden: Path):
    for path in (GOLDEN / "oft_components").iterdir():
        shutil.copyfile(path, golden / path.name)
    assert_refused(golden, "action_head--150000_checkpoint.pt", "--load.allow-pickle")
    policy = OpenVlaOft.from_pretrained(golden, load=LoadConfig(allow_pickle=True))
    assert policy.config.head == "l1" and policy.config.cameras == ("agentview", "wrist")
    seen = observations(2)
    for one in seen:
        for name in one.images:
            one.images[name] = np.zeros((256, 256, 3), np.uint8)  # pyrefly: ignore
    outputs = policy.act(seen, noises(2), Decoding(mode="greedy"))
    assert outputs[0].actions.shape == (8, 7)
    for refusal in (
        policy.trainable_parameters,
        lambda: policy.evaluate({}, torch.zeros(1, 8, 7), 1.0),
        lambda: policy.act(seen, noises(2), Decoding(mode="sample")),
    ):
        with pytest.raises(CheckpointError, match=r"L1 regression head.*never\s+learned chunks"):
            refusal()


@needs_golden
@pytest.mark.parametrize(
    ("code", "statistics", "decoding"),
    [
        ("NUM_ACTIONS_CHUNK = 8", True, "parallel"),
        ("class OpenVLAForActionPrediction: ...", True, "autoregressive"),
        (None, True, "parallel"),
        (None, False, "autoregressive"),
    ],
)
def test_how_it_decodes_follows_from_the_files_and_remote_code_is_not_run(
    golden: Path, code: str | None, statistics: bool, decoding: str
):
    if code is not None:
        (golden / "modeling_prismatic.py").write_text(f"{code}\nraise SystemExit('the code was run')\n")
    load = LoadConfig()
    if not statistics:
        (golden / "dataset_statistics.json").unlink()
        load = LoadConfig(unnorm_key="bridge_orig")
    config = OpenVlaOft.from_pretrained(golden, load=load).config
    assert (config.decoding, config.chunk) == (decoding, 8 if decoding == "parallel" else 1)
    assert config.epsilon == (1e-8 if decoding == "parallel" else 0.0)


@pytest.mark.parametrize(
    "named", ["os:system", "evil:Policy", "evil.sub:Policy", "/tmp/evil.py:Policy", "evil", "vlarl.cli:main"]
)
def test_a_folder_may_not_choose_code_to_run(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('the code was run')")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "policy").mkdir()
    config = tmp_path / "policy" / "config.json"
    config.write_text(json.dumps({"policy_class": named.replace("/tmp", str(tmp_path))}))
    with pytest.raises(CheckpointError) as caught:
        load_policy(tmp_path / "policy")
    assert str(config) in str(caught.value)
    config.write_text(json.dumps({"model_type": "../evil.py"}))
    with pytest.raises(CheckpointError, match=r"unknown model_type"):
        load_policy(tmp_path / "policy")


def test_flash_attention_is_refused_with_the_reason(folder: Path):
    with pytest.raises(ConfigError, match=r"flash.*causality.*sdpa"):
        OpenVlaOft.from_pretrained(folder, load=LoadConfig(attention="flash"))


def test_device_that_is_not_there(folder: Path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match=r"torch sees no GPU"):
        OpenVlaOft.from_pretrained(folder, load=LoadConfig(device="cuda"))
    with pytest.raises(ConfigError, match=r"'abacus'"):
        OpenVlaOft.from_pretrained(folder, load=LoadConfig(device="abacus"))


def test_load_flags_for_a_policy_that_takes_none(tmp_path: Path):
    policy = load_policy("vlarl.policies.state_mlp:StateMlp")
    policy.save_pretrained(tmp_path / "mlp")
    with pytest.raises(UserError, match=r"StateMlp.*no --load flags"):
        load_policy(tmp_path / "mlp", load=LoadConfig(adapter_rank=8))
    with pytest.raises(UserError, match=r"built afresh"):
        load_policy("vlarl.policies.state_mlp:StateMlp", load=LoadConfig(adapter_rank=8))


@needs_golden
def test_camera_of_another_size_names_the_flag(golden: Path):
    policy = OpenVlaOft.from_pretrained(golden)
    with pytest.raises(ValueError, match=r"128 x 128.*256 x 256.*--env.resolution 256"):
        policy.act(observations(1), noises(1), Decoding())
