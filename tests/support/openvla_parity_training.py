"""The second half of ``openvla_parity``: SimpleVLA-RL's batches and update, heads, supervised backward pass, bf16."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from tests.support.openvla_parity import (
    GOLDEN,
    GRADIENT,
    Row,
    _logit_rows,
    absolute,
    arrays,
    autoregressive_rows,
    different,
    features,
    image_rows,
    joined_gradients,
    normalisation_rows,
    parallel_rows,
    policy,
    prompt_rows,
    token_rows,
    tolerance,
)
from vlarl.env_protocol import Observation
from vlarl.nn.heads import L1ActionHead
from vlarl.objective import Decisions
from vlarl.objectives.grpo import simplevla
from vlarl.policies.action_tokens import log_probs_and_entropy
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding
from vlarl.types import RolloutBatch

SLICE = 2
"""Decisions per forward pass of SimpleVLA-RL's recorded update."""


def prompt_batch(left_padded: np.ndarray) -> tuple[Tensor, Tensor]:
    """Our padding (at the end) of upstream's left-padded ids: ``int64 [N, L]`` and lengths ``[N]``."""
    lengths = (left_padded != 32000).sum(1)
    ids = np.full_like(left_padded, 32000)
    for row, length in enumerate(lengths):
        ids[row, :length] = left_padded[row, -length:]
    return torch.from_numpy(ids[:, : lengths.max()]), torch.from_numpy(lengths)


@torch.no_grad()
def batch_rows() -> Iterator[Row]:
    """07, a padded batch of three prompts of different length."""
    golden = arrays("07_simplevla_rl.npz")
    for name in ("batch3_one_image", "batch3_two_images_proprio"):
        case = {key.removeprefix(f"{name}/"): value for key, value in golden.items() if key.startswith(f"{name}/")}
        model = policy("proprio" if "proprio" in name else "discrete")
        ids, lengths = prompt_batch(case["input_ids"])
        seen = features(model, case["image_indices"], rows=3)
        proprio = torch.from_numpy(case["proprio_normalised"]).float() if "proprio_normalised" in case else None
        hidden = model.chunk_hidden(seen, ids, lengths, proprio)
        yield from _logit_rows(model, hidden, case, f"07 {name}")
        one = model.chunk_hidden(seen[:1], ids[:1, : int(lengths[0])], None, None if proprio is None else proprio[:1])
        yield Row(f"07 {name}", "padded row beside the row alone", 1e-4, absolute(one, hidden[:1].numpy()))


def trajectory_inputs(model: OpenVlaOft, row: int) -> tuple[Tensor, Tensor]:
    """Vision features ``[4, P, F]`` (with their gradient) and prompt ids ``[4, L]`` of one recorded trajectory."""
    golden = arrays("07_simplevla_rl.npz")
    ids, lengths = prompt_batch(golden["rl/input_ids_left_padded_64"][row : row + 1])
    seen = features(model, golden["rl/image_indices"][row], rows=4)
    return seen, ids[:, : int(lengths[0])].expand(4, -1)


@torch.no_grad()
def log_prob_rows() -> Iterator[Row]:
    """07, log-probabilities and entropies of the recorded tokens at temperature 1.6."""
    golden, model = arrays("07_simplevla_rl.npz"), policy("discrete")
    log_probs, entropy = recorded_log_probs(model)
    mask = golden["rl/response_mask"]
    bound = tolerance("log-probs (T=1.6)")
    yield Row("07 rl", "log-probs, T=1.6", bound, absolute(log_probs * mask, golden["rl/log_probs"]))
    yield Row("07 rl", "entropy, T=1.6", tolerance("entropy"), absolute(entropy * mask, golden["rl/entropy"]))
    rounded = recorded_log_probs(model, rounding=lambda seen: seen.half())[0]
    # Not upstream's number: what our 16-bit cache of the frozen vision features changes.
    yield Row("07 rl", "log-probs with 16-bit features", 2e-2, absolute(rounded * mask, golden["rl/log_probs"]))


