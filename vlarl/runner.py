"""Where rollout and update happen. ``LocalRunner``: one process that learns, simulator workers beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from vlarl.collector import Collector
from vlarl.env_protocol import EpisodeSpec
from vlarl.learner import AnyLearner
from vlarl.policy import Decoding
from vlarl.reward import Watch
from vlarl.types import RolloutBatch, Trajectory


class Runner(Protocol):
    """What the trainer asks for; a cluster runner answers the same three calls."""

    def collect(
        self,
        specs: Sequence[EpisodeSpec],
        decoding: Decoding,
        on_episode: Callable[[Trajectory], None] | None,
        annealing: Callable[[int], float] | None = None,
        watch: Watch | None = None,
    ) -> list[Trajectory]:
        """Play the specs with the newest weights."""
        ...

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float) -> dict[str, float]:
        """Improve the policy and publish the new weights to whoever collects."""
        ...

    def close(self) -> None:
        """Free workers."""
        ...


class LocalRunner:
    """Collector and learner share the policy object, so publishing weights is free."""

    def __init__(self, collector: Collector, learner: AnyLearner) -> None:
        self.collector = collector
        self.learner = learner

    def collect(
        self,
        specs: Sequence[EpisodeSpec],
        decoding: Decoding,
        on_episode: Callable[[Trajectory], None] | None = None,
        annealing: Callable[[int], float] | None = None,
        watch: Watch | None = None,
    ) -> list[Trajectory]:
        """Play the specs."""
        return self.collector.collect(specs, decoding, on_episode=on_episode, annealing=annealing, watch=watch)

    def update(self, batch: RolloutBatch, *, seed: int, iteration: int, progress: float) -> dict[str, float]:
        """Update the shared policy."""
        return self.learner.update(batch, seed=seed, iteration=iteration, progress=progress)

    def close(self) -> None:
        """Stop the simulator workers."""
        self.collector.vec_env.close()
