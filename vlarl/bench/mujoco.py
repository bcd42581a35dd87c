"""Compare our PPO and SAC with Stable-Baselines3's and CleanRL's on MuJoCo: return at the same budget, and time.

Example::

    vlarl bench mujoco --out runs/bench_mujoco_ppo --json mujoco_ppo.json --figure mujoco_ppo.png
    vlarl bench mujoco --algorithm sac --envs Hopper-v5,Walker2d-v5 --steps 100000 --out runs/bench_mujoco_sac

Both sides get the same environments, budget, network sizes, batch sizes, learning rate and number of threads; for PPO
both normalise states and returns by running moments. They differ in what they are: ours plays whole episodes, at least
2000 steps per iteration (PPO) or 1000 (SAC, followed by as many updates), and normalises advantages over the batch;
theirs cuts rollouts at 2048 steps, updates after every step (SAC), and normalises advantages per mini-batch. Runs
alternate between the contenders. Every finished run is a file in --out; a comparison that was stopped goes on with what
is missing, and the same command started twice shares the work.

With --contenders vlarl,sb3,cleanrl and --cleanrl FILE, FILE being CleanRL's cleanrl/ppo_continuous_action.py (commit
fe8d8a0 was tried), that script takes part in PPO too: it is run as it is, with its defaults (values are clipped) and a
constant learning rate.

Needs: pip install 'vlarl[mujoco,bench]'
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlarl.bench.learning_curves import draw_panels, thinned
from vlarl.bench.measure import Table, print_rows
from vlarl.bench.shared_runs import Run, play_missing
from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.config import TrainConfig

EVALUATION_EPISODES = 20


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench mujoco``."""

    algorithm: Literal["ppo", "sac"] = "ppo"
    envs: str = "HalfCheetah-v5,Hopper-v5,Walker2d-v5"
    """Environment ids with commas between."""
    contenders: str = "vlarl,sb3"
    """With commas between: vlarl, sb3, cleanrl."""
    cleanrl: Path | None = None
    """CleanRL's ppo_continuous_action.py, a file that is run."""
    steps: int = 200_000
    """Control steps per run."""
    seeds: int = 3
    threads: int = 1
    """Threads of torch, for both."""
    out: Path = Path("runs/bench_mujoco")
    """Where finished runs are kept."""
    json: Path | None = None
    """Write rows and ratios to this file."""
    figure: Path | None = None
    """Draw learning curves into this PNG."""


def run(options: Options) -> int:
    """Play what is missing, then print and write the comparison."""
    check(options)
    import torch

    torch.set_num_threads(options.threads)
    cells = itertools.product(range(options.seeds), options.envs.split(","), options.contenders.split(","))
    results = play_missing([one_run(options, *cell) for cell in cells])
    table, factors = summarise(results)
    print_rows(f"{options.algorithm}, {options.steps} steps, {options.seeds} seeds", table.rows(), factors)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        words = ["vlarl", "bench", "mujoco", "--algorithm", options.algorithm, "--envs", options.envs]
        words += ["--steps", str(options.steps), "--seeds", str(options.seeds), "--threads", str(options.threads)]
        words += ["--contenders", options.contenders]
        protocol = {"evaluation_episodes": EVALUATION_EPISODES, "decoding": "greedy", "interleaved": True}
        content = {"rows": table.rows(), "ratios": factors, "intervals": intervals(results), "runs": results}
        write_result(options.json, result_header(words, protocol) | content)
    if options.figure is not None:
        draw_panels(options.figure, learning_curves(results))
    return 0


def one_run(options: Options, seed: int, env_id: str, contender: str) -> Run:
    """A run's file, and how to get what belongs in it."""

    def play() -> dict[str, Any]:
        if contender == "cleanrl" and options.cleanrl is not None:
            from vlarl.bench.cleanrl import play_cleanrl

            played = play_cleanrl(options.cleanrl, env_id, seed, options.steps, EVALUATION_EPISODES)
        else:
            players = {"vlarl": play_ours, "sb3": play_sb3}
            played = players[contender](options.algorithm, env_id, seed, options.steps)
        curve = thinned(played.pop("curve"))
        return {"env": env_id, "contender": contender, "seed": seed, **played, "curve": curve}

    name = f"{options.algorithm}-{env_id}-{options.steps}-{contender}-seed{seed}"
    return Run(options.out / f"{name}.json", play, {"threads": options.threads})


def check(options: Options) -> None:
    """Refuse what could not be measured.

    Raises:
        UserError: unknown contender or odd numbers.
        MissingExtraError: a package is missing.
    """
    names = options.contenders.split(",")
    unknown = [name for name in names if name not in ("vlarl", "sb3", "cleanrl")]
    if unknown:
        raise UserError(f"unknown contender {unknown[0]!r}; choose from vlarl, sb3, cleanrl")
    if "cleanrl" in names and (options.algorithm != "ppo" or options.cleanrl is None or not options.cleanrl.is_file()):
        raise UserError(
            f"contender cleanrl with --algorithm {options.algorithm} --cleanrl {options.cleanrl}: expected ppo, and "
            "where CleanRL's cleanrl/ppo_continuous_action.py lies"
        )
    if options.steps < 2048 or options.seeds < 1:
        raise UserError("--steps needs at least 2048, --seeds at least 1")
    from vlarl.extras import missing_extra

    for package in ("gymnasium", "mujoco", *(["stable_baselines3"] if "sb3" in names else [])):
        try:
            __import__(package)
        except ModuleNotFoundError as error:
            raise missing_extra(package, needed_by="vlarl bench mujoco") from error


