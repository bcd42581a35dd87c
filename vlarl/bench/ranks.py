"""Train adapters with ranks that are cut and with ranks that stay, and compare them in scenes nobody trained in.

Example::

    vlarl bench ranks --out runs/bench_ranks --json docs/results/bench_ranks.json
    vlarl bench ranks --seeds 1 --iterations 4 --episodes 4 --out runs/bench_ranks_try

Contenders: 'adaptive' (CONFIG as it is), 'fixed' (the same first rank, never cut) and 'fixed_final' (the rank that the
adaptive run of that seed ended with on average, rounded, from the beginning on). All train in the stock scene. Then
each of them, and 'start', the policy that they began with, plays held-out episodes in that scene and in perturbed ones:
--conditions names flags of the environment, --env.perturbation.light 0.5 as perturbation.light=0.5.

Reported: success per condition, its mean over the perturbed ones and the worst of them, with Student's 95 % intervals
over seeds, and differences paired by seed. Finished runs and evaluations are files in --out: a study that was stopped
goes on with what is missing, a run in the middle with its last checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlarl.errors import UserError
from vlarl.files import read_json

if TYPE_CHECKING:
    from vlarl.config import TrainConfig

TRAINED = ("adaptive", "fixed", "fixed_final")
START = "start"
STOCK = "stock"
PERTURBED = (
    "perturbation.light=0.5",
    "perturbation.light=1.5",
    "perturbation.camera=0.03",
    "perturbation.camera=-0.03",
    "perturbation.robot=0.05",
    "perturbation.robot=0.1",
)


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench ranks``."""

    config: str = "libero_adaptive_rank"
    """Experiment that cuts ranks: a name in configs/ or a file."""
    seeds: int = 3
    iterations: int | None = None
    """Of each run; none: what the experiment says."""
    episodes: int = 80
    """Per task, policy and condition."""
    conditions: tuple[str, ...] = PERTURBED
    """FLAG=VALUE of the environment each; the stock scene always comes first."""
    out: Path = Path("runs/bench_ranks")
    json: Path | None = None


def run(options: Options) -> int:
    """Train and evaluate what is missing, then print and write."""
    from vlarl.commands.train import load_named

    base = load_named(options.config)
    base = replace(base, iterations=options.iterations or base.iterations)
    if not base.learner.adapter_ranks.every:
        raise UserError(f"{options.config} does not cut ranks: its learner.adapter_ranks.every is 0")
    environments = {condition: perturbed(base.env, condition) for condition in options.conditions}
    found = evaluated(START, base.policy, base, environments, options)
    results: list[dict[str, Any]] = [{"contender": START, "seed": 0, "success": found}]
    for seed in range(options.seeds):
        final = 0
        for name in TRAINED:
            config, label = configured(base, name, seed, final), f"{name}-{base.iterations}-seed{seed}"
            folder = trained(config, options.out / label)
            ranks = final_ranks(folder) or {"rank_mean": float(config.load.adapter_rank)}
            if name == "adaptive":
                final = max(1, round(ranks["rank_mean"]))
            found = evaluated(label, str(folder / "policy"), base, environments, options)
            results.append({"contender": name, "seed": seed, "success": found, "ranks": ranks})
    summary = summarise(results)
    print("\n".join(markdown(summary)))
    if options.json is not None:
        write(options, base, results, summary)
    return 0


def perturbed(env: Any, condition: str) -> Any:
    """The environment with one flag set, ``FLAG=VALUE``; a wrong one exits with the nearest name.

    Raises:
        UserError: no value.
    """
    from vlarl.flags import apply_flags

    flag, _, value = condition.partition("=")
    if not value:
        raise UserError(
            f"condition {condition!r} has no value; expected FLAG=VALUE, perturbation.light=0.5 for example"
        )
    return apply_flags(_Environment(env), [f"--env.{flag}={value}"], command="bench ranks")[0].env


@dataclass(frozen=True)
class _Environment:
    """What the flags of the environment hang from."""

    env: Any


def configured(base: TrainConfig, name: str, seed: int, final_rank: int) -> TrainConfig:
    """What a contender trains with."""
    learner = base.learner
    if name != "adaptive":
        learner = replace(learner, adapter_ranks=replace(learner.adapter_ranks, every=0))
    load = replace(base.load, adapter_rank=final_rank) if name == "fixed_final" else base.load
    return replace(base, seed=seed, learner=learner, load=load)


