"""What a training run is: nested frozen dataclasses, built by the functions in ``configs/``.

A config file picks the classes (environment, rewards, objective), flags tune their fields. The resolved
object is written to the run folder as ``config.json``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vlarl.curriculum import CurriculumConfig
from vlarl.env_protocol import EnvConfig
from vlarl.errors import ConfigError
from vlarl.learner import LearnerConfig
from vlarl.objective import ObjectiveConfig
from vlarl.policy import Decoding, LoadConfig
from vlarl.reward import RewardConfig


def _require(condition: bool, field: str, found: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field} is {found}; expected {expected}")


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How episodes are drawn and played."""

    groups: int = 8
    """Groups per iteration; every group shares one task and one initial state."""
    group_size: int = 8
    """Episodes per group."""
    temperature: float = 1.2
    """Sampling temperature over the action tokens."""
    max_draws: int = 1
    """Draw further groups, up to this many times, until ``groups`` of them carry signal (dynamic sampling)."""
    min_steps: int = 0
    """Draw further groups until this many control steps were played, whole episodes; 0: a fixed number of episodes."""
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    """Prefer starts that are solved half of the time."""
    workers: int = 2
    """Simulator processes; 0: simulate in this one, for environments that take microseconds or step slots together."""
    slots: int = 16
    """Episodes in flight."""
    watchdog_seconds: float = 180.0
    """A simulator that takes longer over one request is killed and its episodes count as errors."""

    def __post_init__(self) -> None:
        _require(self.groups >= 1, "rollout.groups", self.groups, "at least 1")
        _require(self.group_size >= 1, "rollout.group_size", self.group_size, "at least 1")
        _require(self.temperature > 0, "rollout.temperature", self.temperature, "more than 0")
        _require(self.max_draws >= 1, "rollout.max_draws", self.max_draws, "at least 1")
        _require(self.min_steps >= 0, "rollout.min_steps", self.min_steps, "0 or more")
        _require(self.workers >= 0, "rollout.workers", self.workers, "0 or more")
        _require(self.slots >= 1, "rollout.slots", self.slots, "at least 1")
        _require(self.slots >= self.workers, "rollout.slots", self.slots, f"at least rollout.workers = {self.workers}")
        _require(self.watchdog_seconds > 0, "rollout.watchdog_seconds", self.watchdog_seconds, "more than 0")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is evaluated before and after training, and every so often in between."""

    every: int = 0
    """Iterations between evaluations during training; 0: only before and after."""
    episodes_per_task: int = 80
    tasks: tuple[int, ...] = ()
    """Task indices that are evaluated; empty: those that are trained on."""
    suites: tuple[str, ...] = ()
    """Further suites of the same environment, evaluated in files of their own."""
    suite_tasks: tuple[int, ...] = ()
    """Task indices evaluated of each further suite; empty: all."""
    decodings: tuple[Decoding, ...] = (Decoding(mode="sample", temperature=1.0), Decoding(mode="greedy"))
    """The first one is the headline; the others are reported beside it."""
    seed: int = 20_000
    """Evaluation noise; never shared with training."""
    reference_profile: bool = True
    """Evaluate the result on the simulator's stock pixels too, if training used a faster render profile."""

    def __post_init__(self) -> None:
        _require(self.every >= 0, "evaluation.every", self.every, "0 or more")
        _require(self.episodes_per_task >= 1, "evaluation.episodes_per_task", self.episodes_per_task, "at least 1")
        _require(len(self.decodings) >= 1, "evaluation.decodings", "empty", "at least one")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One run of ``vlarl train``."""

    name: str
    policy: str
    """Checkpoint folder to start from: ours, or OpenVLA / OpenVLA-OFT as published."""
    env: EnvConfig
    suite: str
    tasks: tuple[int, ...] = ()
    """Task indices within the suite; empty: all of them."""
    split: str = "heldout"
    """Initial-state split: ``heldout`` or ``official``."""
    iterations: int = 50
    """The run ends after so many."""
    steps: int = 0
    """The run ends earlier with the iteration that reaches so many control steps, which the learning rate's decay then
    follows: an equal budget for runs whose episodes differ in length. 0: no such limit."""
    seed: int = 0
    rewards: tuple[RewardConfig, ...]
    objective: ObjectiveConfig
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    load: LoadConfig = field(default_factory=LoadConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint_every: int = 1
    """Iterations between checkpoints; the last two are kept."""
    trackers: tuple[str, ...] = ()
    """Where metrics go besides ``metrics.jsonl``: ``tensorboard`` (extra ``viz``)."""
    videos: bool = True
    """Write mp4 videos of a success and a failure at the end."""
    imitation_reference: str = ""
    """JSON file with what imitation with more demonstrations gives; shown in the report beside the result."""

    def __post_init__(self) -> None:
        _require(self.iterations >= 0, "iterations", self.iterations, "0 or more")
        _require(self.steps >= 0, "steps", self.steps, "0 or more")
        _require(self.checkpoint_every >= 1, "checkpoint_every", self.checkpoint_every, "at least 1")
        _require(len(self.rewards) >= 1, "rewards", "empty", "at least one reward term")
        _require(len(set(self.tasks)) == len(self.tasks), "tasks", self.tasks, "each task once")
