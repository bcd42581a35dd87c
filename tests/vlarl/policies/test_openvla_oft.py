"""The OpenVLA-OFT policy: contract of ``vlarl.policy.Policy``, attention, sequence, files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.policies import noises, observations, random_policy
from vlarl.nn.action_llama import ActionLlama
from vlarl.policies.oft_presets import preset
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding, DecodingMode
from vlarl.types import PolicyOutput


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bitwise claims hold for one thread, which is how the loop runs the policy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def policy() -> OpenVlaOft:
    return random_policy()


def stacked(outputs: list[PolicyOutput]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    inputs = {name: torch.stack([o.inputs[name] for o in outputs]) for name in outputs[0].inputs}
    tokens = torch.from_numpy(np.stack([o.tokens for o in outputs]).astype(np.int64))
    return inputs, tokens, torch.from_numpy(np.stack([o.log_probs for o in outputs]))


def test_shapes_and_types(policy: OpenVlaOft):
    output = policy.act(observations(1), noises(1), Decoding())[0]
    assert output.actions.shape == (8, 7) and output.actions.dtype == np.float32
    assert output.tokens.shape == (8, 7) and output.tokens.dtype == np.int16
    assert output.log_probs.shape == (8, 7) and output.log_probs.dtype == np.float32
    assert output.tokens.min() >= 0 and output.tokens.max() <= 255
    assert output.inputs["features"].dtype == torch.float16
    assert policy.noise_shape == (8, 7)
    # Tokens and actions belong together: statistics of the preset are the identity on [-1, 1].
    np.testing.assert_allclose(output.actions, policy.bins.values[output.tokens], atol=1e-6)


@pytest.mark.parametrize("size", ["tiny", "small"])
@pytest.mark.parametrize("mode", ["sample", "greedy", "expectation"])
def test_result_does_not_depend_on_the_batch_bit_for_bit(size: str, mode: DecodingMode):
    policy = random_policy(size)
    seen, noise = observations(7), noises(7)
    decoding = Decoding(mode=mode, temperature=1.3)
    whole = policy.act(seen, noise, decoding)
    order = [3, 6, 0, 5, 1, 4, 2]
    shuffled = policy.act([seen[i] for i in order], [noise[i] for i in order], decoding)
    alone = [policy.act([seen[i]], [noise[i]], decoding)[0] for i in range(7)]
    for i in range(7):
        for other in (alone[i], shuffled[order.index(i)]):
            assert np.array_equal(whole[i].log_probs, other.log_probs)
            assert np.array_equal(whole[i].actions, other.actions)
            assert np.array_equal(whole[i].tokens, other.tokens)


@pytest.mark.parametrize("cameras", [("agentview",), ("agentview", "wrist")])
def test_vision_features_do_not_depend_on_the_batch_bit_for_bit(cameras: tuple[str, ...]):
    config = dataclasses.replace(preset("small"), cameras=cameras)
    policy = OpenVlaOft.from_scratch(config, 0)
    seen = observations(9)
    whole = [row["features"] for row in policy.prepare(seen)]
    for size in (1, 2, 3, 5, 8):
        for start in range(0, 9, size):
            for i, row in enumerate(policy.prepare(seen[start : start + size])):
                assert torch.equal(row["features"], whole[start + i])


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.6])
def test_evaluate_reproduces_the_log_probabilities_of_act(policy: OpenVlaOft, temperature: float):
    outputs = policy.act(observations(6), noises(6), Decoding(temperature=temperature))
    inputs, tokens, expected = stacked(outputs)
    log_probs, entropies = policy.evaluate(inputs, tokens, temperature)
    assert log_probs.shape == entropies.shape == (6, 8, 7)
    assert (
        float((log_probs.detach().exp() / expected.exp() - 1).abs().max()) < 1e-6
    )  # the ratio before the first update
    assert torch.equal(log_probs.detach(), expected)
    assert bool((entropies >= 0).all()) and float(entropies.detach().max()) <= np.log(256) + 1e-5


def test_entropy_and_log_probs_belong_to_the_softmax_over_256_bins(policy: OpenVlaOft):
    inputs, tokens, _ = stacked(policy.act(observations(2), noises(2), Decoding()))
    every = torch.arange(256)[:, None, None].expand(256, 8, 7)
    repeated = {name: value[:1].expand(256, *value.shape[1:]) for name, value in inputs.items()}
    log_probs, entropies = policy.evaluate(repeated, every, 1.6)
    probabilities = log_probs.double().exp()
    np.testing.assert_allclose(probabilities.sum(0).detach(), 1.0, atol=1e-5)
    np.testing.assert_allclose(-(probabilities * log_probs).sum(0).detach(), entropies[0].detach(), atol=1e-4)
    assert tokens.shape == (2, 8, 7)


def test_gradients_reach_what_is_trained_and_nothing_else(policy: OpenVlaOft):
    inputs, tokens, _ = stacked(policy.act(observations(3), noises(3), Decoding()))
    trainable = {id(p) for p in policy.trainable_parameters()}
    policy.evaluate(inputs, tokens, 1.0)[0].sum().backward()
    try:
        for name, parameter in policy.named_parameters():
            assert (id(parameter) in trainable) == (not name.startswith("vision_backbone."))
            assert (parameter.grad is not None) == (id(parameter) in trainable), name
        head = policy.language_model.model.lm_head.weight.grad
        assert head is not None
        begin = policy.config.action_token_begin
        assert float(head[begin : begin + 256].abs().sum()) > 0
        assert float(head[:begin].abs().sum()) == float(head[begin + 256 :].abs().sum()) == 0.0
    finally:
        policy.zero_grad()


@pytest.mark.parametrize("padded", [False, True])
def test_attention_is_bidirectional_and_padding_has_no_influence(policy: OpenVlaOft, padded: bool):
    llama = policy.language_model
    torch.manual_seed(3)
    sequence = torch.randn(2, 20, 32)
    lengths = torch.tensor([20, 15]) if padded else None
    with torch.no_grad():
        before = llama(sequence, slice(0, 20), lengths)
        changed = sequence.clone()
        changed[:, 14] += 1.0
        after = llama(changed, slice(0, 20), lengths)
        assert bool(((after - before).abs().amax(dim=-1)[:, :15] > 1e-4).all())  # every real position moves
        if padded:
            changed = sequence.clone()
            changed[1, 15:] = 7.0
            after = llama(changed, slice(0, 20), lengths)
            assert torch.equal(after[1, :15], before[1, :15])


def test_last_layer_at_some_positions_equals_the_librarys_layers(policy: OpenVlaOft):
    """All layers run by transformers itself, against our shortened last one; grouped key heads included."""
    config = dataclasses.replace(policy.config.language, num_attention_heads=4, num_key_value_heads=2)
    torch.manual_seed(4)
    llama = ActionLlama(config).eval()
    sequence = torch.randn(3, 17, 32)
    positions = torch.tensor([[1, 5, 6], [0, 2, 16], [9, 3, 3]])
    with torch.no_grad():
        mask = torch.zeros(3, 1, 17, 17)  # an explicit mask of zeros: every position sees every other
        expected = llama.model.model(inputs_embeds=sequence, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(llama(sequence, slice(2, 9)), expected[:, 2:9], atol=1e-5, rtol=0)
        picked = expected.gather(1, positions[:, :, None].expand(-1, -1, 32))
        torch.testing.assert_close(llama(sequence, positions), picked, atol=1e-5, rtol=0)


def test_padded_batch_equals_rows_alone(policy: OpenVlaOft):
    """What a GPU computes (one padded batch with a mask) and what the CPU computes (rows by prompt length)."""
    inputs, _, _ = stacked(policy.act(observations(6), noises(6), Decoding()))
    lengths = inputs["prompt_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    ids = inputs["prompt_ids"].long()
    with torch.no_grad():
        together = policy.chunk_logits(inputs["features"], ids, lengths, inputs["proprio"])
        for row in range(6):
            length, one = int(lengths[row]), slice(row, row + 1)
            alone = policy.chunk_logits(inputs["features"][one], ids[one, :length], None, inputs["proprio"][one])
            torch.testing.assert_close(together[one], alone, atol=2e-5, rtol=0)


def test_sequence_is_bos_patches_proprio_prompt_placeholders_stop(policy: OpenVlaOft, monkeypatch: pytest.MonkeyPatch):
    """The sequence the Llama gets, position by position, and the left shift of the outputs."""
    captured: dict[str, object] = {}
    original = ActionLlama.forward

    def spy(self: ActionLlama, embeddings: torch.Tensor, positions: slice, lengths: None = None):
        captured.update(embeddings=embeddings, positions=positions)
        return original(self, embeddings, positions, lengths)

    monkeypatch.setattr(ActionLlama, "forward", spy)
    row = policy.act(observations(1), noises(1), Decoding())[0].inputs
    sequence, positions = captured["embeddings"], captured["positions"]
    assert isinstance(sequence, torch.Tensor) and isinstance(positions, slice)
    length = int(row["prompt_mask"].sum())
    ids = row["prompt_ids"][:length].long()
    with torch.no_grad():
        embed = policy.language_model.embed
        patches = policy.projector(row["features"].float())
        assert policy.proprio_projector is not None
        proprio = policy.proprio_projector(row["proprio"][None])
        parts = [embed(ids[:1]), patches, proprio, embed(ids[1:]), torch.zeros(56, 32), embed(torch.tensor([2]))]
        torch.testing.assert_close(sequence[0], torch.cat(parts), atol=1e-6, rtol=0)
    last_prompt_token = 32 + 1 + length - 1
    assert (positions.start, positions.stop) == (last_prompt_token, last_prompt_token + 56)
    assert int(ids[0]) == 1  # BOS


def test_every_input_matters(policy: OpenVlaOft):
    """Each camera, the state and the instruction change the distribution."""
    seen, noise = observations(1)[0], noises(1)
    other = observations(2, seed=9)[1]
    base = policy.act([seen], noise, Decoding())[0].log_probs
    variants = [
        dataclasses.replace(seen, images={**seen.images, "agentview": other.images["agentview"]}),
        dataclasses.replace(seen, images={**seen.images, "wrist": other.images["wrist"]}),
        dataclasses.replace(seen, state=other.state),
        dataclasses.replace(seen, instruction=other.instruction),
    ]
    for variant in variants:
        assert not np.array_equal(policy.act([variant], noise, Decoding())[0].log_probs, base)


def test_greedy_is_the_mode_and_sampling_follows_the_distribution(policy: OpenVlaOft):
    seen = observations(1) * 400
    greedy = policy.act(seen[:1], noises(1), Decoding(mode="greedy"))[0]
    inputs, _, _ = stacked([greedy])
    every = torch.arange(256)[:, None, None].expand(256, 8, 7)
    repeated = {name: value.expand(256, *value.shape[1:]) for name, value in inputs.items()}
    log_probs = policy.evaluate(repeated, every, 1.0)[0].detach()
    assert np.array_equal(greedy.tokens, log_probs.argmax(0).numpy())
    sampled = np.stack([o.tokens for o in policy.act(seen, noises(400), Decoding())])
    expected = (log_probs.exp() * torch.arange(256)[:, None, None]).sum(0).numpy()
    spread = sampled.std(axis=0) / np.sqrt(400)
    assert (np.abs(sampled.mean(axis=0) - expected) < 5 * spread + 0.1).all()


def test_expectation_uses_the_mean_and_the_grippers_more_probable_sign(policy: OpenVlaOft):
    output = policy.act(observations(1), noises(1), Decoding(mode="expectation"))[0]
    inputs, _, _ = stacked([output])
    every = torch.arange(256)[:, None, None].expand(256, 8, 7)
    repeated = {name: value.expand(256, *value.shape[1:]) for name, value in inputs.items()}
    probabilities = policy.evaluate(repeated, every, 1.0)[0].detach().double().exp()
    values = torch.from_numpy(policy.bins.values)[:, None, None]
    mean = (probabilities * values).sum(0).numpy()
    np.testing.assert_allclose(output.actions[:, :6], mean[:, :6], atol=1e-5)
    sign = np.where(((probabilities * (values > 0)).sum(0) >= (probabilities * (values < 0)).sum(0)).numpy(), 1.0, -1.0)
    np.testing.assert_array_equal(output.actions[:, 6], sign[:, 6].astype(np.float32))


def test_nothing_asked_bad_temperature_and_nan(policy: OpenVlaOft):
    assert policy.act([], [], Decoding()) == []
    with pytest.raises(ValueError, match=r"temperature is 0.*greedy"):
        policy.act(observations(1), noises(1), Decoding(temperature=0.0))
    broken = dataclasses.replace(observations(1)[0], state=np.full(8, np.nan, np.float32))
    with pytest.raises(FloatingPointError, match="not finite"):
        policy.act([broken], noises(1), Decoding())


def test_round_trip_is_bitwise_and_loading_writes_nothing(policy: OpenVlaOft, tmp_path):
    folder = tmp_path / "policy"
    policy.save_pretrained(folder, {"title": "A test", "epochs": 3})
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(before)
    assert "A test" in (folder / "README.md").read_text()
    folder.chmod(0o555)
    loaded = OpenVlaOft.from_pretrained(folder)
    again = loaded.act(observations(3), noises(3), Decoding())
    first = policy.act(observations(3), noises(3), Decoding())
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.log_probs, b.log_probs) and np.array_equal(a.actions, b.actions)
    assert loaded.config == policy.config
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()} == before


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_padding_rows_do_not_disturb_real_ones(seed: int, padding: int):
    """A trajectory batch holds all-zero rows past an episode's end."""
    policy = random_policy()
    inputs, tokens, expected = stacked(policy.act(observations(2, seed), noises(2, seed), Decoding()))
    padded = {k: torch.cat((v, torch.zeros(padding, *v.shape[1:], dtype=v.dtype))) for k, v in inputs.items()}
    more = torch.cat((tokens, torch.zeros(padding, 8, 7, dtype=torch.int64)))
    log_probs, _ = policy.evaluate(padded, more, 1.0)
    assert torch.equal(log_probs[:2].detach(), expected)
    assert bool(torch.isfinite(log_probs).all())
