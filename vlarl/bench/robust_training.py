"""What the contenders of ``vlarl bench robust`` train with.

RNAC ("Natural Actor-Critic for Robust Reinforcement Learning with Function Approximation", arXiv 2307.08875) is PPO
with one of two uncertainty sets around the training model:

``rnac_ds``
    Double sampling: MuJoCo is made random by uniform noise of up to 0.005 on the action; at every step ``SAMPLES`` next
    states are tried, and one of them is taken by lot, the one that the critic values least with one lot more.
``rnac_ipm``
    Integral probability metric: 1e-5 times the norm of the critic's weights is taken off every reward in the advantages
    (``Critic.uncertainty``).

Deviations: PPO is ours (``configs/mujoco_ppo.py``: returns normalised in place of scaled rewards, no entropy bonus).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.mujoco_dynamics import DynamicsConfig, DynamicsSlot, Range, calibrate_radius, realised_distances
from vlarl.bench.learning_curves import thinned
from vlarl.collector import Collector, add_final_inputs
from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, StepResult
from vlarl.learner import AnyLearner, LearnerConfig, make_learner
from vlarl.local_slots import LocalSlots
from vlarl.nn.low_rank import RankRule
from vlarl.objectives.adarl import AdaRlConfig, adarl_faithful, adarl_repaired
from vlarl.objectives.sac import SacConfig
from vlarl.policies.mlp import FactoredMlp, MlpPolicy, SquashedMlp
from vlarl.policy import Decoding
from vlarl.resolve import resolve
from vlarl.reward import score_all
from vlarl.rewards.environment import EnvironmentConfig
from vlarl.specs import training_groups
from vlarl.types import Trajectory, stack_trajectories

if TYPE_CHECKING:
    from vlarl.bench.robust import Options

SAMPLES = 2
"""Next states tried by double sampling."""
ACTION_NOISE = 5e-3
"""Largest noise on an action, in its own units."""
IPM_WEIGHT = 1e-5
PARSEVAL_WEIGHT = 1e-4
Worst = Callable[[list[Float32Array]], int]
"""Which of some states ``[S]`` is the worst."""


def play(
    name: str,
    seed: int,
    options: Options,
    grid: Mapping[str, tuple[float, ...]],
    ranks: list[int],
    score: Callable[[Any], Callable[[], float]],
) -> tuple[Any, dict[str, Any]]:
    """Train one contender.

    Args:
        name: which.
        seed: of weights and episodes.
        options: of the study.
        grid: parameter -> values that it is evaluated at, whose range training models are drawn from.
        ranks: of the repaired AdaRL run with this seed, for ``sac_final_rank``.
        score: makes the score by which AdaRL takes cuts back, from the policy.

    Returns:
        The policy, and what is recorded of its training.
    """
    env, started = training_env(options, grid), time.perf_counter()
    distances = realised_distances(env)
    policy, learner = make(name, env, seed, options, ranks)
    if hasattr(learner, "evaluate"):
        learner.evaluate = score(policy)
    if name == "rnac_ds":
        env = DoubleSamplingConfig(**{f.name: getattr(env, f.name) for f in fields(env)}, worst=worst_by(learner))
    term, tasks = EnvironmentConfig().build(), env.task_specs("gymnasium")
    steps_per_update = resolve("mujoco_ppo", "configs", "config")().rollout.min_steps if is_ppo(name) else 1
    curve, played, iteration = [], 0, 0
    with LocalSlots(env) as slots:
        collector = Collector(policy, slots)
        while played < options.steps:
            episodes: list[Trajectory] = []
            while sum(episode.num_steps for episode in episodes) < steps_per_update:
                place = {"seed": seed, "iteration": iteration, "draw": len(episodes)}
                specs = training_groups(tasks, split="official", groups=1, group_size=1, **place)
                episodes += collector.collect(specs, Decoding())
            score_all([term], episodes)
            add_final_inputs(policy, episodes, Decoding())
            progress = played / options.steps
            learner.update(stack_trajectories(episodes), seed=seed, iteration=iteration, progress=progress)
            for episode in episodes:
                played += episode.num_steps
                curve.append([played, episode.env_return])
            iteration += 1
    return policy, {
        "protocol": env.protocol(),
        "distance": {"mean": float(np.mean(distances)), "max": max(distances), "models": len(distances)},
        "steps": played,
        "seconds": time.perf_counter() - started,
        "curve": thinned(curve),
        "ranks": list(getattr(learner, "ranks", None) or []),
        "cuts": list(learner.controller.history) if hasattr(learner, "controller") else [],
    }


def training_env(options: Options, grid: Mapping[str, tuple[float, ...]]) -> DynamicsConfig:
    """The environment whose models vary from episode to episode."""
    if options.sampler == "sinusoid":
        return DynamicsConfig(env_id=options.env_id, sampler="sinusoid")
    ranges = tuple(
        Range(name=name, low=min(values), high=max(values)) for name, values in grid.items() if name != "delay"
    )
    config = DynamicsConfig(env_id=options.env_id, sampler="uniform", ranges=ranges)
    return replace(config, radius=calibrate_radius(config, options.distance)[0])


def is_ppo(name: str) -> bool:
    """Whether a contender learns from whole batches of fresh episodes."""
    return name == "ppo" or name.startswith("rnac")


def make(name: str, env: Any, seed: int, options: Options, ranks: list[int]) -> tuple[Any, Any]:
    """Policy and learner of a contender."""
    if is_ppo(name):
        base = resolve("mujoco_ppo", "configs", "config")()
        critic = replace(base.objective.critic, uncertainty=IPM_WEIGHT if name == "rnac_ipm" else 0.0)
        policy: Any = MlpPolicy.for_env(env, seed=seed)
        return policy, make_learner(policy, replace(base.objective, critic=critic), base.learner, seed=seed)
    common: dict[str, Any] = {"hidden": (64, 64), "learning_starts": options.learning_starts}
    if name in ("sac", "parseval"):
        policy = SquashedMlp.for_env(env, seed=seed, hidden=(64, 64))
        objective: Any = SacConfig(**common, parseval=PARSEVAL_WEIGHT if name == "parseval" else 0.0)
    elif name == "sac_full_rank":
        policy = FactoredMlp.for_env(env, seed=seed)
        objective = AdaRlConfig(**common, every=0)
    elif name == "sac_restarts":
        policy = FactoredMlp.for_env(env, seed=seed)
        objective = adarl_repaired(**common, every=options.every, rule=RankRule(minimum=64))
    elif name == "sac_final_rank":
        policy = FactoredMlp.for_env(env, seed=seed, rank=ranks[0])
        objective = AdaRlConfig(**common, every=0, rank=max(ranks[1:]))
    else:
        policy = FactoredMlp.for_env(env, seed=seed)
        mode = adarl_faithful if name == "adarl_faithful" else adarl_repaired
        objective = mode(**common, every=options.every)
    return policy, make_learner(policy, objective, LearnerConfig(learning_rate=options.learning_rate), seed=seed)


def worst_by(learner: AnyLearner) -> Worst:
    """The state that the learner's critic values least; before it has a critic, the first one."""
    import torch

    value = learner.objective.value  # pyrefly: ignore - a Learner with a critic

    def worst(states: list[Float32Array]) -> int:
        if value.network is None:
            return 0
        with torch.no_grad():
            return int(value.values({"state": torch.from_numpy(np.stack(states))}).argmin())

    return worst


