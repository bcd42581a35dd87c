"""Our numbers beside those recorded from OpenVLA, OpenVLA-OFT and SimpleVLA-RL: one row per case and quantity.

``CASES`` holds one function per golden file; the parity tests assert its rows, ``tools/parity_table.py`` prints them.
Bounds are those of the golden data's ``tolerances.json``. An error of an exact quantity is the number of entries that
differ. Weights are bfloat16 on disk and cast up, so everything runs in float32 unless the row says otherwise.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import LoadConfig

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "openvla"
TWO_CAMERAS = ("agentview", "wrist")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    case: str
    quantity: str
    tolerance: float
    error: float

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """All of a golden ``.npz``."""
    with np.load(GOLDEN / name, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


@functools.cache
def tolerance(name: str) -> float:
    content = json.loads((GOLDEN / "tolerances.json").read_text())
    return {**content["recommended_fp32_absolute"], **content["recommended_fp32_relative"]}[name]


HIDDEN = "hidden states (last layer, after final norm)"
LOG_SUM_EXP = "logsumexp_full, logsumexp_tail"
GRADIENT = "gradient norm per parameter"


@functools.cache
def l1_folder() -> Path:
    """The golden checkpoint with its OFT components beside it: the layout of an L1 checkpoint."""
    folder = Path(tempfile.mkdtemp(prefix="vlarl-parity-"))
    for part in ("checkpoint", "oft_components"):
        for path in (GOLDEN / part).iterdir():
            (folder / path.name).symlink_to(path)
    return folder


def remove_temporary() -> None:
    """Delete what ``l1_folder`` made."""
    if l1_folder.cache_info().currsize:
        shutil.rmtree(l1_folder(), ignore_errors=True)
        l1_folder.cache_clear()
        policy.cache_clear()


@functools.cache
def policy(kind: str, precision: str = "float32") -> OpenVlaOft:
    """``discrete``, ``l1``, ``proprio`` (discrete with two cameras and state), ``autoregressive`` or ``v01``."""
    options: dict[str, Any] = {"precision": precision, "device": "cpu"}
    if kind == "v01":
        return OpenVlaOft.from_pretrained(GOLDEN / "checkpoint_v01", load=LoadConfig(**options))
    if kind == "autoregressive":
        load = LoadConfig(decoding="autoregressive", **options)
        return OpenVlaOft.from_pretrained(GOLDEN / "checkpoint", load=load)
    if kind == "l1":
        return OpenVlaOft.from_pretrained(l1_folder(), load=LoadConfig(allow_pickle=True, **options))
    if kind == "proprio":
        return OpenVlaOft.from_pretrained(proprio_folder(), load=LoadConfig(allow_pickle=True, **options))
    return OpenVlaOft.from_pretrained(GOLDEN / "checkpoint", load=LoadConfig(**options))


@functools.cache
def proprio_folder() -> Path:
    """The golden checkpoint with the proprio projector alone: discrete tokens, two cameras and state."""
    folder = l1_folder() / "proprio"
    folder.mkdir()
    for path in (GOLDEN / "checkpoint").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "proprio_projector--150000_checkpoint.pt").symlink_to(
        GOLDEN / "oft_components" / "proprio_projector--150000_checkpoint.pt"
    )
    return folder


def absolute(ours: Any, theirs: Any) -> float:
    """Largest absolute difference."""
    ours = ours.detach().double().numpy() if isinstance(ours, Tensor) else np.asarray(ours, np.float64)
    return float(np.abs(ours - np.asarray(theirs, np.float64)).max())


def different(ours: Any, theirs: Any) -> float:
    """Number of entries that differ."""
    ours = ours.numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    return float((ours != np.asarray(theirs)).sum())


def images(indices: Any) -> Tensor:
    """Prepared images ``uint8 [n, 224, 224, 3]``."""
    return torch.from_numpy(arrays("03_images.npz")["cropped_224"][np.asarray(indices).ravel()])


def features(model: OpenVlaOft, indices: Any, rows: int = 1) -> Tensor:
    """Unrounded vision features ``[rows, cameras * patches, F]``."""
    found = model.vision_backbone(images(indices))
    return found.reshape(rows, -1, found.shape[-1])


def joined_gradients(model: OpenVlaOft) -> dict[str, Tensor]:
    """Gradients by published name, query, key and value joined; what has none is left out."""
    from vlarl.policies.published_layout import PublishedNames

    present = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    joined = PublishedNames(model.config.vision).to_published(present)
    # Our class token has a row of its own in the position embedding; published checkpoints have none.
    dino = "vision_backbone.featurizer.pos_embed"
    return joined | {dino: joined[dino][:, -model.config.vision.num_patches :]}


@torch.no_grad()
def token_rows() -> Iterator[Row]:
    """01 and 02 are recomputed in full by ``test_openvla_constants``; here they are summed up."""
    from vlarl.policies.action_tokens import ActionTokens

    golden, bins, begin = arrays("01_action_tokenizer.npz"), ActionTokens(256), 32000 - 256
    yield Row("01", "token ids of actions", 0, different(bins.encode(golden["actions"]) + begin, golden["token_ids"]))
    ids = golden["decode_ids"]
    inside = (ids >= begin) & (ids < 32000)
    decoded = bins.decode(ids[inside] - begin)
    yield Row("01", "decoded tokens", 0, different(decoded, golden["decoded"][inside]))


def normalisation_rows() -> Iterator[Row]:
    from vlarl.policies.normalisation import Normaliser, gripper_to_environment
    from vlarl.policies.oft_config import QuantileStatistics

    golden = arrays("02_normalisation.npz")
    statistics = json.loads((GOLDEN / "checkpoint" / "config.json").read_text())["norm_stats"]
    statistics |= json.loads((GOLDEN / "checkpoint" / "dataset_statistics.json").read_text())
    worst = {"actions": 0.0, "proprioception": 0.0}
    for name, expected in golden.items():
        what, _, rest = name.partition("/")
        if what not in ("unnorm", "proprio_norm"):
            continue
        key, _, kind = rest.partition("/")
        low, high = ("q01", "q99") if kind == "bounds_q99" else ("min", "max")
        entry = statistics[key]["action" if what == "unnorm" else "proprio"]
        mask = entry.get("mask")
        normaliser = Normaliser(
            QuantileStatistics(low=tuple(entry[low]), high=tuple(entry[high]), mask=mask and tuple(mask))
        )
        if what == "unnorm":
            ours, label = normaliser.unnormalise(golden["normalized_actions"]), "actions"
        else:
            ours, label = normaliser.normalise(golden["proprio_in"]), "proprioception"
        worst[label] = max(worst[label], absolute(ours, expected))
    yield Row("02", "un-normalised actions", 1e-9, worst["actions"])
    yield Row("02", "normalised proprioception", 1e-9, worst["proprioception"])
    gripper = gripper_to_environment(golden["gripper_in"], "openvla")
    yield Row("02", "gripper", 0, different(gripper, golden["gripper_env_action"]))


@torch.no_grad()
def image_rows() -> Iterator[Row]:
    from vlarl.policies.image_chain import bicubic_resize, center_crop, jpeg_round_trip, lanczos_resize

    golden = arrays("03_images.npz")
    stages: list[tuple[str, Callable[[np.ndarray], np.ndarray], str, str]] = [
        ("JPEG", lambda image: jpeg_round_trip(image[::-1, ::-1], 95), "raw", "jpeg_decoded"),
        ("Lanczos resize", lambda image: lanczos_resize(image, 224), "jpeg_decoded", "resized_224"),
        ("centre crop", lambda image: center_crop(image, 0.9), "resized_224", "cropped_224"),
    ]
    for name, function, source, target in stages:
        ours = np.stack([function(image) for image in golden[source]]).astype(int)
        gap = np.abs(ours - golden[target].astype(int))
        yield Row("03", f"{name} [levels]", 1, float(gap.max()))
        yield Row("03", f"{name} [share of samples]", 1e-5, float((gap > 0).mean()))
    naive = arrays("03_resize_naive.npz")
    resized = bicubic_resize(naive["image"], 224)
    yield Row("03", "bicubic resize [levels]", 0, absolute(resized, naive["uint8"]))
    pixels, model = arrays("03_pixel_values.npz"), policy("discrete")
    values = images(pixels["pixel_values_index"]).permute(0, 3, 1, 2).float()
    both = torch.cat([model.vision_backbone.normalised(values, name) for name in ("dino", "siglip")], dim=1)
    yield Row("03", "normalised pixels", 1e-6, absolute(both, pixels["pixel_values"]))
    values = torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float()
    siglip = model.vision_backbone.normalised(values, "siglip")[0]
    yield Row("03", "normalised pixels, bicubic", 1e-6, absolute(siglip, naive["pixel_values_siglip_channels"]))


def prompt_rows() -> Iterator[Row]:
    entries = json.loads((GOLDEN / "04_prompts.json").read_text())["cases"]
    for kind, key, tail in (("discrete", "input_ids_model", []), ("v01", "input_ids_v01", [29871])):
        wrong = 0
        for entry in entries:
            expected = entry[key] if entry[key][-len(tail) :] == tail or not tail else entry[key] + tail
            wrong += policy(kind).prompt_ids(entry["instruction"]).tolist() != expected
        yield Row("04", f"prompt ids, {kind}", 0, float(wrong))


@torch.no_grad()
def autoregressive_rows() -> Iterator[Row]:
    from vlarl.policies.action_tokens import ActionTokens
    from vlarl.policy import Decoding

    golden = arrays("05_openvla_ar.npz")
    names = sorted({"/".join(name.split("/")[:2]) for name in golden if name.startswith(("fused/", "v01/"))})
    for name in names:
        model = policy("v01" if name.startswith("v01/") else "autoregressive")
        case = {key.removeprefix(f"{name}/"): value for key, value in golden.items() if key.startswith(f"{name}/")}
        label, begin = f"05 {name}", model.config.action_token_begin
        seen, ids = features(model, case["image_index"]), torch.from_numpy(case["input_ids"])[None]
        if "vision_features_first4" in case:
            projected = model.projector(seen)[0]
            bound = tolerance("vision features / projected patches")
            yield Row(label, "vision features", bound, absolute(seen[0, :4], case["vision_features_first4"]))
            yield Row(label, "vision features, mean", bound, absolute(seen[0].mean(0), case["vision_features_mean"]))
            yield Row(label, "projected patches", bound, absolute(projected[:4], case["projected_patches_first4"]))
        inputs = {"features": seen, "prompt_ids": ids, "prompt_mask": torch.ones_like(ids, dtype=torch.bool)}
        greedy = model._decode_in_turn(inputs, torch.zeros(1, 1, 7), Decoding(mode="greedy"))
        tokens = torch.from_numpy(case["token_ids"])[None, None] - begin
        # Upstream takes the argmax over the vocabulary, we over the action tokens: equal until one lies outside.
        count = int(((tokens[0, 0] >= 0) & (tokens[0, 0] < 256)).long().cumprod(0).sum())
        yield Row(label, "greedy tokens", 0, different(greedy[0, 0, :count], tokens[0, 0, :count]))
        hidden = model.forced_hidden(seen, ids, None, tokens)
        logits = model.action_logits(hidden)[0, 0]
        full = model.language_model.logits(hidden[0], 0, model.config.language.vocab_size)
        yield Row(label, "hidden", tolerance(HIDDEN), absolute(hidden[0], case["hidden_teacher_forced"]))
        yield Row(label, "tail logits", tolerance("tail logits"), absolute(logits, case["tail_logits"]))
        for which, values in (("full", full), ("tail", logits)):
            error = absolute(torch.logsumexp(values.double(), -1), case[f"logsumexp_{which}"])
            yield Row(label, f"logsumexp, {which}", tolerance(LOG_SUM_EXP), error)
        if "logits_full_first_token" in case:
            error = absolute(full[0], case["logits_full_first_token"])
            yield Row(label, "all 32064 logits of the first token", tolerance("tail logits"), error)
        yield Row(label, "argmax over the vocabulary", 0, different(full.argmax(-1), case["token_ids"]))
        actions = model.action_normaliser.unnormalise(model.bins.decode(tokens[0, 0].clamp(0, 255).numpy()))
        yield Row(label, "actions", 1e-9, absolute(actions, case["action"]))
    ids = torch.from_numpy(golden["decode/ids"]) - 31744
    actions = policy("autoregressive").action_normaliser.unnormalise(ActionTokens().decode(ids.clamp(0, 255).numpy()))
    yield Row("05 decode", "actions", 1e-9, absolute(actions, golden["decode/action"]))


@torch.no_grad()
def parallel_rows() -> Iterator[Row]:
    golden = arrays("06_oft_discrete.npz")
    for name in sorted({key.split("/")[0] for key in golden if "/" in key}):
        case = {key.removeprefix(f"{name}/"): value for key, value in golden.items() if key.startswith(f"{name}/")}
        model, label = policy("proprio" if "proprio" in name else "discrete"), f"06 {name}"
        ids, seen = torch.from_numpy(case["input_ids"])[None], features(model, case["image_indices"])
        proprio = torch.from_numpy(case["proprio_normalised"]).float()[None] if "proprio_normalised" in case else None
        sequence, first, _ = model.chunk_sequence(seen, ids, None, proprio)
        yield Row(label, "sequence length", 0, different(sequence.shape[1], case["sequence_length"]))
        # Upstream counts the position of the first action token after BOS and patches; ours predicts it.
        yield Row(label, "first action position", 0, different(int(first[0]), case["first_action_position"]))
        if "llm_inputs_embeds" in case:
            rows = torch.from_numpy(case["llm_inputs_embeds_rows"])
            bound = tolerance("vision features / projected patches")
            yield Row(label, "sequence of embeddings", bound, absolute(sequence[0, rows], case["llm_inputs_embeds"]))
            yield from _layer_means(model, sequence, case["hidden_layer_means"], label)
        hidden = model.chunk_hidden(seen, ids, None, proprio)
        yield from _logit_rows(model, hidden, case, label)
        if proprio is not None and model.proprio_projector is not None:
            token = model.proprio_projector(proprio)[0]
            bound = tolerance("proprio projector outputs")
            yield Row(label, "proprio token", bound, absolute(token, case["proprio_token"]))


def _layer_means(model: OpenVlaOft, sequence: Tensor, expected: np.ndarray, label: str) -> Iterator[Row]:
    """Mean over positions of what enters each layer, and of the final norm's output."""
    states: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, arguments: states.append(arguments[0]))
        for layer in model.language_model.layers[:-1]
    ]
    final = model.language_model(sequence, slice(None))
    for hook in hooks:
        hook.remove()
    ours = torch.stack([state[0].mean(0) for state in states])
    yield Row(label, "layer means", tolerance(HIDDEN), absolute(ours, expected[: len(states)]))
    yield Row(label, "final norm, mean", tolerance(HIDDEN), absolute(final[0].mean(0), expected[-1]))


