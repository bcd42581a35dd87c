"""Brings episodes from elsewhere (replay, demonstrations) into a batch; see ``vlarl.objectives.archive``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlarl.objectives.advantages import group_members
from vlarl.objectives.archive import Archive, Demonstrations, Replay, concatenate, median_advantage
from vlarl.types import RolloutBatch

HISTORY = 50
"""Iterations whose mean returns the replay's baseline remembers."""


class ForeignEpisodes:
    """The archives of one objective."""

    def __init__(self, replay: Replay, demonstrations: Demonstrations) -> None:
        self.replay_config = replay
        self.demonstration_config = demonstrations
        self.wanted = replay.capacity > 0 or demonstrations.mode != "none"
        self.replay = Archive(replay.capacity)
        self.own = Archive(demonstrations.capacity)
        self.given: RolloutBatch | None = None
        self.history: deque[float] = deque(maxlen=HISTORY)

    def add_demonstrations(self, batch: RolloutBatch) -> None:
        """Episodes of another policy, all taken for successes."""
        self.given = batch if self.given is None else concatenate([self.given, batch])

    def join(
        self,
        chosen: RolloutBatch,
        played: RolloutBatch,
        iteration: int,
        log_probs: Callable[[RolloutBatch], Tensor],
    ) -> tuple[RolloutBatch, dict[str, float]]:
        """Add to an iteration's batch what it can use, and remember what later ones can.

        Args:
            chosen: what is learned from, with advantages.
            played: all episodes of the iteration.
            iteration: its number.
            log_probs: log-probabilities of a batch's tokens under the present policy.
        """
        metrics: dict[str, float] = {}
        result = chosen
        if self.replay_config.capacity:
            result, metrics = self._with_replay(result, played, iteration)
        if self.demonstration_config.mode != "none":
            result, more = self._with_demonstrations(result, played, log_probs)
            metrics |= more
            self.own.add(_plain(played.select(played.succeeded.nonzero()[:, 0])), iteration)
        return result, metrics

    def _with_replay(
        self, chosen: RolloutBatch, played: RolloutBatch, iteration: int
    ) -> tuple[RolloutBatch, dict[str, float]]:
        self.history.append(float(played.returns.mean()))
        self.replay.drop_older(iteration - self.replay_config.patience)
        parts, count = [_flagged(chosen, "replayed", 0.0)], 0
        if self.replay.batch is not None and len(self.replay):
            advantages = median_advantage(self.replay.batch.returns, self.history)
            rows = (advantages > 0).nonzero()[:, 0]
            count = len(rows)
            old = self.replay.batch.select(rows)
            old.advantages = (advantages[rows] * self.replay_config.weight(iteration))[
                :, None, None, None
            ] * old.token_mask
            parts.append(_flagged(old, "replayed", 1.0))
        good = torch.zeros(0, dtype=torch.int64)
        if len(chosen):
            assert chosen.advantages is not None
            good = (chosen.advantages.flatten(1).amax(1) > self.replay_config.threshold).nonzero()[:, 0]
        self.replay.add(_plain(chosen.select(good)), iteration)
        return concatenate([part for part in parts if len(part)] or parts[:1]), {"replayed": float(count)}

    def _with_demonstrations(
        self, chosen: RolloutBatch, played: RolloutBatch, log_probs: Callable[[RolloutBatch], Tensor]
    ) -> tuple[RolloutBatch, dict[str, float]]:
        config, source = self.demonstration_config, self.given if self.given is not None else self.own.batch
        chosen = _flagged(chosen, "demonstration", 0.0)
        if source is None or not len(source):
            return chosen, {"demonstrations": 0.0}
        rows, targets = [], []
        for members in group_members(played.groups):
            start = None if played.starts is None else played.starts[members[0]]
            row = _nearest_start(source, start)
            if row is not None and (config.mode == "external" or int(played.succeeded[members].sum()) <= config.gate):
                rows.append(row)
                targets.append((int(played.groups[members[0]]), float(1.0 - played.returns[members].mean())))
        if not rows:
            return chosen, {"demonstrations": 0.0}
        shown = _plain(source.select(rows))
        shown.groups = torch.tensor([group for group, _ in targets])
        shown.old_log_probs = log_probs(shown)
        shown.advantages = torch.tensor([value for _, value in targets])[:, None, None, None] * shown.token_mask
        if config.mode == "hybrid" and len(chosen):
            keep = ~torch.isin(chosen.groups, shown.groups)
            chosen = chosen.select(keep.nonzero()[:, 0])
        parts = [part for part in (chosen, _flagged(shown, "demonstration", 1.0)) if len(part)]
        return concatenate(parts), {"demonstrations": float(len(rows))}

    def state(self) -> dict[str, Any]:
        """For a checkpoint; demonstrations that were given are given again."""
        return {"replay": self.replay.state(), "own": self.own.state(), "history": list(self.history)}

    def load(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken."""
        self.replay.load(state["replay"])
        self.own.load(state["own"])
        self.history = deque(state["history"], maxlen=HISTORY)


def _nearest_start(source: RolloutBatch, start: Tensor | None) -> int | None:
    """The newest episode of the same task and initial state, else of the same task; None if there is neither."""
    if start is None or source.starts is None:
        return len(source) - 1
    for same in ((source.starts == start).all(1), source.starts[:, 0] == start[0]):
        rows = same.nonzero()[:, 0]
        if len(rows):
            return int(rows[-1])
    return None


def _flagged(batch: RolloutBatch, name: str, value: float) -> RolloutBatch:
    batch.columns[name] = torch.full(batch.decision_mask.shape, value)
    return batch


def _plain(batch: RolloutBatch) -> RolloutBatch:
    """Without what belongs to one iteration only."""
    batch.columns, batch.final_inputs = {}, None
    if batch.advantages is None:
        batch.advantages = torch.zeros_like(batch.old_log_probs)
    return batch