def recorded_log_probs(
    model: OpenVlaOft, rounding: Callable[[Tensor], Tensor] = lambda seen: seen
) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities and entropies ``float64 [8, 224]`` of the recorded tokens."""
    responses = torch.from_numpy(arrays("07_simplevla_rl.npz")["rl/responses"])
    found: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for row in range(len(responses)):
            seen, ids = trajectory_inputs(model, row)
            tokens = responses[row].view(4, 8, 7) - model.config.action_token_begin
            found.append(log_probs_and_entropy(model.chunk_logits(rounding(seen), ids, None, None), tokens, 1.6))
    log_probs, entropy = (torch.stack([pair[i].flatten() for pair in found]).double().numpy() for i in range(2))
    return log_probs, entropy


def recorded_batch() -> RolloutBatch:
    """The eight recorded trajectories as our batch: 4 decisions of 8 x 7 tokens."""
    golden = arrays("07_simplevla_rl.npz")

    def shaped(name: str) -> Tensor:
        return torch.from_numpy(golden[f"rl/{name}"]).reshape(8, 4, 8, 7)

    mask = shaped("response_mask")
    return RolloutBatch(
        tokens=shaped("responses") - (32000 - 256),
        old_log_probs=shaped("old_log_probs"),
        token_mask=mask,
        inputs={},
        decision_mask=mask.flatten(2).any(-1),
        returns=torch.from_numpy(golden["rl/token_rewards"].sum(-1)),
        succeeded=torch.from_numpy(golden["rl/complete"]),
        groups=torch.from_numpy(golden["rl/group"]),
        temperature=1.6,
        advantages=shaped("advantages"),
    )


def accumulate_update_gradients(model: OpenVlaOft, batch: RolloutBatch, rows: range) -> list[float]:
    """Add the gradient of our GRPO loss over these trajectories, two decisions at a time; returns their losses."""
    objective, part = simplevla().build(), batch.select(list(rows))
    part.inputs = {}  # the model is called below with the recorded ones
    part.decision_mask = torch.ones_like(part.decision_mask)  # padding too, which weighs nothing
    decisions, losses = Decisions.of(part, objective.token_weights(part)), []
    for index, row in enumerate(rows):
        total = 0.0
        for first in range(0, 4, SLICE):
            piece = slice(first, first + SLICE)
            seen, ids = trajectory_inputs(model, row)
            logits = model.chunk_logits(seen[piece], ids[piece], None, None)
            log_probs, entropy = log_probs_and_entropy(logits, part.tokens[index, piece], 1.6)
            begin = 4 * index + first
            loss = objective.loss(log_probs, entropy, decisions[begin : begin + SLICE]).loss
            loss.backward()
            total += float(loss.detach()) * len(rows)
        losses.append(total)
    return losses


def update_rows() -> Iterator[Row]:
    """07, SimpleVLA-RL's ``update_policy``: losses, gradients, and log-probabilities after AdamW's steps."""
    golden, batch = arrays("07_simplevla_rl.npz"), recorded_batch()
    relative = tolerance("total gradient norm")
    for name, minibatch, rate, after in (
        ("update", 8, 5e-6, "log_probs_after_lr5e-6"),
        ("update2_lr2e-5_minibatch4", 4, 2e-5, "log_probs_after"),
    ):
        policy.cache_clear()
        model = policy("discrete")
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        losses, norms = [], []
        for start in range(0, 8, minibatch):
            optimizer.zero_grad()
            losses += accumulate_update_gradients(model, batch, range(start, start + minibatch))
            gradients = joined_gradients(model)
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
            if name == "update":
                yield from _gradient_rows("07 update", gradients_before(gradients, norms[0]), golden, "rl/update")
            optimizer.step()
        error = absolute(losses, golden[f"rl/{name}/actor_pg_loss"])
        yield Row(f"07 {name}", "loss per trajectory", tolerance("policy loss per trajectory"), error)
        expected = golden[f"rl/{name}/actor_grad_norm"]
        yield Row(f"07 {name}", "gradient norm, relative", relative, absolute(np.array(norms) / expected, 1.0))
        mask = golden["rl/response_mask"]
        error = absolute(recorded_log_probs(model)[0] * mask, golden[f"rl/{name}/{after}"])
        yield Row(f"07 {name}", "log-probs after the step", 2e-3, error)
    policy.cache_clear()


def gradients_before(gradients: Mapping[str, Tensor], norm: float) -> dict[str, Tensor]:
    """Clipping scaled the gradients in place where they were not copied (joined ones were); undo it."""
    scale = max(norm, 1.0)
    return {name: value if ".qkv." in name else value * scale for name, value in gradients.items()}


def _gradient_rows(
    label: str, gradients: Mapping[str, Tensor], golden: Mapping[str, np.ndarray], prefix: str
) -> Iterator[Row]:
    """Norm of every parameter's gradient, some of them whole, and which parameters have none."""
    norms = f"{prefix}/{'grad_norm_before_clip' if 'rl' in prefix else 'grad_norm'}/"
    worst, count = 0.0, 0
    for key, expected in golden.items():
        if key.startswith(norms):
            ours = gradients.get(key.removeprefix(norms))
            norm = 0.0 if ours is None else float(ours.double().norm())
            worst, count = max(worst, abs(norm / float(expected) - 1.0)), count + 1
    yield Row(label, f"norms of {count} gradients, relative", tolerance(GRADIENT), worst)
    whole = {
        key.rpartition("/grad/")[2]: value
        for key, value in golden.items()
        if key.startswith(f"{prefix}/grad/") and not key.endswith(("lm_head_tail", "embed", "embed_rows"))
    }
    error = max(absolute(gradients[name], value) / float(np.abs(value).max()) for name, value in whole.items())
    yield Row(label, f"{len(whole)} whole gradients, of their largest entry", 1e-4, error)
    head, expected = gradients["language_model.lm_head.weight"], golden[f"{prefix}/grad/lm_head_tail"]
    error = absolute(head[31744:32000], expected) / float(np.abs(expected).max())
    yield Row(label, "lm_head gradient of the action rows, of its largest entry", 1e-4, error)
    if f"{prefix}/lm_head_grad_outside_tail_norm" in golden:
        outside = float(head[:31744].norm() + head[32000:].norm())
        yield Row(label, "lm_head gradient outside the action rows", 0, outside)
    if f"{prefix}/grad/embed" in golden:
        rows, expected = golden[f"{prefix}/grad/embed_rows"], golden[f"{prefix}/grad/embed"]
        error = absolute(gradients["language_model.model.embed_tokens.weight"][rows], expected)
        yield Row(label, "embedding gradient, of its largest entry", 1e-4, error / float(np.abs(expected).max()))
    without = (
        {str(name) for name in golden[f"{prefix}/no_grad_parameters"]}
        if f"{prefix}/no_grad_parameters" in (golden)
        else set()
    )
    nonzero = {name for name, value in gradients.items() if bool(value.any())}
    yield Row(label, "parameters that must have no gradient and have one", 0, float(len(without & nonzero)))


