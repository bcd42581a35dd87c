"""Train AdaRL and its baselines on varying MuJoCo models, and measure returns across perturbations.

Example::

    vlarl bench robust --env-id Hopper-v5 --steps 300000 --out runs/bench_robust --json robust.json --figure robust.png
    vlarl bench robust --contenders sac,adarl_repaired --seeds 1 --steps 20000 --out runs/bench_robust_try

Contenders, all with two layers of 64: 'sac' (plain weights), 'adarl_faithful' and 'adarl_repaired' (see
vlarl/objectives/adarl.py), 'sac_restarts' (AdaRL's factors and learning rates, at full rank throughout),
'sac_full_rank' and 'sac_final_rank' (factors fixed at full rank, or at the ranks that adarl_repaired ended with, same
seed; a constant learning rate), 'parseval' (SAC with near-orthogonal hidden layers), and with PPO, as published,
'rnac_ds' and 'rnac_ipm' (RNAC's two uncertainty sets, see vlarl/bench/robust_training.py) beside 'ppo'. All train under
the same sampled models: the paper's sinusoid, or 'uniform' in the grid's ranges, shrunk so that no model is farther
than --distance from the stock one. How far the sampled models really are is in each result ('distance').

Each policy then plays the stock model and a grid of single changed parameters, greedily. Reported: nominal return, mean
over the grid, CVaR (mean of the worst fifth of grid points), Student's 95 % intervals over seeds, and the final ranks.
Every finished run is a file in --out; a study that was stopped goes on with what is missing, and the same command
started twice shares the work.

Needs: pip install 'vlarl[mujoco]'
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vlarl.bench.measure import Table, print_rows
from vlarl.bench.shared_runs import Run, play_missing
from vlarl.errors import UserError
from vlarl.files import read_json

if TYPE_CHECKING:
    from vlarl.collector import Collector

CONTENDERS = (
    "sac",
    "sac_full_rank",
    "sac_restarts",
    "adarl_repaired",
    "adarl_faithful",
    "sac_final_rank",
    "parseval",
    "ppo",
    "rnac_ds",
    "rnac_ipm",
)
GRID: dict[str, tuple[float, ...]] = {
    "mass": (0.6, 0.8, 1.25, 1.6),
    "friction": (0.4, 0.7, 1.5, 2.0),
    "gravity": (7.0, 8.5, 11.5, 14.0),
    "actuator": (0.6, 0.8, 1.2, 1.4),
    "wind": (-10.0, -5.0, 5.0, 10.0),
    "delay": (1.0, 2.0),
}
LENGTH_GRID = {"Hopper": {"torso": (0.2, 0.3, 0.5, 0.6), "foot": (0.2, 0.3, 0.5, 0.59)}}
WORST_SHARE = 0.2
SETTINGS = ("every", "learning_rate", "distance", "episodes", "learning_starts")
"""Flags that a run's result depends on and the name of its file does not tell."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench robust``."""

    env_id: str = "Hopper-v5"
    contenders: str = "sac,sac_restarts,adarl_repaired,adarl_faithful,sac_final_rank,parseval"
    """With commas between; adarl_repaired must come before sac_final_rank."""
    steps: int = 300_000
    """Control steps per run, and updates."""
    seeds: int = 3
    every: int = 60_000
    """Updates between cuts."""
    learning_rate: float = 3e-3
    """The paper's, for SAC; PPO has its own (configs/mujoco_ppo.py)."""
    sampler: Literal["sinusoid", "uniform"] = "sinusoid"
    """Models seen in training."""
    distance: float = 0.02
    """With 'uniform': the farthest a training model may be from the stock one (see envs/mujoco_dynamics.py)."""
    episodes: int = 5
    """Evaluation episodes per grid point."""
    learning_starts: int = 5_000
    threads: int = 1
    out: Path = Path("runs/bench_robust")
    json: Path | None = None
    figure: Path | None = None
    """Draw learning curves, and return against each parameter, into this PNG."""


def run(options: Options) -> int:
    """Play what is missing, then print, write and draw."""
    names = options.contenders.split(",")
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise UserError(f"unknown contender {unknown[0]!r}; choose from {', '.join(CONTENDERS)}")
    if "sac_final_rank" in names and "adarl_repaired" not in names[: names.index("sac_final_rank")]:
        raise UserError("sac_final_rank takes its ranks from adarl_repaired: name that first")
    import torch

    torch.set_num_threads(options.threads)
    results = play_missing([one_run(options, name, seed) for seed in range(options.seeds) for name in names])
    table = Table()
    for result in results:
        for kind, value in scores(result).items():
            table.add(f"{result['contender']} {kind}", "return", value)
    print_rows(f"{options.env_id}, {options.steps} steps, {options.seeds} seeds", table.rows(), {})
    if options.json is not None:
        write(options, table, results)
    if options.figure is not None:
        draw(options.figure, results)
    return 0


def grid(env_id: str) -> dict[str, tuple[float, ...]]:
    """Parameter -> values, the stock value left out."""
    return GRID | LENGTH_GRID.get(env_id.partition("-")[0], {})


