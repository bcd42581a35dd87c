"""The records that travel from rollout to update.

``PolicyOutput`` is one decision of one episode, ``Trajectory`` one episode, ``RolloutBatch`` the
padded learning batch ``[batch, decision, chunk, token]`` whose masks are derived here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vlarl.env_protocol import BoolArray, EpisodeSpec, Float32Array, Observation, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutput:
    """One decision: the action chunk and all that is needed to recompute its log-probability."""

    actions: Float32Array
    """``float32 [chunk, action_dim]`` in environment units."""
    tokens: np.ndarray
    """``int16 [chunk, token]`` action-bin indices (0-based), or a policy's own sampled values."""
    log_probs: Float32Array
    """``float32 [chunk, token]`` under the behaviour policy at ``temperature``."""
    inputs: Mapping[str, Tensor]
    """What ``Policy.evaluate`` needs besides the tokens: cached features of frozen parts, text ids, state."""
    temperature: float
    version: int
    """Number of optimiser updates the behaviour policy had seen."""
    value: float | None = None


@dataclass(slots=True, kw_only=True)
class Trajectory:
    """One finished episode."""

    spec: EpisodeSpec
    observations: list[Observation]
    """One per decision (what the policy saw)."""
    outputs: list[PolicyOutput]
    """One per decision."""
    executed: list[BoolArray]
    """Per decision ``bool [chunk]``."""
    env_rewards: list[Float32Array]
    """Per decision ``float32 [chunk]``, as the environment gave them."""
    outcome: Outcome
    error: str = ""
    rewards: dict[str, Float32Array] = field(default_factory=dict)
    """Reward by term, ``float32 [decision]``; filled by ``rewards.score``."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> seconds spent on this episode (simulate, render, ...)."""
    frames: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    """Every control step's frames, only where asked for (videos)."""

    @property
    def num_steps(self) -> int:
        """Executed control steps."""
        return int(sum(mask.sum() for mask in self.executed))

    @property
    def succeeded(self) -> bool:
        """Whether the benchmark's own predicate fired."""
        return self.outcome is Outcome.SUCCESS

    def total_reward(self) -> float:
        """Sum over terms and decisions."""
        return float(sum(term.sum() for term in self.rewards.values()))


@dataclass(slots=True, kw_only=True)
class RolloutBatch:
    """Padded trajectories. Dimensions: B trajectories, D decisions, C chunk steps, T tokens per step.

    ``token_mask`` is the one mask: a token counts if its control step was executed. A decision past the
    episode's end, and the tail of a chunk cut short by success, are False.
    """

    tokens: Tensor
    """``int64 [B, D, C, T]``"""
    old_log_probs: Tensor
    """``float32 [B, D, C, T]``"""
    token_mask: Tensor
    """``bool [B, D, C, T]``"""
    inputs: dict[str, Tensor]
    """Each ``[B, D, ...]``, zero where padded."""
    decision_mask: Tensor
    """``bool [B, D]``: the decision took place."""
    returns: Tensor
    """``float32 [B]``: total reward of the trajectory."""
    succeeded: Tensor
    """``bool [B]``: the benchmark's predicate fired."""
    groups: Tensor
    """``int64 [B]``"""
    temperature: float
    advantages: Tensor | None = None
    """``float32 [B, D, C, T]``, set by ``Objective.prepare``."""

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def select(self, rows: Tensor | Sequence[int]) -> RolloutBatch:
        """The sub-batch of these trajectories, in this order."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return RolloutBatch(
            tokens=self.tokens[index],
            old_log_probs=self.old_log_probs[index],
            token_mask=self.token_mask[index],
            inputs={name: value[index] for name, value in self.inputs.items()},
            decision_mask=self.decision_mask[index],
            returns=self.returns[index],
            succeeded=self.succeeded[index],
            groups=self.groups[index],
            temperature=self.temperature,
            advantages=None if self.advantages is None else self.advantages[index],
        )


def stack_trajectories(trajectories: Sequence[Trajectory]) -> RolloutBatch:
    """Pad finished trajectories into one batch.

    Raises:
        ValueError: no trajectory, one that ended in ``Outcome.ERROR`` or is still running, or two temperatures.
    """
    if not trajectories:
        raise ValueError("stack_trajectories got no trajectory")
    for trajectory in trajectories:
        if trajectory.outcome in (Outcome.ERROR, Outcome.RUNNING):
            raise ValueError(f"an episode with outcome {trajectory.outcome} may not be trained on: {trajectory.spec}")
    temperatures = {output.temperature for t in trajectories for output in t.outputs}
    if len(temperatures) != 1:
        raise ValueError(f"trajectories were sampled at several temperatures: {sorted(temperatures)}")
    rows, depth = len(trajectories), max(len(t.outputs) for t in trajectories)
    first = trajectories[0].outputs[0]
    chunk, width = first.tokens.shape
    batch = RolloutBatch(
        tokens=torch.zeros(rows, depth, chunk, width, dtype=torch.int64),
        old_log_probs=torch.zeros(rows, depth, chunk, width),
        token_mask=torch.zeros(rows, depth, chunk, width, dtype=torch.bool),
        inputs={k: torch.zeros(rows, depth, *v.shape, dtype=v.dtype) for k, v in first.inputs.items()},
        decision_mask=torch.zeros(rows, depth, dtype=torch.bool),
        returns=torch.tensor([t.total_reward() for t in trajectories], dtype=torch.float32),
        succeeded=torch.tensor([t.succeeded for t in trajectories], dtype=torch.bool),
        groups=torch.tensor([t.spec.group for t in trajectories], dtype=torch.int64),
        temperature=temperatures.pop(),
    )
    for row, trajectory in enumerate(trajectories):
        n = len(trajectory.outputs)
        batch.decision_mask[row, :n] = True
        batch.tokens[row, :n] = torch.from_numpy(np.stack([o.tokens for o in trajectory.outputs]).astype(np.int64))
        batch.old_log_probs[row, :n] = torch.from_numpy(np.stack([o.log_probs for o in trajectory.outputs]))
        executed = torch.from_numpy(np.stack(trajectory.executed))
        batch.token_mask[row, :n] = executed[:, :, None].expand(-1, -1, width)
        for name, value in batch.inputs.items():
            value[row, :n] = torch.stack([o.inputs[name] for o in trajectory.outputs])
    return batch