def head_rows() -> Iterator[Row]:
    """08, the L1 head and the proprio projector."""
    golden, model = arrays("08_oft_heads.npz"), policy("l1")
    head, projector = model.action_head, model.proprio_projector
    assert head is not None and projector is not None
    with torch.no_grad():
        for name in sorted({key.split("/")[0] for key in golden if key.endswith("/normalised_actions")}):
            normalised = head(torch.from_numpy(golden[f"{name}/hidden"]))
            bound = tolerance("L1 head outputs")
            yield Row(f"08 {name}", "L1 head", bound, absolute(normalised, golden[f"{name}/normalised_actions"]))
            actions = model.action_normaliser.unnormalise(normalised[0].numpy())
            yield Row(f"08 {name}", "actions", bound, absolute(actions, golden[f"{name}/actions"]))
        token = projector(torch.from_numpy(golden["proprio_projector/in"]))
        bound = tolerance("proprio projector outputs")
        yield Row("08", "proprio projector", bound, absolute(token, golden["proprio_projector/out"]))
    yield from _head_gradient_rows(head, golden)


def _head_gradient_rows(head: L1ActionHead, golden: Mapping[str, np.ndarray]) -> Iterator[Row]:
    predicted = head(torch.from_numpy(golden["head_random/in"]))
    yield Row("08 head_random", "L1 head", tolerance("L1 head outputs"), absolute(predicted, golden["head_random/out"]))
    loss = (torch.from_numpy(golden["head_random/l1_targets"]) - predicted).abs().mean()
    yield Row("08 head_random", "L1 loss", tolerance("L1 head outputs"), absolute(loss, golden["head_random/l1_loss"]))
    parameters = dict(head.named_parameters())
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    worst, prefix = 0.0, "head_random/grad_norm/"
    for key, expected in golden.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix).removeprefix("module.").removeprefix("model.")
            name = name.replace("mlp_resnet_blocks", "blocks").replace("ffn.", "")
            worst = max(worst, abs(float(gradients[name].norm()) / float(expected) - 1.0))
    yield Row("08 head_random", "gradient norms, relative", tolerance(GRADIENT), worst)