def one_run(options: Options, name: str, seed: int) -> Run:
    """A run's file, and how to get what belongs in it."""
    folder, label = options.out, f"{options.env_id}-{options.sampler}-{options.steps}"
    needs = folder / f"{label}-adarl_repaired-seed{seed}.json" if name == "sac_final_rank" else None

    def play() -> dict[str, Any]:
        ranks = read_json(needs)["ranks"] if needs else []
        return {"contender": name, "seed": seed, **train_and_evaluate(name, seed, options, ranks)}

    settings = {flag: getattr(options, flag) for flag in SETTINGS}
    return Run(folder / f"{label}-{name}-seed{seed}.json", play, settings, needs)


def train_and_evaluate(name: str, seed: int, options: Options, ranks: list[int]) -> dict[str, Any]:
    """Train one contender, then play the stock model and the grid."""
    from vlarl.bench.robust_training import play

    policy, found = play(name, seed, options, grid(options.env_id), ranks, lambda made: perturbed_score(made, options))
    nominal, points = evaluate_grid(policy, options)
    return found | {"nominal": nominal, "grid": points}


def returns_under(policy: Any, options: Options, name: str, value: float, episodes: int) -> list[float]:
    """Greedy returns with one parameter set."""
    from envs.mujoco_dynamics import DynamicsConfig, Range
    from vlarl.collector import Collector
    from vlarl.local_slots import LocalSlots

    env = DynamicsConfig(env_id=options.env_id, sampler="fixed", ranges=(Range(name=name, low=value, high=value),))
    with LocalSlots(env) as slots:
        return play_greedily(Collector(policy, slots), env, episodes)


def play_greedily(collector: Collector, env: Any, episodes: int) -> list[float]:
    """Returns of as many held-out episodes."""
    from vlarl.policy import Decoding
    from vlarl.specs import evaluation_specs

    specs = evaluation_specs(env.task_specs("gymnasium"), split="heldout", episodes_per_task=episodes, seed=1)
    return [episode.env_return for episode in collector.collect(specs, Decoding(mode="greedy"))]


def evaluate_grid(policy: Any, options: Options) -> tuple[list[float], dict[str, dict[str, list[float]]]]:
    """Returns under the stock model, and parameter -> value -> returns."""
    nominal = returns_under(policy, options, "mass", 1.0, options.episodes)
    points = {
        name: {str(value): returns_under(policy, options, name, value, options.episodes) for value in values}
        for name, values in grid(options.env_id).items()
    }
    return nominal, points


def perturbed_score(policy: Any, options: Options) -> Callable[[], float]:
    """Mean return of one episode under the stock model and under each parameter's two outermost values."""
    places = [("mass", 1.0)] + [(name, v) for name, vs in grid(options.env_id).items() for v in (vs[0], vs[-1])]
    return lambda: float(np.mean([returns_under(policy, options, name, value, 1)[0] for name, value in places]))


def scores(result: dict[str, Any]) -> dict[str, float]:
    """Nominal return, mean over the grid, and mean of its worst fifth."""
    means = sorted(float(np.mean(found)) for values in result["grid"].values() for found in values.values())
    worst = means[: max(1, round(WORST_SHARE * len(means)))]
    nominal = float(np.mean(result["nominal"]))
    return {"nominal": nominal, "perturbed mean": float(np.mean(means)), "perturbed CVaR": float(np.mean(worst))}


def write(options: Options, table: Table, results: list[dict[str, Any]]) -> None:
    """Write the result file."""
    from vlarl.results import result_header, write_result
    from vlarl.statistics import student_interval

    by_name: dict[str, list[float]] = {}
    for result in results:
        for kind, value in scores(result).items():
            by_name.setdefault(f"{result['contender']} {kind}", []).append(value)
    words = ["vlarl", "bench", "robust", "--env-id", options.env_id, "--steps", str(options.steps)]
    words += ["--contenders", options.contenders, "--seeds", str(options.seeds), "--sampler", options.sampler]
    words += ["--every", str(options.every), "--learning-rate", str(options.learning_rate)]
    protocol = {"episodes_per_point": options.episodes, "decoding": "greedy", "grid": grid(options.env_id)}
    content = {"rows": table.rows(), "ratios": {}, "intervals": {k: student_interval(v) for k, v in by_name.items()}}
    assert options.json is not None
    write_result(options.json, result_header(words, protocol) | content | {"runs": results})


def draw(file: Path, results: list[dict[str, Any]]) -> None:
    """Learning curves, and return against each parameter: a line per contender (mean over seeds and episodes)."""
    from matplotlib.figure import Figure

    from vlarl.bench.learning_curves import draw_curves

    runs: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        runs.setdefault(result["contender"], []).append(result)
    names = list(results[0]["grid"])
    columns = math.ceil((1 + len(names)) ** 0.5)
    rows = math.ceil((1 + len(names)) / columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="tight")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for unused in axes[1 + len(names) :]:
        unused.set_axis_off()
    draw_curves(axes[0], {contender: [run["curve"] for run in mine] for contender, mine in runs.items()})
    for axis, name in zip(axes[1:], names, strict=False):
        for contender, mine in runs.items():
            places = sorted(mine[0]["grid"][name], key=float)
            heights = [float(np.mean([np.mean(run["grid"][name][place]) for run in mine])) for place in places]
            axis.plot([float(place) for place in places], heights, marker="o", label=contender)
        axis.set_xlabel(name)
    for axis in axes[::columns]:
        axis.set_ylabel("return")
    axes[0].legend(fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
