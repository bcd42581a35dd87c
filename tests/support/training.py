"""A small recorded rollout and the losses of its pieces, for tests of gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tests.support.policies import noises, observations
from vlarl.env_protocol import EpisodeSpec, Outcome
from vlarl.objective import Decisions
from vlarl.objectives.grpo import simplevla
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding
from vlarl.types import RolloutBatch, Trajectory, stack_trajectories


def episodes(policy: OpenVlaOft, decisions: tuple[int, ...] = (3, 1)) -> list[Trajectory]:
    """Episodes of so many decisions each; every other one succeeded."""
    trajectories = []
    for index, count in enumerate(decisions):
        seen = observations(count, seed=index)
        outputs = policy.act(seen, noises(count, seed=10 + index), Decoding(temperature=1.6))
        chunk = policy.config.chunk
        executed = [np.arange(chunk) < (chunk if i + 1 < count else 1 + chunk // 2) for i in range(count)]
        spec = EpisodeSpec(suite="toy", task=0, instruction="", init_state=0, seed=index)
        trajectories.append(
            Trajectory(
                spec=spec,
                observations=seen,
                outputs=outputs,
                executed=executed,
                env_rewards=[np.zeros(chunk, np.float32)] * count,
                outcome=Outcome.SUCCESS if index % 2 == 0 else Outcome.TRUNCATED,
            )
        )
    return trajectories


def rollout(policy: OpenVlaOft, decisions: tuple[int, ...] = (3, 1)) -> RolloutBatch:
    """Such episodes with made-up advantages."""
    batch = stack_trajectories(episodes(policy, decisions))
    signs = torch.tensor([1.0 if index % 2 == 0 else -1.0 for index in range(len(decisions))])
    batch.advantages = signs[:, None, None, None] * batch.token_mask
    return batch


def losses_of(policy: OpenVlaOft, batch: RolloutBatch, size: int) -> list[Callable[[], Tensor]]:
    """The mini-batch's GRPO loss in pieces of ``size`` decisions, in the learner's order; they add up to it."""
    objective = simplevla().build()
    decisions, tokens = Decisions.of(batch, objective.token_weights(batch)), batch.tokens[batch.decision_mask]

    def make(piece: slice) -> Tensor:
        part = decisions[piece]
        return objective.loss(*policy.evaluate(part.inputs, tokens[piece], batch.temperature), part).loss

    count = len(decisions)
    return [lambda s=start: make(slice(s, s + size)) for start in range(0, count, size)]


def gradients(policy: OpenVlaOft, losses: list[Callable[[], Tensor]]) -> dict[str, Tensor]:
    """Summed gradients by parameter name."""
    policy.zero_grad()
    for make in losses:
        make().backward()
    return {n: p.grad.clone() for n, p in policy.named_parameters() if p.grad is not None}