def our_config(algorithm: str, env_id: str, seed: int) -> TrainConfig:
    """The experiment of ``configs/``, with a constant learning rate as theirs."""
    from vlarl.resolve import resolve

    config = resolve(f"mujoco_{algorithm}", "configs", "config")()
    learner = replace(config.learner, final_learning_rate=None)
    return replace(config, env=replace(config.env, env_id=env_id), seed=seed, learner=learner)


def play_ours(algorithm: str, env_id: str, seed: int, steps: int) -> dict[str, Any]:
    """Train our side; the same parts as ``vlarl train``, stopped by control steps in place of iterations."""
    from vlarl.collector import Collector, add_final_inputs
    from vlarl.learner import make_learner
    from vlarl.local_slots import LocalSlots
    from vlarl.policy import Decoding, load_policy
    from vlarl.reward import score_all
    from vlarl.specs import evaluation_specs, training_groups
    from vlarl.types import stack_trajectories

    config = our_config(algorithm, env_id, seed)
    started, cpu = time.perf_counter(), time.process_time()
    policy = load_policy(config.policy, seed=seed, env=config.env)
    learner = make_learner(policy, config.objective, config.learner, seed=seed)
    rewards = [term.build() for term in config.rewards]
    tasks, curve, played, iteration = config.env.task_specs(config.suite), [], 0, 0
    with LocalSlots(config.env) as slots:
        collector = Collector(policy, slots)
        while played < steps:
            episodes, draw, before = [], 0, played
            while played - before < config.rollout.min_steps:
                specs = training_groups(
                    tasks, split="official", groups=1, group_size=1, seed=seed, iteration=iteration, draw=draw
                )
                episodes += collector.collect(specs, Decoding())
                played += episodes[-1].num_steps
                draw += 1
            score_all(rewards, episodes)
            add_final_inputs(policy, episodes, Decoding())
            learner.update(
                stack_trajectories(episodes), seed=seed, iteration=iteration, progress=min(1.0, before / steps)
            )
            curve.append([played, float(np.mean([episode.env_return for episode in episodes]))])
            iteration += 1
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        specs = evaluation_specs(tasks, split="official", episodes_per_task=EVALUATION_EPISODES, seed=1000 + seed)
        with learner.averaged():
            final = collector.collect(specs, Decoding(mode="greedy"))
    return {
        "steps": played,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "curve": curve,
        "returns": [t.env_return for t in final],
    }


def play_sb3(algorithm: str, env_id: str, seed: int, steps: int) -> dict[str, Any]:
    """Train Stable-Baselines3's side."""
    import gymnasium
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    started, cpu = time.perf_counter(), time.process_time()
    env: Any = DummyVecEnv([lambda: Monitor(gymnasium.make(env_id))])
    if algorithm == "ppo":
        env = VecNormalize(env)
        model: Any = PPO("MlpPolicy", env, seed=seed, device="cpu")  # its defaults are the values we use
    else:
        model = SAC("MlpPolicy", env, seed=seed, device="cpu", learning_starts=5_000)
    model.learn(total_timesteps=steps)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    lengths, returns = env.env_method("get_episode_lengths")[0], env.env_method("get_episode_rewards")[0]
    curve = [[int(end), float(value)] for end, value in zip(np.cumsum(lengths), returns, strict=True)]
    if algorithm == "ppo":
        env.training, env.norm_reward = False, False
    found, _ = evaluate_policy(
        model, env, n_eval_episodes=EVALUATION_EPISODES, deterministic=True, return_episode_rewards=True
    )
    env.close()
    return {
        "steps": int(model.num_timesteps),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "curve": curve,
        "returns": [float(v) for v in found],
    }


def summarise(results: list[dict[str, Any]]) -> tuple[Table, dict[str, float]]:
    """Median return and speed over seeds; how much longer we take than they do per step (wall-clock and CPU time).

    The ratio is the median over seeds of two runs that were made one after the other.
    """
    table, costs = Table(), {}
    for result in results:
        name = f"{result['env']} {result['contender']}"
        table.add(f"{name} return", "mean of the evaluation", float(np.mean(result["returns"])))
        table.add(f"{name} speed", "steps/s", result["steps"] / result["seconds"])
        table.add(f"{name} cpu", "CPU ms/step", 1e3 * result["cpu_seconds"] / result["steps"])
        for kind in ("seconds", "cpu_seconds"):
            key = (result["env"], kind, result["contender"])
            costs.setdefault(key, []).append(result[kind] / result["steps"])
    factors = {}
    for env_id, kind, contender in costs:
        ours = costs.get((env_id, kind, "vlarl"))
        if ours and contender != "vlarl":
            theirs = costs[env_id, kind, contender]
            pairs = zip(ours, theirs, strict=False)
            factors[f"{env_id}: {kind} vlarl/{contender}"] = float(np.median([mine / other for mine, other in pairs]))
    return table, factors


def learning_curves(results: list[dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Environment -> contender -> a curve per seed."""
    found: dict[str, dict[str, list[Any]]] = {}
    for result in results:
        found.setdefault(result["env"], {}).setdefault(result["contender"], []).append(result["curve"])
    return found


def intervals(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean return over seeds with Student's 95 % interval."""
    from vlarl.statistics import student_interval

    scores: dict[str, list[float]] = {}
    for result in results:
        scores.setdefault(f"{result['env']} {result['contender']}", []).append(float(np.mean(result["returns"])))
    return {name: student_interval(values) for name, values in scores.items()}
