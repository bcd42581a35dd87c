"""LoRA adapter folders in peft's format: merged as the paper says, refused where they are something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.policies import random_policy
from tests.support.published import edit_json, published_copy
from vlarl.errors import CheckpointError
from vlarl.nn.adapters import adapters
from vlarl.policies.convert import to_published
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policies.published_layout import PublishedNames
from vlarl.policy import LoadConfig, load_policy

LAYERS = {
    "language_model.model.layers.0.self_attn.q_proj": (32, 32),
    "projector.fc1": (64, 32),
    "vision_backbone.featurizer.blocks.0.attn.qkv": (48, 16),
    "vision_backbone.fused_featurizer.blocks.1.mlp.fc2": (16, 32),
}
"""Layer in the published layout -> its weight's shape (out, in)."""
RANK, ALPHA = 3, 6.0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return published_copy(random_policy(), folder / "ours", folder / "published")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """An adapter of random factors that names its base."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for layer, (out, width) in LAYERS.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(RANK, width, generator=generator)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(out, RANK, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": str(base), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def published_weights(policy: OpenVlaOft) -> dict[str, torch.Tensor]:
    return PublishedNames(policy.config.vision).to_published(policy.state_dict())


def test_weights_are_w_plus_alpha_over_rank_b_a(base: Path, adapter: Path):
    before, after = (published_weights(OpenVlaOft.from_pretrained(folder)) for folder in (base, adapter))
    factors = load_file(adapter / "adapter_model.safetensors")
    for layer in LAYERS:
        a, b = (factors[f"base_model.model.{layer}.lora_{which}.weight"] for which in "AB")
        torch.testing.assert_close(after[f"{layer}.weight"], before[f"{layer}.weight"] + ALPHA / RANK * b @ a)
    untouched = set(before) - {f"{layer}.weight" for layer in LAYERS}
    assert all(torch.equal(before[name], after[name]) for name in untouched)
    assert isinstance(load_policy(adapter), OpenVlaOft)


def test_base_is_named_by_the_flag(base: Path, adapter: Path):
    edit_json(adapter / "adapter_config.json", base_model_name_or_path="openvla/openvla-7b")
    with pytest.raises(CheckpointError, match=r"openvla/openvla-7b.*--load.base FOLDER"):
        OpenVlaOft.from_pretrained(adapter)
    OpenVlaOft.from_pretrained(adapter, load=LoadConfig(base=str(base)))


def test_rank_stabilised_scaling(base: Path, adapter: Path):
    edit_json(adapter / "adapter_config.json", use_rslora=True)
    before, after = (published_weights(OpenVlaOft.from_pretrained(folder)) for folder in (base, adapter))
    factors = load_file(adapter / "adapter_model.safetensors")
    a, b = (factors[f"base_model.model.projector.fc1.lora_{which}.weight"] for which in "AB")
    torch.testing.assert_close(
        after["projector.fc1.weight"], before["projector.fc1.weight"] + ALPHA / RANK**0.5 * b @ a
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_dora": True}, ("use_dora", "True", "plain LoRA")),
        ({"peft_type": "IA3"}, ("peft_type", "'IA3'", "'LORA'")),
        ({"rank_pattern": {"fc1": 8}}, ("projector.fc1", "rank 3", "says 8", "'rank_pattern'")),
        ({"rank_pattern": ["fc1"]}, ("'rank_pattern'", "['fc1']", "a number each")),
        ({"rank_pattern": {"fc1": 0}}, ("'rank_pattern'", "at least 1")),
        ({"alpha_pattern": {"(": 8.0}}, ("'alpha_pattern'", "'('", "no regular expression")),
        ({"modules_to_save": ["lm_head"]}, ("modules_to_save", "lm_head")),
        ({"r": None}, ("'r' and 'lora_alpha'", "None")),
    ],
)
def test_other_adapters_are_refused(adapter: Path, change: dict, words: tuple[str, ...]):
    edit_json(adapter / "adapter_config.json", **change)
    with pytest.raises(CheckpointError) as caught:
        OpenVlaOft.from_pretrained(adapter)
    assert all(word in str(caught.value) for word in ("adapter_config.json", *words)), str(caught.value)


def drop(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["base_model.model.projector.fc1.lora_B.weight"]


def rename(tensors: dict[str, torch.Tensor]) -> None:
    for which in "AB":
        name = f"base_model.model.projector.fc1.lora_{which}.weight"
        tensors[name.replace("fc1", "fc9")] = tensors.pop(name)


def resize(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.projector.fc1.lora_A.weight"] = torch.zeros(RANK, 33)


def poison(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.projector.fc1.lora_A.weight"][0, 0] = float("inf")


def add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.lm_head.weight"] = torch.zeros(2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, ("projector.fc1", "expected A and B")),
        (rename, ("projector.fc9", "does not have it")),
        (resize, ("projector.fc1.weight", "[3, 33]", "another base model")),
        (poison, ("projector.fc1", "NaN or infinity")),
        (add, ("lm_head.weight", "no LoRA factor")),
    ],
)
def test_damaged_adapters_are_refused(adapter: Path, change: Callable[[dict], None], words: tuple[str, ...]):
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    with pytest.raises(CheckpointError) as caught:
        OpenVlaOft.from_pretrained(adapter)
    assert all(word in str(caught.value) for word in ("adapter_model.safetensors", *words)), str(caught.value)


def test_pickled_adapter_is_not_opened(adapter: Path):
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors is missing.*adapter_model.bin"):
        OpenVlaOft.from_pretrained(adapter)


def test_ranks_and_alphas_that_differ_by_layer(base: Path, adapter: Path):
    """The end of a layer's name is enough, in whole words; patterns are regular expressions, the first one counts."""
    layer = "language_model.model.layers.0.self_attn.q_proj"
    file = adapter / "adapter_model.safetensors"
    factors = load_file(file)
    for which, shape in (("A", (5, 32)), ("B", (32, 5))):
        factors[f"base_model.model.{layer}.lora_{which}.weight"] = torch.randn(shape)
    save_file(factors, file)
    alphas = {r"layers.\d+.self_attn.(q|v)_proj": 10.0, "q_proj": 99.0, "c1": 99.0}
    edit_json(adapter / "adapter_config.json", rank_pattern={"self_attn.q_proj": 5}, alpha_pattern=alphas)
    before, after = (published_weights(OpenVlaOft.from_pretrained(folder)) for folder in (base, adapter))
    for name, scale in ((layer, 10.0 / 5), ("projector.fc1", ALPHA / RANK)):
        a, b = (factors[f"base_model.model.{name}.lora_{which}.weight"] for which in "AB")
        torch.testing.assert_close(after[f"{name}.weight"], before[f"{name}.weight"] + scale * b @ a)


