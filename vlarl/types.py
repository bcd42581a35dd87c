"""The records that travel from rollout to update.

``PolicyOutput`` is one decision of one episode, ``Trajectory`` one episode, ``RolloutBatch`` the
padded learning batch ``[batch, decision, chunk, token]`` whose masks are derived here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlarl.env_protocol import BoolArray, EpisodeSpec, Float32Array, Observation, Outcome
from vlarl.errors import NotFiniteError


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutput:
    """One decision: the action chunk and all that is needed to recompute its log-probability."""

    actions: Float32Array
    """``float32 [chunk, action_dim]`` in environment units."""
    tokens: np.ndarray
    """``int16 [chunk, token]`` action-bin indices (0-based), or a policy's own sampled values as ``float32``."""
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
    events: list[Mapping[str, Any]] = field(default_factory=list)
    """Per decision what the environment told beside (``StepResult.events``), the seconds left out."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Phase -> seconds spent on this episode (simulate, render, ...)."""
    frames: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    """Every control step's frames, only where asked for (videos)."""
    final_observation: Observation | None = None
    """What the policy would have seen next, had the episode not been truncated there."""
    notes: dict[str, list[Any]] = field(default_factory=dict)
    """By reward term, what it keeps of every decision while the episode is played (see ``vlarl.reward.watching``)."""
    final_inputs: Mapping[str, Tensor] | None = None
    """``final_observation`` as ``PolicyOutput.inputs``; only for objectives with a critic."""

    @property
    def num_steps(self) -> int:
        """Executed control steps."""
        return int(sum(mask.sum() for mask in self.executed))

    @property
    def succeeded(self) -> bool:
        """Whether the benchmark's own predicate fired."""
        return self.outcome is Outcome.SUCCESS

    @property
    def env_return(self) -> float:
        """Sum of the environment's own rewards."""
        return float(sum(rewards.sum() for rewards in self.env_rewards))

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
    """``int64 [B, D, C, T]``, or ``float32`` where the policy's tokens are real numbers."""
    old_log_probs: Tensor
    """``float32 [B, D, C, T]``"""
    token_mask: Tensor
    """``bool [B, D, C, T]``"""
    inputs: dict[str, Tensor]
    """Each ``[N, ...]``, a row for each of the N decisions that took place, trajectory by trajectory: inputs can be
    images, and padding them to the longest episode would multiply them."""
    decision_mask: Tensor
    """``bool [B, D]``: the decision took place."""
    returns: Tensor
    """``float32 [B]``: total reward of the trajectory."""
    succeeded: Tensor
    """``bool [B]``: the benchmark's predicate fired."""
    groups: Tensor
    """``int64 [B]``"""
    temperature: float | Tensor
    """Of the sampling; ``float32 [B, D]`` where it changes along an episode."""
    advantages: Tensor | None = None
    """``float32 [B, D, C, T]``, set by ``Objective.prepare``."""
    rewards: Tensor | None = None
    """``float32 [B, D]``: total reward of each decision."""
    truncated: Tensor | None = None
    """``bool [B]``: cut off by a time limit, so the last state has a future that the rewards do not show."""
    versions: Tensor | None = None
    """``int64 [B, D]``: optimiser updates that the behaviour policy had seen."""
    starts: Tensor | None = None
    """``int64 [B, 2]``: task and initial state."""
    final_inputs: dict[str, Tensor] | None = None
    """Each ``[B, ...]``: policy inputs after a truncated episode's last decision, zero for the others."""
    columns: dict[str, Tensor] = field(default_factory=dict)
    """Each ``[B, D, ...]``: whatever else ``Objective.prepare`` wants to find again in ``Objective.loss``."""

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def select(self, rows: Tensor | Sequence[int]) -> RolloutBatch:
        """The sub-batch of these trajectories, in this order."""
        chosen = self.select_without_inputs(rows)
        index = torch.as_tensor(rows, dtype=torch.int64)
        if not torch.equal(index, torch.arange(len(self))):
            places = self.places(index)
            chosen.inputs = {name: value[places] for name, value in self.inputs.items()}
        return chosen

    def select_without_inputs(self, rows: Tensor | Sequence[int]) -> RolloutBatch:
        """As ``select``, but the inputs stay those of the whole batch: ``places(rows)`` says which belong to it."""
        index = torch.as_tensor(rows, dtype=torch.int64)
        return self._map(lambda value: value[index])

    def places(self, rows: Tensor) -> Tensor:
        """``int64 [M]``: the rows of ``inputs`` that hold the M decisions of these trajectories."""
        numbers = self.padded(torch.arange(int(self.decision_mask.sum())))
        return numbers[rows][self.decision_mask[rows]]

    def padded(self, values: Tensor) -> Tensor:
        """``values [N, ...]`` of the decisions that took place as ``[B, D, ...]``, zero elsewhere."""
        rows = values.new_zeros(*self.decision_mask.shape, *values.shape[1:])
        rows[self.decision_mask] = values
        return rows

    def decision_temperatures(self) -> Callable[[slice], float | Tensor]:
        """What ``Policy.evaluate`` takes for a slice of the decisions that took place: a number or ``[N, 1, 1, 1]``."""
        if not isinstance(self.temperature, Tensor):
            number = self.temperature
            return lambda piece: number
        column = self.temperature[self.decision_mask][:, None, None, None]
        return lambda piece: column[piece]

    def split_decisions(self) -> RolloutBatch:
        """Every decision that took place as an episode of its own, ``[decisions, 1, C, T]``; final inputs are dropped.

        For objectives whose mini-batches are drawn from single decisions.
        """
        valid = self.decision_mask
        parts = self._map(lambda value: value[valid][:, None] if value.shape[:2] == valid.shape else value)
        owner = valid.nonzero()[:, 0]
        for name in ("returns", "succeeded", "groups", "truncated", "starts"):
            value = getattr(self, name)
            setattr(parts, name, None if value is None else value[owner])
        parts.final_inputs = None
        return parts

    def _map(self, change: Callable[[Tensor], Tensor]) -> RolloutBatch:
        """Change all tensors but the inputs."""
        changed: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                value = change(value)
            elif isinstance(value, dict) and item.name != "inputs":
                value = {name: change(entry) for name, entry in value.items()}
            changed[item.name] = value
        return RolloutBatch(**changed)


