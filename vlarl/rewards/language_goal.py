"""How similar pictures are to sentences: contrasting language goals (VLM-RL), LORD, VLM-RM, VLM-SR, RoboCLIP.

Per decision, from the frame after it. Works with any environment whose observations hold pictures; ``lord_speed`` needs
the driving world. The formulas, with sources, are in :mod:`vlarl.rewards.language_goal_formulas`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vlarl.env_protocol import Float32Array, Observation
from vlarl.errors import ConfigError, unknown_name
from vlarl.rewards import language_goal_formulas as formulas
from vlarl.rewards.language_goal_driving import motion, to_kmh
from vlarl.rewards.language_goal_judge import Judge, JudgeConfig
from vlarl.types import Trajectory

FORMS = ("clg", "lord", "lord_speed", "vlm_rm", "vlm_sr", "roboclip")


@dataclass(frozen=True, kw_only=True)
class LanguageGoalConfig:
    """A reward from language alone."""

    form: str = "clg"
    """``clg``: alpha positive - beta negative. ``lord``: 1 - negative. ``lord_speed``: and near a speed.
    ``vlm_rm``: from a baseline towards the goal. ``vlm_sr``: 1 or -1 by a threshold. ``roboclip``: similarity."""
    positive: tuple[str, ...] = ("The road is clear with no car accidents",)
    """The goal; of several sentences the most similar one counts."""
    negative: tuple[str, ...] = ("Two cars have collided with each other on the road",)
    """What must not be."""
    baseline: str = "A car is on the road"
    """Of ``vlm_rm``: what is so anyway."""
    alpha: float = 1.0
    """Weight of the goal in ``clg``; strength of the projection in ``vlm_rm`` (published: 0.5)."""
    beta: float = 1.0
    """Weight of what must not be in ``clg``; the paper has alpha + beta = 1, its code 1 and 1."""
    threshold: float = 0.32
    """Of ``vlm_sr``."""
    wanted_speed: float = 20.0
    """Of ``lord_speed``, km/h."""
    scale: float = 1.0
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ConfigError(unknown_name("form of language goal", self.form, FORMS))

    def build(self) -> LanguageGoal:
        """Load the model and embed the sentences, once."""
        return LanguageGoal(self)


class LanguageGoal:
    """The term itself."""

    name = "language_goal"

    def __init__(self, config: LanguageGoalConfig) -> None:
        self.config = config
        goals = [config.positive, config.negative, *([(config.baseline,)] if config.form == "vlm_rm" else [])]
        self.judge = Judge(self.name, config.judge, goals)

    def watch(self, trajectory: Trajectory, observation: Observation) -> None:
        """Hand in the frame after a decision."""
        self.judge.watch(trajectory, observation)

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory.

        Raises:
            UserError: an episode was not watched, or ``lord_speed`` without the driving world.
            ScoringError: the scorer has failed.
            NotFiniteError: a similarity is NaN or infinite.
        """
        return [(self.config.scale * self._value(t)).astype(np.float32) for t in trajectories]

    def _value(self, trajectory: Trajectory) -> formulas.Floats:
        config, rows = self.config, self.judge.similarities(trajectory)
        positive, negative = rows[:, 0], rows[:, 1]
        forms: dict[str, Callable[[], formulas.Floats]] = {
            "clg": lambda: formulas.contrast(positive, negative, config.alpha, config.beta),
            "lord": lambda: formulas.lord(negative),
            "lord_speed": lambda: formulas.lord_speed(
                negative, _last_speed(self.name, trajectory), config.wanted_speed
            ),
            "vlm_rm": lambda: formulas.goal_baseline(
                positive, rows[:, 2], self.judge.goal_similarity(0, 2), config.alpha
            ),
            "vlm_sr": lambda: formulas.thresholded(positive, config.threshold),
            "roboclip": lambda: positive.astype(np.float64),
        }
        return forms[config.form]()


def _last_speed(name: str, trajectory: Trajectory) -> formulas.Floats:
    """km/h after each decision."""
    return np.array([to_kmh(moved[-1, 0]) for moved in motion(name, trajectory)])
