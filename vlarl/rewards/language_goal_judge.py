"""What all language-goal rewards share: which frames are looked at, and how similar they are to which sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlarl.env_protocol import Float32Array, Observation, UInt8Image
from vlarl.errors import ConfigError, UserError, unknown_name
from vlarl.rewards.language_goal_model import ImageTextModel
from vlarl.rewards.language_goal_scorer import FrameScorer
from vlarl.types import Trajectory, check_finite


@dataclass(frozen=True, kw_only=True)
class JudgeConfig:
    """The image-text model and how it is asked."""

    model: str = "assets/driving_clip"
    """Folder of a CLIP or SigLIP of transformers."""
    camera: str = "birds_eye"
    """Which of ``Observation.images`` is scored."""
    device: str = "auto"
    batch: int = 64
    """Frames that are scored together."""
    blocking: bool = False
    """Score in the simulation's thread, for comparison."""
    patience: float = 300.0
    """Seconds without an answer after which the run stops."""

    def __post_init__(self) -> None:
        if self.batch < 1 or not self.patience > 0:
            raise ConfigError(f"judge.batch is {self.batch} and judge.patience {self.patience}; expected more than 0")


class Judge:
    """Scores the frame after every decision against groups of sentences.

    Args:
        name: of the reward, for messages and the trajectory's notes.
        config: model and batches.
        goals: groups of sentences; a picture is as similar to a group as to its most similar sentence.
    """

    def __init__(self, name: str, config: JudgeConfig, goals: Sequence[Sequence[str]]) -> None:
        empty = [number for number, goal in enumerate(goals) if not goal]
        if empty:
            raise ConfigError(f"the reward '{name}' needs at least one sentence in each of its goals")
        self.name, self.config = name, config
        self.model = ImageTextModel(config.model, device=config.device)
        self._texts = [self.model.embed_texts(goal) for goal in goals]

    @cached_property
    def scorer(self) -> FrameScorer:
        """Made at the first frame: its thread is for the process that trains."""
        config = self.config
        return FrameScorer(self._score, size=config.batch, blocking=config.blocking, patience=config.patience)

    def goal_similarity(self, first: int, second: int) -> float:
        """Of the first sentences of two goals."""
        return float(self._texts[first][0] @ self._texts[second][0])

    def watch(self, trajectory: Trajectory, observation: Observation) -> None:
        """Hand in the frame that a decision led to.

        Raises:
            UserError: the environment does not draw that camera.
            ScoringError: the scorer has failed.
        """
        frame = observation.images.get(self.config.camera)
        if frame is None:
            there = sorted(observation.images)
            hint = "Driving draws birds_eye with --env.resolution 64."
            raise UserError(f"the reward '{self.name}': " + unknown_name("camera", self.config.camera, there, hint))
        trajectory.notes.setdefault(self.name, []).append(self.scorer.submit(frame))

    def similarities(self, trajectory: Trajectory) -> NDArray[np.float32]:
        """``float32 [decision, goal]``; waits for what is still being scored.

        Raises:
            UserError: the episode was not watched while it was played.
            ScoringError: the scorer has failed.
            NotFiniteError: a similarity is NaN or infinite.
        """
        tickets = trajectory.notes.get(self.name, [])
        if len(tickets) != len(trajectory.outputs):
            raise UserError(
                f"the reward '{self.name}' has seen {len(tickets)} frames of an episode of {len(trajectory.outputs)} "
                "decisions: it scores frames while they are drawn. Collect with watch=watching(rewards)."
            )
        rows = np.stack([self.scorer.result(ticket) for ticket in tickets])
        check_finite(f"similarity of reward term '{self.name}'", rows, trajectory.spec)
        return rows

    def _score(self, frames: Sequence[UInt8Image]) -> Float32Array:
        seen = self.model.embed_images(frames)
        return np.stack([(seen @ texts.T).max(axis=1) for texts in self._texts], axis=1)
