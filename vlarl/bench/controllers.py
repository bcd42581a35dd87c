"""Compare the two arm controllers: how far their states drift apart, and whether success rates differ.

Example::

    vlarl bench controllers assets/openvla_oft_compact_object --tasks 0 8 --episodes 500 --json controllers.json

'exact' equals the stock environment bit for bit; 'compiled' computes the same torques to better than 1e-9, so that
states agree until contact amplifies the rounding. Success: the same policy, initial states and action noise under
both. Drift: the actions of the exact episodes are repeated under both, and positions are compared step by step.
The result is written after every batch of episodes; a second run with the same flags goes on where the first ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.env_protocol import EpisodeSpec, TaskInfo
    from vlarl.types import Trajectory

CONTROLLERS = ("exact", "compiled")
MARKS = (10, 20, 40, 80, 120, 160, 200)
"""Control steps at which the drift is reported."""
VISIBLE = 1e-9
"""Above this two positions count as different [m and rad]."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench controllers``."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """Policy folder."""
    suite: str = "libero_object"
    """Whose tasks to play."""
    tasks: tuple[int, ...] = (0, 8)
    """Task indices."""
    episodes: int = 500
    """Episodes under each controller, spread evenly over the tasks."""
    drift_episodes: int = 20
    """Episodes whose actions are repeated under both controllers."""
    batch: int = 100
    """Episodes between two writes of the result."""
    temperature: float = 1.0
    """Sampling temperature over the action tokens."""
    horizon: int = 160
    """Control steps per episode."""
    seed: int = 30_000
    """Seed of the action noise."""
    workers: int = 2
    """Simulator processes."""
    slots: int = 16
    """Episodes in flight."""
    json: Path | None = None
    """Write the result to this file; go on where it ends."""


def run(options: Options) -> int:
    """Play, compare, print, write."""
    if options.episodes < 1 or options.episodes % len(options.tasks):
        raise UserError(f"--episodes {options.episodes} is not a multiple of the {len(options.tasks)} tasks")
    tasks, specs = episodes(options)
    state = earlier(options)
    for controller in CONTROLLERS:
        played = state["played"][controller]
        if len(played) < len(specs):
            for trajectories in play(options, controller, tasks, specs[len(played) :]):
                played += [{"outcome": t.outcome.value, "steps": t.num_steps} for t in trajectories]
                wanted = options.drift_episodes - len(state["actions"])
                if controller == "exact" and wanted > 0:
                    state["actions"] += [recorded(t) for t in trajectories[:wanted]]
                write(options, state)
    if not state["drift"] and options.drift_episodes:
        state["drift"] = [drift(specs[index], actions) for index, actions in enumerate(state["actions"])]
    result = write(options, state)
    show(result)
    return 0


def episodes(options: Options) -> tuple[list[TaskInfo], list[EpisodeSpec]]:
    """Tasks, and specs in an order in which every batch holds all tasks."""
    from vlarl.commands.eval import choose_tasks, env_for_suite
    from vlarl.specs import evaluation_specs

    tasks = choose_tasks(env_for_suite(options.suite), options.suite, options.tasks)
    each = options.episodes // len(tasks)
    specs = evaluation_specs(tasks, split="official", episodes_per_task=each, seed=options.seed)
    return tasks, [specs[task * each + index] for index in range(each) for task in range(len(tasks))]


def config_of(options: Options, controller: str) -> Any:
    """The environment under one controller; fast pixels under both, for the controller is what is compared."""
    from vlarl.commands.eval import env_for_suite

    config: Any = env_for_suite(options.suite)
    return replace(config, profile="fast", controller=controller, horizon=options.horizon)


def play(
    options: Options, controller: str, tasks: list[TaskInfo], specs: list[EpisodeSpec]
) -> Iterator[list[Trajectory]]:
    """The episodes under one controller, in batches."""
    from vlarl.collector import Collector
    from vlarl.commands.eval import policy_source
    from vlarl.policy import Decoding, load_policy
    from vlarl.worker_pool import WorkerPool

    policy = load_policy(policy_source(options.checkpoint))
    named = [(task.suite, task.task) for task in tasks]
    config = config_of(options, controller)
    with WorkerPool(config, tasks=named, workers=options.workers, num_slots=options.slots) as pool:
        collector = Collector(policy, pool)
        for first in range(0, len(specs), options.batch):
            chosen = specs[first : first + options.batch]
            yield collector.collect(chosen, Decoding(mode="sample", temperature=options.temperature))


def recorded(trajectory: Trajectory) -> list[list[float]]:
    """The executed actions of an episode ``[steps, 7]``; float32 values survive JSON exactly."""
    parts = [output.actions[mask] for output, mask in zip(trajectory.outputs, trajectory.executed, strict=True)]
    return np.concatenate(parts).astype(np.float64).tolist() if parts else []


