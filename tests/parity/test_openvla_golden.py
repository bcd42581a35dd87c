"""Published checkpoints loaded by ``from_pretrained`` give the numbers recorded from the original code.

One test per golden file; the comparisons themselves are in ``tests/support/openvla_parity*.py``, where the printed
table comes from too (``tools/parity_table.py``, docs/checkpoints.md).
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.support import openvla_parity
from tests.support.openvla_parity import GOLDEN, absolute, arrays, features
from tests.support.openvla_parity_training import CASES
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding, LoadConfig

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")


@pytest.fixture(scope="module", autouse=True)
def clean():
    yield
    openvla_parity.remove_temporary()


@pytest.mark.parametrize("name", list(CASES))
def test_equals_upstream(name: str):
    rows = list(CASES[name]())
    assert len(rows) >= 2
    broken = [row for row in rows if not row.holds]
    assert not broken, "\n".join(map(str, broken))


@pytest.fixture
def policy() -> OpenVlaOft:
    return OpenVlaOft.from_pretrained(GOLDEN / "checkpoint", load=LoadConfig(device="cpu"))


@torch.no_grad()
def logit_error(policy: OpenVlaOft) -> float:
    golden = arrays("06_oft_discrete.npz")
    seen = features(policy, golden["one_image/image_indices"])
    ids = torch.from_numpy(golden["one_image/input_ids"])[None]
    return absolute(policy.chunk_logits(seen, ids, None, None).view(1, 56, 256), golden["one_image/tail_logits"])


def test_bounds_catch_small_mistakes(policy: OpenVlaOft):
    """Each is one that someone made: the stop token, RMSNorm's epsilon, the ViT's, causal attention."""
    bound = 3e-4
    assert logit_error(policy) < bound / 3
    config = policy.config
    policy.config = dataclasses.replace(config, prompt=dataclasses.replace(config.prompt, stop_id=13))
    assert logit_error(policy) > 10 * bound
    policy.config = config
    for layer in policy.language_model.layers:
        layer.input_layernorm.variance_epsilon = 1e-5
    assert logit_error(policy) > bound
    for layer in policy.language_model.layers:
        layer.input_layernorm.variance_epsilon = 1e-6
    policy.language_model.causal = True
    assert logit_error(policy) > 1000 * bound


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_implementations_agree(attention: str):
    policy = OpenVlaOft.from_pretrained(GOLDEN / "checkpoint", load=LoadConfig(attention=attention))  # pyrefly: ignore
    assert logit_error(policy) < 3e-4


def test_act_and_evaluate_agree_when_decoding_in_turn():
    """The probabilities of an autoregressive rollout are repeated bit for bit by the update's teacher forcing."""
    import numpy as np

    from vlarl.env_protocol import Observation

    policy = OpenVlaOft.from_pretrained(GOLDEN / "checkpoint_v01", load=LoadConfig(cameras=("agentview",)))
    raw = arrays("03_images.npz")["raw"]
    tasks = ["turn on the stove", "put both moka pots on the stove", "turn on the stove"]
    seen = [
        Observation(images={"agentview": raw[i][::-1]}, state=np.zeros(8, np.float32), instruction=text, time=0.0)
        for i, text in enumerate(tasks)
    ]
    noise = [np.random.default_rng(i).random((1, 7), dtype=np.float32) for i in range(3)]
    outputs = policy.act(seen, noise, Decoding(temperature=1.3))
    inputs = {name: torch.stack([o.inputs[name] for o in outputs]) for name in outputs[0].inputs}
    tokens = torch.from_numpy(np.stack([o.tokens for o in outputs]).astype(np.int64))
    log_probs, entropies = policy.evaluate(inputs, tokens, 1.3)
    np.testing.assert_array_equal(log_probs.detach().numpy(), np.stack([o.log_probs for o in outputs]))
    assert outputs[0].actions.shape == (1, 7) and entropies.shape == (3, 1, 7)
    assert len({o.tokens.tobytes() for o in outputs}) == 3
