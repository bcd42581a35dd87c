"""The training loop, top to bottom: draw, collect, score, prepare, update, log, save.

Every random number of an iteration is a function of (seed, iteration), so a run that was stopped at any
moment and resumed from its last checkpoint ends with the weights of one that was not stopped.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vlarl.checkpoint import latest_checkpoint, load_checkpoint, save_checkpoint
from vlarl.collector import Collector, add_final_inputs
from vlarl.config import TrainConfig
from vlarl.curriculum import Curriculum
from vlarl.driving_figures import driving_metrics
from vlarl.env_protocol import EnvConfig, EpisodeSpec, Outcome, TaskInfo
from vlarl.errors import ConfigError
from vlarl.evaluate import evaluate
from vlarl.files import read_json
from vlarl.learner import make_learner
from vlarl.make_slots import Slots, make_slots
from vlarl.policy import Decoding, TorchPolicy
from vlarl.progress import Display
from vlarl.report import write_report
from vlarl.results import display_path, write_result
from vlarl.reward import score_all, watching
from vlarl.runner import LocalRunner
from vlarl.seeding import stream
from vlarl.specs import training_groups
from vlarl.tracking import make_tracker
from vlarl.types import Trajectory, stack_trajectories
from vlarl.videos import filming, write_episode


def select_tasks(env: EnvConfig, suite: str, indices: Sequence[int]) -> list[TaskInfo]:
    """The tasks of a suite with these indices, in this order; all of them for none.

    Raises:
        ConfigError: a task index that the suite does not have.
    """
    tasks = env.task_specs(suite)
    by_index = {task.task: task for task in tasks}
    missing = [index for index in indices if index not in by_index]
    if missing:
        raise ConfigError(f"suite '{suite}' has tasks {min(by_index)}..{max(by_index)}; asked for {missing}")
    return [by_index[index] for index in indices] if indices else tasks


def evaluated_tasks(config: TrainConfig) -> dict[str, list[TaskInfo]]:
    """What a result's file name adds -> the tasks it is about; the run's own suite comes first and adds nothing."""
    plan = config.evaluation
    found = {"": select_tasks(config.env, config.suite, plan.tasks or config.tasks)}
    return found | {f"_{suite}": select_tasks(config.env, suite, plan.suite_tasks) for suite in plan.suites}


class Trainer:
    """One run in one folder.

    Args:
        config: what to do.
        policy: loaded from ``config.policy``; trained in place.
        folder: run folder, holding ``config.json`` already.
        display: live progress.
        resume: continue from the folder's last checkpoint.
    """

    def __init__(
        self, config: TrainConfig, policy: TorchPolicy, folder: Path, *, display: Display, resume: bool = False
    ) -> None:
        self.config = config
        self.policy = policy
        self.folder = folder
        self.display = display
        self.tasks = select_tasks(config.env, config.suite, config.tasks)
        self.evaluated = evaluated_tasks(config)
        self.command = shlex.join(["vlarl", *sys.argv[1:]])
        self.rewards = [term.build() for term in config.rewards]
        self.learner = make_learner(policy, config.objective, config.learner, seed=config.seed)
        self.annealing = next(iter(getattr(config.objective, "temperature", ())), None)
        self.curriculum = Curriculum(config.rollout.curriculum)
        self.iteration = 0
        self.steps = 0
        """Control steps of all iterations."""
        self.train_seconds = 0.0
        if resume:
            self._restore()
        self.tracker = make_tracker(folder, config.trackers, resume_step=self.iteration if resume else None)

    def fit(self) -> None:
        """Evaluate, train, evaluate, save."""
        with self._pool(self.config.env) as pool:
            runner = LocalRunner(Collector(self.policy, pool), self.learner)
            self._evaluate(runner.collector, "before")
            ranks = getattr(self.learner, "adapter_ranks", None)
            if ranks is not None and ranks.config.score_episodes:
                ranks.score = partial(self._score, runner.collector, ranks.config.score_episodes)
            while self.progress < 1.0:
                metrics = self._train_iteration(runner, pool)
                self.iteration += 1
                self.steps += int(metrics["env_steps"])
                self.tracker.log(metrics, self.iteration)
                self.display.iteration(self.iteration, metrics, self.progress)
                if self.iteration % self.config.checkpoint_every == 0 or self.progress >= 1.0:
                    self._save()
                every = self.config.evaluation.every
                if every and self.iteration % every == 0 and self.progress < 1.0:
                    with self.learner.averaged():
                        self._evaluate(runner.collector, f"iteration_{self.iteration:04d}")
            with self.learner.averaged():
                self.policy.save_pretrained(self.folder / "policy", card={"trained_by": self.command})
                self._evaluate(runner.collector, "after")
        self.tracker.close()
        with self.learner.averaged():
            self._evaluate_reference()
            if self.config.videos:
                self._record_videos()
        if self.config.imitation_reference:
            shutil.copyfile(self.config.imitation_reference, self.folder / "imitation.json")
        write_report(self.folder)

    @property
    def progress(self) -> float:
        """Finished share of the run; 1 or more: it is over."""
        config = self.config
        done = self.iteration / config.iterations if config.iterations else 1.0
        return max(done, self.steps / config.steps) if config.steps else done

    def _train_iteration(self, runner: LocalRunner, pool: Slots) -> dict[str, float]:
        """Draw, collect, score, prepare, update; returns everything worth logging."""
        started, main_cpu, worker_cpu = time.perf_counter(), time.process_time(), pool.cpu_seconds
        trajectories, metrics = self._collect(runner)
        usable = [t for t in trajectories if t.outcome is not Outcome.ERROR]
        if usable:
            reward_started = time.perf_counter()
            score_all(self.rewards, usable)
            metrics["seconds/reward"] = time.perf_counter() - reward_started
            metrics["reward"] = sum(t.total_reward() for t in usable) / len(usable)
            if self.learner.bootstraps:
                add_final_inputs(self.policy, usable, Decoding(temperature=self.config.rollout.temperature))
            batch = stack_trajectories(usable, annealed=self.annealing is not None)
            metrics |= runner.update(
                batch,
                seed=self.config.seed,
                iteration=self.iteration,
                progress=self.progress,
            )
        wall = time.perf_counter() - started
        cores = max(1, min(self.config.rollout.workers, os.cpu_count() or 1))
        busy = time.process_time() - main_cpu + pool.cpu_seconds - worker_cpu
        self.train_seconds += wall
        return metrics | {
            "iteration_seconds": wall,
            "seconds": self.train_seconds,
            "idle_fraction": max(0.0, 1.0 - busy / (wall * cores)),
            "busy_core_seconds": busy,
            "worker_deaths": float(pool.deaths),
            "peak_memory_gb": self._peak_memory_gb(pool),
        }

    def _collect(self, runner: LocalRunner) -> tuple[list[Trajectory], dict[str, float]]:
        """Collect until enough groups carry signal (or ``max_draws`` is reached)."""
        rollout = self.config.rollout
        decoding = Decoding(mode="sample", temperature=rollout.temperature)
        collected: list[Trajectory] = []
        watch = watching(self.rewards)
        stats = {"simulate": 0.0, "render": 0.0, "policy": 0.0, "rollout": 0.0, "steps": 0.0}
        annealing = self.annealing and partial(self.annealing.temperature, iteration=self.iteration)
        for draw in range(sys.maxsize if rollout.min_steps else rollout.max_draws):
            specs = self._draw(draw)
            self.display.phase("rollout", len(specs))
            collected += runner.collect(specs, decoding, self.display.episode, annealing, watch)
            cost = runner.collector.stats
            stats["rollout"] += cost.seconds
            stats["policy"] += cost.policy_seconds
            stats["steps"] += cost.steps
            for name, seconds in cost.phases.items():
                stats[name] = stats.get(name, 0.0) + seconds
            if rollout.min_steps:
                if stats["steps"] >= rollout.min_steps:
                    break
            elif rollout.max_draws > 1 and _groups_with_signal(collected) >= rollout.groups:
                break
        self.display.phase("update", 0)
        scored = [t for t in collected if t.outcome is not Outcome.ERROR]
        wins = [t for t in scored if t.succeeded]
        metrics = {f"seconds/{name}": value for name, value in stats.items() if name != "steps"}
        metrics |= {
            "episodes": float(len(collected)),
            "errors": float(len(collected) - len(scored)),
            "env_steps": stats["steps"],
            "env_steps_per_second": stats["steps"] / stats["rollout"],
        }
        if scored:
            metrics["success"] = len(wins) / len(scored)
            metrics["return"] = sum(t.env_return for t in scored) / len(scored)
            metrics |= driving_metrics(scored)
        if wins:
            metrics["success_steps"] = sum(t.num_steps for t in wins) / len(wins)
        if rollout.curriculum.enabled:
            metrics |= self.curriculum.note(scored)
        for task in self.tasks:
            mine = [t.succeeded for t in scored if t.spec.task == task.task]
            if mine:
                metrics[f"success/{task.suite}/{task.task}"] = sum(mine) / len(mine)
        return collected, metrics

    def _draw(self, draw: int) -> list[EpisodeSpec]:
        rollout, plan = self.config.rollout, self.config.rollout.curriculum
        specs = training_groups(
            self.tasks,
            split=self.config.split,
            groups=rollout.groups * (plan.candidates if plan.enabled else 1),
            group_size=rollout.group_size,
            seed=self.config.seed,
            iteration=self.iteration,
            draw=draw,
        )
        if plan.enabled:
            generator = stream("curriculum", self.config.seed, self.iteration, draw)
            specs = self.curriculum.choose(specs, rollout.groups, generator)
        return specs

    def _score(self, collector: Collector, episodes: int) -> float:
        """Success of the policy as it is, from training starts; within an iteration always of the same episodes."""
        specs = training_groups(
            self.tasks,
            split=self.config.split,
            groups=episodes,
            group_size=1,
            seed=self.config.evaluation.seed,
            iteration=self.iteration,
        )
        played = collector.collect(specs, self.config.evaluation.decodings[0])
        scored = [episode.succeeded for episode in played if episode.outcome is not Outcome.ERROR]
        return sum(scored) / max(len(scored), 1)

    def _evaluate(self, collector: Collector, when: str, suffix: str = "", env: Any = None) -> None:
        """Write ``eval_<when>[_<decoding>][_<suite>].json``, one per decoding and suite; those there are kept."""
        plan = self.config.evaluation
        for index, decoding in enumerate(plan.decodings if env is None else plan.decodings[:1]):
            for place, tasks in self.evaluated.items():
                name = f"eval_{when}{'' if index == 0 else '_' + decoding.label}{place}{suffix}.json"
                if (self.folder / name).exists():
                    continue
                what = f"evaluation {when}, {decoding.label}{place.replace('_', ' ')}{suffix}"
                self.display.phase(what, plan.episodes_per_task * len(tasks))
                result = evaluate(
                    collector,
                    tasks,
                    split=self.config.split,
                    episodes_per_task=plan.episodes_per_task,
                    decoding=decoding,
                    seed=plan.seed,
                    command=self.command,
                    env_protocol=(env or self.config.env).protocol(),
                    policy_name=display_path(self.config.policy if when == "before" else self.folder / "policy"),
                    on_episode=self.display.episode,
                )
                result |= {"train_seconds": self.train_seconds, "iteration": self.iteration}
                write_result(self.folder / name, result)
                self.display.result(name, result)

    def _evaluate_reference(self) -> None:
        """The trained policy on stock pixels, where training used faster ones; the first decoding only."""
        env: Any = self.config.env
        if not self.config.evaluation.reference_profile or getattr(env, "profile", "reference") == "reference":
            return
        env = replace(env, profile="reference")
        with self._pool(env) as pool:
            self._evaluate(Collector(self.policy, pool), "after", suffix="_reference", env=env)

    def _record_videos(self) -> None:
        """Replay a success and a failure of the last evaluation, every frame rendered: equal specs, equal episodes."""
        examples = read_json(self.folder / "eval_after.json")["examples"]
        wanted = {"success": examples.get("success"), "failure": examples.get("truncated") or examples.get("failure")}
        specs = {name: EpisodeSpec(**spec) for name, spec in wanted.items() if spec is not None}
        self.display.phase("videos", len(specs))
        with self._pool(filming(self.config.env), workers=1, slots=1) as pool:
            decoding = self.config.evaluation.decodings[0]
            episodes = Collector(self.policy, pool).collect(specs.values(), decoding, on_episode=self.display.episode)
        for name, episode in zip(specs, episodes, strict=True):
            write_episode(self.folder / "videos" / f"{name}.mp4", episode)

    def _pool(self, env: Any, *, workers: int | None = None, slots: int | None = None) -> Slots:
        rollout = self.config.rollout
        return make_slots(
            env,
            [(task.suite, task.task) for task in self.tasks],
            workers=rollout.workers and (workers or rollout.workers),
            slots=slots or rollout.slots,
            threads=self.config.learner.threads,
            watchdog_seconds=rollout.watchdog_seconds,
        )

    def _save(self) -> None:
        meta: dict[str, Any] = {
            "iteration": self.iteration,
            "steps": self.steps,
            "train_seconds": self.train_seconds,
        }
        if self.config.rollout.curriculum.enabled:
            meta["curriculum"] = self.curriculum.state()
        save_checkpoint(
            self.folder,
            self.iteration,
            self.policy.state_dict(),
            self.learner.state_dict(),
            meta,
            keep=2,
            write_extra=self.policy.save_pretrained,
        )

    def _restore(self) -> None:
        path = latest_checkpoint(self.folder)
        if path is None:
            return  # stopped before the first checkpoint: start over, with the same random numbers
        policy_state, learner_state, meta = load_checkpoint(path)
        self.policy.load_state_dict(policy_state)
        self.learner.load_state_dict(learner_state)
        self.iteration = int(meta["iteration"])
        self.steps = int(meta.get("steps", 0))  # 0: saved by an earlier version, which could not end a run by steps
        self.train_seconds = float(meta["train_seconds"])
        self.curriculum.load(meta.get("curriculum", []))

    def _peak_memory_gb(self, pool: Slots) -> float:
        """Peak resident memory of this process plus the private memory of the workers now [GB]."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return (own + pool.memory_bytes()) / 1e9


def _groups_with_signal(trajectories: Sequence[Trajectory]) -> int:
    """Groups that hold a success and a failure."""
    seen: dict[int, set[bool]] = {}
    for t in trajectories:
        if t.outcome is not Outcome.ERROR:
            seen.setdefault(t.spec.group, set()).add(t.succeeded)
    return sum(len(results) == 2 for results in seen.values())