def _logit_rows(model: OpenVlaOft, hidden: Tensor, case: Mapping[str, np.ndarray], label: str) -> Iterator[Row]:
    """Hidden states, logits, log-sum-exp, argmax over slice and vocabulary, actions as upstream decodes them."""
    rows, begin = len(hidden), model.config.action_token_begin
    logits = model.action_logits(hidden).view(rows, 56, 256)
    full = model.language_model.logits(hidden, 0, model.config.language.vocab_size)
    yield Row(label, "hidden", tolerance(HIDDEN), absolute(hidden, case["hidden"]))
    yield Row(label, "tail logits", tolerance("tail logits"), absolute(logits, case["tail_logits"]))
    for which, values in (("full", full), ("tail", logits)):
        error = absolute(torch.logsumexp(values.double(), -1), case[f"logsumexp_{which}"])
        yield Row(label, f"logsumexp, {which}", tolerance(LOG_SUM_EXP), error)
    tail = logits.argmax(-1)
    yield Row(label, "argmax over 256", 0, different(tail + begin, case["argmax_tail"]))
    yield Row(label, "argmax over the vocabulary", 0, different(full.argmax(-1), case["argmax_full"]))
    # 06 decodes the argmax over the vocabulary (ids outside the slice clip to its ends), 07 that over the slice.
    decoded = full.argmax(-1) if case["actions"].ndim == 2 else tail + begin
    tokens = (decoded - begin).clamp(0, 255).numpy()
    actions = model.action_normaliser.unnormalise(model.bins.decode(tokens).reshape(*case["actions"].shape))
    yield Row(label, "decoded chunk", 1e-9, absolute(actions, case["actions"]))
