"""Transitions of past iterations, in flat arrays; what off-policy learners have in place of ``Objective.prepare``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlarl.types import RolloutBatch

FIELDS = ("state", "action", "reward", "next_state", "discount")


class ReplayBuffer:
    """A ring of transitions between decisions.

    ``discount`` is ``gamma^steps`` of the decision, and 0 where the episode ended with it; an episode that a time limit
    cut off goes on from its final state.

    Args:
        capacity: transitions kept.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.columns: dict[str, Tensor] = {}
        self.size = 0
        self.position = 0

    def add(self, batch: RolloutBatch, actions: Tensor, discount: float) -> int:
        """Append every decision of a batch; returns how many.

        Args:
            batch: with ``inputs['state']``, rewards, and final inputs where truncated.
            actions: ``float32 [B, D, A]``, as the critic is to see them.
            discount: per control step.
        """
        assert batch.rewards is not None and batch.truncated is not None
        valid, state = batch.decision_mask, batch.padded(batch.inputs["state"])
        following = torch.cat((state[:, 1:], torch.zeros_like(state[:, :1])), dim=1)
        factor = discount ** batch.token_mask[..., 0].sum(-1).float()
        rows, last = torch.arange(len(batch)), valid.sum(1) - 1
        factor[rows, last] *= batch.truncated.float()
        if batch.truncated.any():
            if batch.final_inputs is None:
                raise ValueError("truncated episodes without final inputs: see vlarl.collector.add_final_inputs")
            following[rows[batch.truncated], last[batch.truncated]] = batch.final_inputs["state"][batch.truncated]
        values = (state[valid], actions[valid], batch.rewards[valid], following[valid], factor[valid])
        self.append(dict(zip(FIELDS, values, strict=True)))
        return len(values[0])

    def sample(self, generator: np.random.Generator, number: int) -> dict[str, Tensor]:
        """Transitions drawn with replacement."""
        rows = generator.integers(0, self.size, number)
        return {name: torch.from_numpy(column.numpy().take(rows, axis=0)) for name, column in self.columns.items()}

    def append(self, values: dict[str, Tensor]) -> None:
        """Append transitions: ``FIELDS``, each ``[N, ...]``."""
        number = len(values["reward"])
        if number > self.capacity:
            values, number = {name: value[-self.capacity :] for name, value in values.items()}, self.capacity
        if not self.columns:
            self.columns = {name: value.new_zeros((0, *value.shape[1:])) for name, value in values.items()}
        self._grow(min(self.capacity, self.position + number))
        places = (self.position + torch.arange(number)) % self.capacity
        for name, value in values.items():
            self.columns[name][places] = value
        self.position = (self.position + number) % self.capacity
        self.size = min(self.capacity, self.size + number)

    def _grow(self, needed: int) -> None:
        """Make room by doubling, so that a short run takes little memory."""
        held = len(self.columns["reward"])
        if needed <= held:
            return
        length = min(self.capacity, max(needed, 2 * held, 4096))
        for name, column in self.columns.items():
            larger = column.new_zeros((length, *column.shape[1:]))
            larger[:held] = column
            self.columns[name] = larger

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the filled part."""
        columns = {name: column[: self.size] for name, column in self.columns.items()}
        return {"columns": columns, "size": self.size, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.columns = {name: column.clone() for name, column in state["columns"].items()}
        self.size, self.position = int(state["size"]), int(state["position"])