def stack_trajectories(trajectories: Sequence[Trajectory], *, annealed: bool = False) -> RolloutBatch:
    """Pad finished trajectories into one batch.

    Args:
        trajectories: finished episodes, none of them an error.
        annealed: their temperature changed along the way on purpose.

    Raises:
        ValueError: no trajectory, one that ended in ``Outcome.ERROR`` or is still running, or two temperatures.
        NotFiniteError: a log-probability is NaN or infinite (which trajectory, decision, step).
    """
    if not trajectories:
        raise ValueError("stack_trajectories got no trajectory")
    for trajectory in trajectories:
        if trajectory.outcome in (Outcome.ERROR, Outcome.RUNNING):
            raise ValueError(f"an episode with outcome {trajectory.outcome} may not be trained on: {trajectory.spec}")
    temperatures = {output.temperature for t in trajectories for output in t.outputs}
    if len(temperatures) != 1 and not annealed:
        raise ValueError(f"trajectories were sampled at several temperatures: {sorted(temperatures)}")
    rows, depth = len(trajectories), max(len(t.outputs) for t in trajectories)
    first = trajectories[0].outputs[0]
    chunk, width = first.tokens.shape
    real = first.tokens.dtype.kind == "f"
    batch = RolloutBatch(
        tokens=torch.zeros(rows, depth, chunk, width, dtype=torch.float32 if real else torch.int64),
        old_log_probs=torch.zeros(rows, depth, chunk, width),
        token_mask=torch.zeros(rows, depth, chunk, width, dtype=torch.bool),
        inputs={k: torch.stack([o.inputs[k] for t in trajectories for o in t.outputs]) for k in first.inputs},
        decision_mask=torch.zeros(rows, depth, dtype=torch.bool),
        returns=torch.tensor([t.total_reward() for t in trajectories], dtype=torch.float32),
        succeeded=torch.tensor([t.succeeded for t in trajectories], dtype=torch.bool),
        groups=torch.tensor([t.spec.group for t in trajectories], dtype=torch.int64),
        temperature=torch.ones(rows, depth) if annealed else temperatures.pop(),
        rewards=torch.zeros(rows, depth),
        truncated=torch.tensor([t.outcome is Outcome.TRUNCATED for t in trajectories], dtype=torch.bool),
        versions=torch.zeros(rows, depth, dtype=torch.int64),
        starts=torch.tensor([(t.spec.task, t.spec.init_state) for t in trajectories], dtype=torch.int64),
        final_inputs=_final_inputs(trajectories),
    )
    assert batch.rewards is not None and batch.versions is not None
    for row, trajectory in enumerate(trajectories):
        n = len(trajectory.outputs)
        batch.decision_mask[row, :n] = True
        tokens = np.stack([o.tokens for o in trajectory.outputs])
        batch.tokens[row, :n] = torch.from_numpy(tokens.astype(np.float32 if real else np.int64))
        batch.old_log_probs[row, :n] = torch.from_numpy(np.stack([o.log_probs for o in trajectory.outputs]))
        check_finite("log-probability", batch.old_log_probs[row, :n], trajectory.spec)
        batch.versions[row, :n] = torch.tensor([o.version for o in trajectory.outputs])
        if isinstance(batch.temperature, Tensor):
            batch.temperature[row, :n] = torch.tensor([o.temperature for o in trajectory.outputs])
        if trajectory.rewards:
            batch.rewards[row, :n] = torch.from_numpy(np.sum(list(trajectory.rewards.values()), axis=0))
        executed = torch.from_numpy(np.stack(trajectory.executed))
        batch.token_mask[row, :n] = executed[:, :, None].expand(-1, -1, width)
    return batch


def _final_inputs(trajectories: Sequence[Trajectory]) -> dict[str, Tensor] | None:
    """``final_inputs`` of those that have them, stacked; None if no trajectory has any."""
    known = {row: t.final_inputs for row, t in enumerate(trajectories) if t.final_inputs is not None}
    if not known:
        return None
    first = next(iter(known.values()))
    stacked = {name: torch.zeros(len(trajectories), *v.shape, dtype=v.dtype) for name, v in first.items()}
    for row, inputs in known.items():
        for name, value in inputs.items():
            stacked[name][row] = value
    return stacked


def check_finite(term: str, values: Tensor | np.ndarray, spec: EpisodeSpec) -> None:
    """Refuse NaN and infinity before they become training data.

    Args:
        term: what the values are, for the message.
        values: ``[decision, ...]``.
        spec: whose they are.

    Raises:
        NotFiniteError: names trajectory, term and step.
    """
    values = np.asarray(values)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        names = ("decision", "chunk step", "token")
        place = ", ".join(f"{name} {index}" for name, index in zip(names, where, strict=False))
        raise NotFiniteError(
            f"{term} is {values[where]} at {place} ({len(bad)} of {values.size} values are not finite) in the episode "
            f"of {spec.suite} task {spec.task}, initial state {spec.init_state}, seed {spec.seed}, group {spec.group}. "
            "Nothing was learned from it."
        )