def supervised_rows() -> Iterator[Row]:
    """09, the supervised step: cross entropy over 56 action tokens and the stop token, right-padded rows."""
    golden = arrays("09_oft_backward.npz")
    for name in ("one_image_padded", "two_images_proprio"):
        policy.cache_clear()
        model, case = policy("proprio" if "proprio" in name else "discrete"), f"09 {name}"
        labels = torch.from_numpy(golden[f"{name}/labels"])
        lengths = (labels != -100).int().argmax(1)
        ids = torch.from_numpy(golden[f"{name}/input_ids"])[:, : int(lengths.max())].clone()
        ids[torch.arange(ids.shape[1])[None] >= lengths[:, None]] = 32000
        proprio = golden.get(f"{name}/proprio_normalised")
        seen = features(model, golden[f"{name}/image_indices"], rows=len(ids))
        sequence, first, real = model.chunk_sequence(
            seen, ids, lengths, None if proprio is None else torch.from_numpy(proprio).float()
        )
        hidden = model.language_model(sequence, first[:, None] + torch.arange(57), real)
        logits = model.language_model.logits(hidden, 0, model.config.language.vocab_size)
        target = labels[labels != -100].view(len(ids), 57)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
        loss.backward()
        yield Row(case, "loss", tolerance("supervised loss"), absolute(loss, golden[f"{name}/loss"]))
        error = absolute(logits[:, :56, 31744:32000], golden[f"{name}/tail_logits"])
        yield Row(case, "tail logits", tolerance("tail logits"), error)
        gradients = joined_gradients(model)
        yield from _gradient_rows(case, gradients, golden, name)
        total = torch.stack([value.double().norm() for value in gradients.values()]).norm()
        error = abs(float(total) / float(golden[f"{name}/total_grad_norm"]) - 1.0)
        yield Row(case, "total gradient norm, relative", tolerance("total gradient norm"), error)
    policy.cache_clear()


def reduced_precision_rows() -> Iterator[Row]:
    """10, from the raw image to the environment's action, upstream in bfloat16; ours in both precisions."""
    golden = arrays("10_end_to_end_bf16.npz")
    prompts = json.loads((GOLDEN / "04_prompts.json").read_text())["cases"]
    raw = arrays("03_images.npz")["raw"]
    for name, kind in (("bf16_discrete_one_image", "discrete"), ("bf16_l1_two_images_proprio", "l1")):
        shown = [raw[index][::-1] for index in golden[f"{name}/image_indices"].ravel()]
        state = golden[f"{name}/proprio_raw"].astype(np.float32)
        for precision in ("bfloat16", "float32"):
            model = policy(kind, precision)
            seen = Observation(
                images=dict(zip(model.config.cameras, shown, strict=True)),
                state=state,
                instruction=prompts[int(golden[f"{name}/prompt_index"])]["instruction"],
                time=0.0,
            )
            if kind == "discrete":
                actions = chunk_over_vocabulary(model, seen)
            else:
                actions = model.act([seen], [np.zeros((8, 7), np.float32)], Decoding(mode="greedy"))[0].actions
            expected, label = golden[f"{name}/env_actions"], f"10 {name}, ours in {precision}"
            if kind == "discrete":
                yield Row(
                    label, "share of entries that differ", 0.2, different(actions, expected.astype(np.float32)) / 56
                )
            else:
                yield Row(label, "actions without the gripper", 0.12, absolute(actions[:, :6], expected[:, :6]))
                yield Row(label, "gripper", 0, different(actions[:, 6], expected[:, 6].astype(np.float32)))


@torch.no_grad()
def chunk_over_vocabulary(model: OpenVlaOft, seen: Observation) -> np.ndarray:
    """The chunk of the argmax over the whole vocabulary, as upstream decodes; our greedy one is over the 256 bins."""
    row = model.prepare([seen])[0]
    ids = row["prompt_ids"][: int(row["prompt_mask"].sum())].long()[None]
    with model.computing():
        hidden = model.chunk_hidden(row["features"][None], ids, None, None)
        best = model.language_model.logits(hidden, 0, model.config.language.vocab_size).argmax(-1)
    tokens = (best - model.config.action_token_begin).clamp(0, 255).view(8, 7).numpy()
    return model.actions_of(model.bins.decode(tokens))


CASES: dict[str, Callable[[], Iterator[Row]]] = {
    "01 action tokens": token_rows,
    "02 normalisation": normalisation_rows,
    "03 images": image_rows,
    "04 prompts": prompt_rows,
    "05 OpenVLA, autoregressive": autoregressive_rows,
    "06 OpenVLA-OFT, discrete": parallel_rows,
    "07 SimpleVLA-RL, padded batches": batch_rows,
    "07 SimpleVLA-RL, log-probabilities": log_prob_rows,
    "07 SimpleVLA-RL, update": update_rows,
    "08 heads": head_rows,
    "09 supervised backward": supervised_rows,
    "10 end to end in bfloat16": reduced_precision_rows,
}
"""Name -> the rows of one golden file, or of a part of it."""
