"""Our PPO against the one-file reference, on the same batch of a Gaussian policy."""

import numpy as np
import pytest
import torch

from tests.parity.reference_ppo import Episode, losses
from tests.support.batches import loss_of
from vlarl.env_protocol import EpisodeSpec, Observation, Outcome
from vlarl.objectives.aggregations import Aggregation
from vlarl.objectives.critic import Critic, Gae
from vlarl.objectives.data_rules import GroupFilter
from vlarl.objectives.policy_gradient import PolicyGradientConfig
from vlarl.objectives.ratios import Ratio
from vlarl.objectives.regularisers import Entropy
from vlarl.objectives.surrogates import Clip
from vlarl.policies.mlp import MlpConfig, MlpPolicy
from vlarl.policy import Decoding
from vlarl.types import Trajectory, stack_trajectories


def episode(policy, seed, length, outcome):
    rng = np.random.default_rng(seed)

    def see():
        return Observation(images={}, state=rng.normal(size=3).astype(np.float32), instruction="", time=0.0)

    seen = [see() for _ in range(length)]
    noise = [rng.random(policy.noise_shape, dtype=np.float32) for _ in range(length)]
    after = see()
    return Trajectory(
        spec=EpisodeSpec(suite="", task=0, instruction="", init_state=0, seed=seed, group=seed),
        observations=seen,
        outputs=policy.act(seen, noise, Decoding()),
        executed=[np.ones(1, bool)] * length,
        env_rewards=[np.zeros(1, np.float32)] * length,
        outcome=outcome,
        rewards={"r": rng.normal(size=length).astype(np.float32)},
        final_inputs={"state": torch.from_numpy(after.state)} if outcome is Outcome.TRUNCATED else None,
    )


@pytest.mark.parametrize("source", ["separate", "policy"])
def test_losses_and_advantages_equal_the_reference(source):
    sizes = MlpConfig(state_size=3, low=(-1.0, -2.0), high=(1.0, 2.0), value_head=True)
    policy = MlpPolicy(sizes, seed=1)
    objective = PolicyGradientConfig(
        groups=GroupFilter(minimum=1),
        advantage=Gae(discount=0.97, decay=0.9),
        ratio=Ratio(level="action"),
        surrogate=Clip(low=0.2, high=0.2),
        aggregation=Aggregation(mode="token_mean"),
        regularisers=(Entropy(coefficient=0.01),),
        critic=Critic(source=source, clip=0.2, coefficient=0.5),
        minibatch_of="decisions",
    ).build()
    objective.attach(policy)
    outcomes = [Outcome.TRUNCATED, Outcome.FAILURE, Outcome.TRUNCATED, Outcome.SUCCESS]
    whole = stack_trajectories([episode(policy, i, 4 + 2 * i, outcome) for i, outcome in enumerate(outcomes)])
    batch, _ = objective.prepare(whole)
    assert len(batch) == 4 + 6 + 8 + 10

    old_values = objective.value._in_reward_units(whole.inputs)
    final_values = objective.value._in_reward_units(whole.final_inputs).tolist()
    with torch.no_grad():  # everything moves: ratios and values leave their clips somewhere
        for parameter in [*policy.parameters(), *objective.parameters()]:
            parameter += 0.15 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    log_probs, entropies = policy.evaluate(batch.inputs, batch.tokens[:, 0], 1.0)
    output = loss_of(objective, log_probs, batch, entropies[:, None])

    def rows(values):
        return [part.tolist() for part in values.double().split([4, 6, 8, 10])]

    columns = zip(
        rows(whole.rewards[whole.decision_mask]),
        rows(old_values),
        final_values,
        [outcome is Outcome.TRUNCATED for outcome in outcomes],
        rows(batch.old_log_probs.sum((1, 2, 3))),
        rows(log_probs.detach().sum((1, 2))),
        rows(objective.value.values(batch.inputs).detach()),
        rows(entropies.detach().mean((1, 2))),
        strict=True,
    )
    expected = losses(
        [Episode(*column) for column in columns],
        gamma=0.97,
        lam=0.9,
        clip=0.2,
        value_clip=0.2,
        value_coefficient=0.5,
        entropy_coefficient=0.01,
    )
    assert float(output.loss.detach()) == pytest.approx(expected["total"], abs=1e-6)
    assert float(output.sums["value_loss"] / output.sums["tokens"]) == pytest.approx(expected["value"], abs=1e-6)
    assert 0 < float(output.sums["clipfrac"]) < len(batch)
