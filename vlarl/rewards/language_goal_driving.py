"""VLM-RL's hierarchical synthesis (arXiv 2412.15544): language sets the wanted speed, the vehicle's state the rest.

Per control step ``r = r_speed f_centre f_angle f_steady``: see :func:`vlarl.rewards.language_goal_formulas.synthesis`;
language is the contrast of a clear road and of what must not be, on the frame after the decision, mapped to [0, 1].
Where the episode fails, ``failure`` stands in place of the last step's reward, as in VLM-RL. Unlike there, routes end
(see ``success``), and an episode cut off by the time limit keeps its future: rewards are there before advantages are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vlarl.env_protocol import Float32Array, Observation, Outcome
from vlarl.errors import ConfigError, UserError
from vlarl.rewards.language_goal_formulas import Floats, contrast, lasting_deviation, normalised, synthesis
from vlarl.rewards.language_goal_judge import Judge, JudgeConfig
from vlarl.types import Trajectory

EVENT = "drive/motion"


@dataclass(frozen=True, kw_only=True)
class LanguageGoalDrivingConfig:
    """The synthesised reward."""

    positive: tuple[str, ...] = ("The road is clear with no car accidents",)
    """Of several sentences the most similar one counts."""
    negative: tuple[str, ...] = ("Two cars have collided with each other on the road",)
    alpha: float = 1.0
    """Weight of ``positive``; the paper has alpha + beta = 1, its code 1 and 1."""
    beta: float = 1.0
    """Weight of ``negative``."""
    low: float = -0.03
    """Contrast at which the wanted speed is 0. It belongs to the model: VLM-RL's is for CLIP ViT-bigG-14."""
    high: float = 0.0
    """Contrast from which on it is the top speed."""
    top_speed: float = 25.0
    """km/h."""
    most_distance: float = 3.0
    """Metres from the route's centre at which nothing is left."""
    most_angle: float = 90.0
    """Degrees to the route at which nothing is left."""
    most_deviation: float = 0.4
    """Standard deviation of the distance [m] at which nothing is left."""
    deviation_steps: int = 20
    """Control steps over which it is taken: 2 s, as VLM-RL's 30 at 15 per second."""
    failure: float = -10.0
    """In place of the reward of the step in which the episode fails."""
    success: float = 0.0
    """Added where the route is completed and the episode ends. VLM-RL appends new routes, so that driving on pays;
    without either, standing still before the end of the route pays most."""
    scale: float = 1.0
    discount: float = 1.0
    """Within a chunk, per control step: ``R = sum_j discount^j r_j``."""
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"low is {self.low} and high {self.high}; expected low < high")
        least = min(self.top_speed, self.most_distance, self.most_angle, self.most_deviation, self.deviation_steps)
        if least <= 0:
            raise ConfigError("top_speed, deviation_steps and every most_... need to be more than 0")

    def build(self) -> LanguageGoalDriving:
        """Load the model and embed the sentences, once."""
        return LanguageGoalDriving(self)


class LanguageGoalDriving:
    """The term itself."""

    name = "language_goal_driving"

    def __init__(self, config: LanguageGoalDrivingConfig) -> None:
        self.config = config
        self.judge = Judge(self.name, config.judge, [config.positive, config.negative])

    def watch(self, trajectory: Trajectory, observation: Observation) -> None:
        """Hand in the frame after a decision."""
        self.judge.watch(trajectory, observation)

    def score(self, trajectories: Sequence[Trajectory]) -> list[Float32Array]:
        """``float32 [decision]`` per trajectory.

        Raises:
            UserError: an episode was not watched, or not played in the driving world.
            ScoringError: the scorer has failed.
            NotFiniteError: a similarity is NaN or infinite.
        """
        return [self._rewards(trajectory) for trajectory in trajectories]

    def language(self, trajectory: Trajectory) -> Floats:
        """``[decision]`` in [0, 1]: how clear the road is."""
        config, rows = self.config, self.judge.similarities(trajectory)
        return normalised(contrast(rows[:, 0], rows[:, 1], config.alpha, config.beta), config.low, config.high)

    def _rewards(self, trajectory: Trajectory) -> Float32Array:
        config, moved = self.config, motion(self.name, trajectory)
        counts = [len(steps) for steps in moved]
        speed, distance, angle = np.concatenate(moved).T
        rewards = synthesis(
            np.repeat(self.language(trajectory), counts),
            to_kmh(speed),
            distance,
            np.degrees(angle),
            lasting_deviation(distance, config.deviation_steps),
            top_speed=config.top_speed,
            most_distance=config.most_distance,
            most_angle=config.most_angle,
            most_deviation=config.most_deviation,
        )
        if trajectory.outcome is Outcome.FAILURE:
            rewards[-1] = config.failure
        elif trajectory.outcome is Outcome.SUCCESS:
            rewards[-1] += config.success
        parts = np.split(rewards, np.cumsum(counts)[:-1])
        sums = [math.fsum(part * config.discount ** np.arange(len(part))) for part in parts]
        return (config.scale * np.array(sums)).astype(np.float32)


def motion(name: str, trajectory: Trajectory) -> list[Floats]:
    """Per decision ``[executed steps, 3]``: speed [m/s], distance from the route's centre [m], angle to it [rad].

    Raises:
        UserError: the episode was not played in the driving world.
    """
    if not trajectory.events or any(EVENT not in events for events in trajectory.events):
        raise UserError(
            f"the reward '{name}' needs the event {EVENT!r} at every decision; suite {trajectory.spec.suite!r} does "
            "not give it. Play a driving suite, for example drive_grid_town, or take 'language_goal' with another form."
        )
    told = zip(trajectory.events, trajectory.executed, strict=True)
    return [events[EVENT][executed].astype(np.float64) for events, executed in told]


def to_kmh(speed: Floats) -> Floats:
    """From m/s."""
    return 3.6 * speed
