"""Handing a return out over decisions: what must add up, what must stay put, and that it finds the deciding moment."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlarl.objectives.credit import decision_advantages
from vlarl.types import RolloutBatch


def batch_of(states: torch.Tensor, lengths: torch.Tensor, groups: torch.Tensor) -> RolloutBatch:
    """Episodes with ``states [B, D, S]`` and nothing else of interest."""
    rows, depth = states.shape[:2]
    mask = torch.arange(depth) < lengths[:, None]
    tokens = torch.zeros(rows, depth, 1, 1, dtype=torch.int64)
    return RolloutBatch(
        tokens=tokens,
        old_log_probs=tokens.float(),
        token_mask=mask[..., None, None],
        inputs={"state": states[mask]},
        decision_mask=mask,
        returns=torch.zeros(rows),
        succeeded=torch.zeros(rows, dtype=torch.bool),
        groups=groups,
        temperature=1.0,
    )


@st.composite
def episodes(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    rows, depth = 4 * draw(st.integers(2, 5)), draw(st.integers(1, 6))
    states = torch.randn(rows, depth, 3, generator=generator)
    lengths = torch.randint(1, depth + 1, (rows,), generator=generator)
    lengths[0] = depth
    return batch_of(states, lengths, torch.arange(rows) // 4), torch.randn(rows, generator=generator)


@settings(max_examples=40, deadline=None)
@given(episodes())
def test_without_decay_credits_add_up_to_the_groups_advantage(drawn):
    batch, target = drawn
    credit = decision_advantages(batch, target, decay=0.0, ridge=1.0)
    torch.testing.assert_close(credit.sum(1), target, rtol=1e-5, atol=1e-5)
    assert (credit[~batch.decision_mask] == 0).all()


@settings(max_examples=40, deadline=None)
@given(episodes(), st.floats(0, 1))
def test_an_infinite_penalty_gives_back_plain_grpo(drawn, decay):
    batch, target = drawn
    credit = decision_advantages(batch, target, decay=decay, ridge=1e12)
    last = batch.decision_mask.sum(1) - 1
    expected = target[:, None] * decay ** (last[:, None] - torch.arange(credit.shape[1])).clamp(min=0)
    torch.testing.assert_close(credit, expected * batch.decision_mask, rtol=1e-3, atol=1e-3)


def test_credit_goes_to_the_decision_after_which_the_outcome_was_known():
    generator = torch.Generator().manual_seed(0)
    rows, depth = 64, 6
    won = torch.rand(rows, generator=generator) < 0.5
    states = torch.randn(rows, depth, 2, generator=generator)
    states[:, 3:, 0] = torch.where(won, 3.0, -3.0)[:, None]  # what was decided by decision 2 shows from step 3 on
    batch = batch_of(states, torch.full((rows,), depth), torch.arange(rows) // 8)
    target = won.float() - 0.5
    credit = decision_advantages(batch, target, decay=0.0, ridge=1.0)
    share = (credit * target.sign()[:, None]).mean(0)
    assert share.argmax() == 2
    assert share[2] > 3 * share[[0, 1, 3, 4, 5]].abs().max()


def test_a_group_is_not_predicted_from_itself():
    states = torch.eye(8)[:, None].expand(-1, 3, -1).contiguous()  # each episode recognises itself, and only itself
    batch = batch_of(states, torch.full((8,), 3), torch.arange(8) // 2)
    target = torch.tensor([1.0, -1.0] * 4)
    credit = decision_advantages(batch, target, decay=1.0, ridge=1e-3)
    assert credit.flatten().tolist() == pytest.approx(target[:, None].expand(-1, 3).flatten().tolist(), abs=0.5)