@pytest.fixture
def uneven(base: Path, tmp_path: Path) -> OpenVlaOft:
    """A policy whose adapters have ranks 1 to 5 and random factors; most have 4."""
    policy = OpenVlaOft.from_pretrained(base, load=LoadConfig(adapter_rank=4))
    generator = torch.Generator().manual_seed(0)
    for index, (_, layer) in enumerate(adapters(policy)):
        layer.make_room((4, 4, 4, 1, 4, 4, 2, 5)[index % 8])
        for parameter in (layer.lora_a, layer.lora_b):
            parameter.data.normal_(std=0.1, generator=generator)
    policy.save_pretrained(tmp_path / "ours")
    return policy


def test_uneven_ranks_survive_our_layout_and_the_published_one(uneven: OpenVlaOft, tmp_path: Path):
    expected = {name: layer.rank for name, layer in adapters(uneven)}
    assert set(expected.values()) == {1, 2, 4, 5}
    again = OpenVlaOft.from_pretrained(tmp_path / "ours")
    assert {name: layer.rank for name, layer in adapters(again)} == expected
    for name, tensor in uneven.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    OpenVlaOft.from_pretrained(tmp_path / "ours", load=LoadConfig(adapter_rank=4))  # the rank that it was made with
    to_published(tmp_path / "ours", tmp_path / "published")
    config = json.loads((tmp_path / "published" / "lora_adapter" / "adapter_config.json").read_text())
    assert config["r"] == 4 and config["lora_alpha"] == 4.0
    assert sorted(set(config["rank_pattern"].values())) == [1, 2, 5]
    assert config["alpha_pattern"] == {name: float(rank) for name, rank in config["rank_pattern"].items()}
    names = PublishedNames(uneven.config.vision)
    merged = published_weights(OpenVlaOft.from_pretrained(tmp_path / "published" / "lora_adapter"))
    for name, layer in adapters(uneven):
        torch.testing.assert_close(merged[names.name(f"{name}.weight")], layer.merged_weight())


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        ({"projector.fc7": 2}, ("adapter.ranks", "'projector.fc7'", "Did you mean 'projector.fc")),
        ({"projector.fc1": 0}, ("projector.fc1", "at least 1, found 0")),
        ({"projector.fc1": 3}, ("projector.fc1.lora_a", "[4, 32]", "[3, 32]")),
    ],
)
def test_wrong_ranks_in_our_config_are_refused(
    base: Path, tmp_path: Path, ranks: dict[str, int], words: tuple[str, ...]
):
    OpenVlaOft.from_pretrained(base, load=LoadConfig(adapter_rank=4)).save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", adapter={"rank": 4, "alpha": 4.0, "ranks": ranks})
    with pytest.raises(CheckpointError) as caught:
        OpenVlaOft.from_pretrained(tmp_path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_peft_itself_reads_what_we_write_and_gives_the_same(base: Path, uneven: OpenVlaOft, tmp_path: Path):
    peft = pytest.importorskip("peft", reason="compared with peft where it is installed; vlarl itself does not need it")
    to_published(tmp_path / "ours", tmp_path / "published")
    adapter = tmp_path / "published" / "lora_adapter"
    plain = published_weights(OpenVlaOft.from_pretrained(base))
    layers = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    root = torch.nn.Module()  # linear layers under the published names, to hang peft's adapters on
    for layer in layers:
        *parents, last = layer.split(".")
        place = root
        for word in parents:
            if not hasattr(place, word):
                place.add_module(word, torch.nn.Module())
            place = getattr(place, word)
        weight = plain[f"{layer}.weight"]
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight.clone()
        place.add_module(last, linear)
    merged = dict(peft.PeftModel.from_pretrained(root, adapter).merge_and_unload().named_parameters())
    ours = published_weights(OpenVlaOft.from_pretrained(adapter))
    assert len(layers) == 24 and not torch.equal(plain["projector.fc1.weight"], ours["projector.fc1.weight"])
    for layer in layers:
        torch.testing.assert_close(merged[f"{layer}.weight"].data, ours[f"{layer}.weight"])