def drift(spec: EpisodeSpec, actions: list[list[float]]) -> list[float]:
    """Largest difference of any position (m or rad) between the controllers after every control step."""
    from envs.libero.simulator import get_task_simulator

    task = get_task_simulator(spec.suite, spec.task)
    slots = [task.make_slot(controller) for controller in ("exact", "compiled")]
    for slot in slots:
        slot.reset(spec.init_state)
    differences = []
    for action in np.array(actions, dtype=np.float32):
        for slot in slots:
            slot.step(action)
        differences.append(float(np.abs(slots[0].data.qpos - slots[1].data.qpos).max()))
    return differences


def summarize(state: dict[str, Any]) -> dict[str, Any]:
    """Success rates with intervals, their difference, pairs that disagree, drift at the marks."""
    from vlarl.statistics import difference, wilson_interval

    summary: dict[str, Any] = {}
    counts = {}
    for controller in CONTROLLERS:
        scored = [episode for episode in state["played"][controller] if episode["outcome"] != "error"]
        wins = sum(episode["outcome"] == "success" for episode in scored)
        counts[controller] = (wins, len(scored))
        low, high = wilson_interval(wins, len(scored))
        rate = wins / len(scored) if scored else None
        summary[controller] = {"success_rate": rate, "ci95": [low, high], "episodes": len(scored)}
    if all(total for _, total in counts.values()):
        gap = difference(*counts["compiled"], *counts["exact"])
        summary["compiled minus exact"] = {"value": gap.value, "ci95": [gap.low, gap.high]}
    pairs = list(zip(*(state["played"][name] for name in CONTROLLERS), strict=False))
    won = [tuple(episode["outcome"] == "success" for episode in pair) for pair in pairs]
    summary["pairs"] = {
        "same outcome": sum(a == b for a, b in won),
        "only exact succeeds": sum(a and not b for a, b in won),
        "only compiled succeeds": sum(b and not a for a, b in won),
    }
    summary["drift"] = summarize_drift(state["drift"])
    return summary


def summarize_drift(episodes: list[list[float]]) -> dict[str, Any]:
    """Median and largest drift at the marks, and when it became visible."""
    rows = {}
    for mark in MARKS:
        there = [episode[mark - 1] for episode in episodes if len(episode) >= mark]
        if there:
            rows[str(mark)] = {"episodes": len(there), "median": float(np.median(there)), "max": max(there)}
    first = [next((i + 1 for i, value in enumerate(episode) if value > VISIBLE), None) for episode in episodes]
    return {"after steps": rows, "first step above 1e-9": first}


def protocol(options: Options) -> dict[str, Any]:
    """What the figures must name."""
    named = {"policy": options.checkpoint, "tasks": list(options.tasks), "episodes": options.episodes}
    named |= {"temperature": options.temperature, "seed": options.seed, "split": "official"}
    return config_of(options, "exact").protocol() | {"controller": list(CONTROLLERS)} | named


def earlier(options: Options) -> dict[str, Any]:
    """What an earlier run with the same protocol has played.

    Raises:
        UserError: the file holds something else.
    """
    from vlarl.files import read_json

    if options.json is None or not options.json.exists():
        return {"played": {name: [] for name in CONTROLLERS}, "actions": [], "drift": []}
    result = read_json(options.json)
    if result.get("protocol") != protocol(options):
        raise UserError(f"{options.json} holds another measurement; name another file with --json, or move it away")
    return result["state"]


def write(options: Options, state: dict[str, Any]) -> dict[str, Any]:
    """The result object; written where a file was named."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "controllers", options.checkpoint, "--suite", options.suite, "--tasks"]
    words += [*map(str, options.tasks), "--episodes", str(options.episodes)]
    result = result_header(words, protocol(options)) | summarize(state) | {"state": state}
    if options.json is not None:
        write_result(options.json, result)
    return result


def show(result: dict[str, Any]) -> None:
    """Print what a person reads."""
    for name in (*CONTROLLERS, "compiled minus exact"):
        row = result.get(name)
        if row:
            low, high = row["ci95"]
            value = row.get("success_rate", row.get("value"))
            print(f"{name}: {value:.3f} [{low:.3f}, {high:.3f}]" if value is not None else f"{name}: no episodes")
    print("pairs: " + ", ".join(f"{name} {count}" for name, count in result["pairs"].items()))
    for mark, row in result["drift"]["after steps"].items():
        print(
            f"drift after {mark} steps: median {row['median']:.1e}, max {row['max']:.1e} ({row['episodes']} episodes)"
        )