@dataclass(frozen=True, kw_only=True)
class DoubleSamplingConfig(DynamicsConfig):
    """Builds slots whose next states are chosen among several."""

    worst: Worst

    def make(self) -> DoubleSamplingSlot:
        """Build one slot."""
        return DoubleSamplingSlot(self)

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name."""
        return super().protocol() | {"next_states": SAMPLES, "action_noise": ACTION_NOISE}


class DoubleSamplingSlot(DynamicsSlot):
    """One slot, and a second simulator in which next states are tried."""

    def __init__(self, config: DoubleSamplingConfig) -> None:
        super().__init__(config)
        self.worst = config.worst
        self.trial = DynamicsSlot(config)
        self.generator = np.random.default_rng()

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start both simulators with the same model."""
        self.generator = np.random.default_rng([spec.seed, spec.init_state])
        self.trial.reset(spec)
        return super().reset(spec)

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run each action with the noise whose next state was drawn."""
        results = []
        for action in actions:
            results.append(super().step_chunk(self._noisy(action)[None]))
            if results[-1].outcome.has_ended:
                break
        executed = np.arange(len(actions)) < len(results)
        reward = np.zeros(len(actions), dtype=np.float32)
        reward[: len(results)] = [result.reward[0] for result in results]
        frames = tuple(frame for result in results for frame in result.frames)
        return replace(results[-1], executed=executed, reward=reward, frames=frames)

    def close(self) -> None:
        """Free both simulators."""
        self.trial.close()
        super().close()

    def _noisy(self, action: Float32Array) -> Float32Array:
        """The action with one of ``SAMPLES`` noises; the one with the worst next state has two lots."""
        noise = self.generator.uniform(-ACTION_NOISE, ACTION_NOISE, (SAMPLES, len(action)))
        candidates = [(action + row).astype(np.float32) for row in noise]
        lot = int(self.generator.integers(SAMPLES + 1))
        return candidates[self.worst([self._next_state(one) for one in candidates]) if lot == SAMPLES else lot]

    def _next_state(self, action: Float32Array) -> Float32Array:
        here: Any = self.env.unwrapped
        there: Any = self.trial.env.unwrapped
        there.set_state(here.data.qpos, here.data.qvel)
        observation, *_ = self.trial.env.step(self._action(action))
        return np.asarray(observation, dtype=np.float32).ravel()