def trained(config: TrainConfig, folder: Path) -> Path:
    """Train into ``folder``, or go on there; nothing is done where the run has ended."""
    from vlarl.commands import train

    if not (folder / "report.html").is_file():
        begun = (folder / train.CONFIG_FILE).is_file()
        saved = train.load_saved(folder, None) if begun else None
        options = train.Options(resume=folder) if begun else train.Options(out=folder)
        with train.run_folder(config, saved, options):
            if train.train(config, folder, resume=begun):
                raise KeyboardInterrupt
    return folder


def final_ranks(folder: Path) -> dict[str, float]:
    """``rank_mean`` and ``rank/LAYER`` of a run's last iteration; empty where ranks stay."""
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    return {name: value for name, value in last.items() if name == "rank_mean" or name.startswith("rank/")}


def evaluated(
    label: str, policy: str, base: TrainConfig, environments: dict[str, Any], options: Options
) -> dict[str, list[int]]:
    """Success of a policy in every condition, ``[successes, episodes]``."""
    from vlarl.commands import eval as evaluation
    from vlarl.policy import DEFAULT_LOAD

    found: dict[str, list[int]] = {}
    for condition, env in {STOCK: base.env, **environments}.items():
        file = options.out / "evaluations" / f"{label}-{condition}-{options.episodes}.json"
        if not file.is_file():
            decoding = base.evaluation.decodings[0]
            flags = evaluation.Options(
                suite=base.suite,
                tasks=base.tasks,
                episodes=options.episodes,
                split="official" if base.split == "official" else "heldout",
                decoding=decoding.mode,
                temperature=decoding.temperature,
                workers=max(1, base.rollout.workers),
                slots=base.rollout.slots,
                json=file,
            )
            evaluation.run(policy, env, flags, DEFAULT_LOAD)
        result = read_json(file)
        found[condition] = [int(result["successes"]), int(result["episodes"])]
    return found


def scores(success: dict[str, list[int]]) -> dict[str, float]:
    """Success rate per condition, the perturbed ones' mean, and the worst of them."""
    rates = {condition: wins / episodes for condition, (wins, episodes) in success.items()}
    others = [rate for condition, rate in rates.items() if condition != STOCK]
    return rates | ({"perturbed mean": sum(others) / len(others), "perturbed worst": min(others)} if others else {})


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Intervals over seeds by contender and score, and differences to the adaptive run of the same seed."""
    from vlarl.statistics import student_interval

    by_name: dict[str, dict[int, dict[str, float]]] = {}
    for result in results:
        by_name.setdefault(result["contender"], {})[result["seed"]] = scores(result["success"])
    kinds = list(next(iter(by_name[START].values())))
    rows = {
        name: {kind: student_interval([seeds[seed][kind] for seed in seeds]) for kind in kinds}
        for name, seeds in by_name.items()
    }
    adaptive = by_name["adaptive"]
    differences = {
        f"adaptive - {name}": {
            kind: student_interval([adaptive[seed][kind] - by_name[name][seed][kind] for seed in adaptive])
            for kind in kinds
        }
        for name in TRAINED[1:]
    }
    ranks = {f"{r['contender']}-seed{r['seed']}": r["ranks"]["rank_mean"] for r in results if "ranks" in r}
    return {"intervals": rows, "differences": differences, "ranks": ranks}


def markdown(summary: dict[str, Any]) -> Iterator[str]:
    """A table with a line per contender and difference, a column per condition."""
    lines = summary["intervals"] | summary["differences"]
    kinds = list(next(iter(lines.values())))
    yield "| | " + " | ".join(kind.removeprefix("perturbation.") for kind in kinds) + " |"
    yield "|---" * (len(kinds) + 1) + "|"
    for name, row in lines.items():
        cells = []
        for kind in kinds:
            interval = row[kind]["ci95"]
            cells.append(f"{row[kind]['mean']:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""))
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "mean rank: " + ", ".join(f"{name} {rank:.3g}" for name, rank in summary["ranks"].items())


def write(options: Options, base: TrainConfig, results: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Write the result file."""
    from vlarl.config_io import to_plain
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "ranks", "--config", options.config, "--seeds", str(options.seeds)]
    words += ["--episodes", str(options.episodes), "--conditions", *options.conditions]
    words += ["--iterations", str(options.iterations)] if options.iterations else []
    decoding = base.evaluation.decodings[0]
    protocol = {
        "suite": base.suite,
        "tasks": list(base.tasks),
        "split": base.split,
        "decoding": {"mode": decoding.mode, "temperature": decoding.temperature},
        "episodes_per_task": options.episodes,
        "env": base.env.protocol(),
        "adapter_rank": base.load.adapter_rank,
        "adapter_ranks": to_plain(base.learner.adapter_ranks),
    }
    assert options.json is not None
    write_result(options.json, result_header(words, protocol) | summary | {"runs": results})
