"""Success rates that carry their protocol; the same collector as in training plays the episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from vlarl.collector import Collector
from vlarl.driving_figures import driving_figures
from vlarl.env_protocol import Outcome, TaskInfo
from vlarl.policy import Decoding
from vlarl.results import result_header
from vlarl.specs import evaluation_specs
from vlarl.statistics import success_at_k, wilson_interval
from vlarl.types import Trajectory


def evaluate(
    collector: Collector,
    tasks: Sequence[TaskInfo],
    *,
    split: str,
    episodes_per_task: int,
    decoding: Decoding,
    seed: int,
    command: str,
    env_protocol: Mapping[str, Any],
    policy_name: str,
    instructions: Mapping[int, str] | None = None,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> dict[str, Any]:
    """Play ``episodes_per_task`` episodes of every task and sum them up.

    Args:
        collector: holds policy and environment.
        tasks: what to play.
        split: initial-state split; its evaluation states are cycled through.
        episodes_per_task: the same for every task.
        decoding: how tokens become actions.
        seed: of the action noise.
        command: command line for the result's head.
        env_protocol: what the environment says of itself (horizon, render profile, cameras, ...).
        policy_name: named in the protocol.
        instructions: task index -> sentence told to the policy in place of the task's own (the wrong one, say).
        on_episode: called as episodes finish.

    Returns:
        The result object: see "Evaluation results" in docs/evaluation.md.
    """
    specs = evaluation_specs(tasks, split=split, episodes_per_task=episodes_per_task, seed=seed)
    if instructions:
        specs = [replace(spec, instruction=instructions.get(spec.task, spec.instruction)) for spec in specs]
    trajectories = collector.collect(specs, decoding, on_episode=on_episode, keep_inputs=False)
    protocol = {
        **env_protocol,
        "policy": policy_name,
        "suites": sorted({task.suite for task in tasks}),
        "horizon": {f"{task.suite}/{task.task}": task.horizon for task in tasks},
        "split": split,
        "init_states": sorted({spec.init_state for spec in specs}),
        "decoding": asdict(decoding),
        "episodes_per_task": episodes_per_task,
        "seed": seed,
        "instruction": "replaced" if instructions else "the task's own",
    }
    return result_header(command, protocol) | summarize(tasks, trajectories)


def summarize(tasks: Sequence[TaskInfo], trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    """Success rate with Wilson's 95 % interval, over all tasks and per task; errors counted apart."""
    rows = []
    for task in tasks:
        mine = [t for t in trajectories if (t.spec.suite, t.spec.task) == (task.suite, task.task)]
        rows.append(
            {"suite": task.suite, "task": task.task, "name": task.name, "instruction": task.instruction} | _rates(mine)
        )
    return _rates(trajectories) | {
        "success_at_k": _success_at_k(trajectories),
        "tasks": rows,
        "examples": _examples(trajectories),
    }


def _rates(trajectories: Sequence[Trajectory]) -> dict[str, Any]:
    scored = [t for t in trajectories if t.outcome is not Outcome.ERROR]
    successes = sum(t.succeeded for t in scored)
    steps = [t.num_steps for t in scored if t.succeeded]
    return {
        "success_rate": successes / len(scored) if scored else None,
        "ci95": list(wilson_interval(successes, len(scored))) if scored else None,
        "successes": successes,
        "episodes": len(scored),
        "errors": len(trajectories) - len(scored),
        "mean_success_steps": sum(steps) / len(steps) if steps else None,
        "mean_return": sum(t.env_return for t in scored) / len(scored) if scored else None,
    } | driving_figures(scored)


def _success_at_k(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """Chance that at least one of k attempts from the same initial state succeeds, k = 1, 2, 4, 8 where played."""
    starts: dict[tuple[str, int, int], list[bool]] = {}
    for t in trajectories:
        if t.outcome is not Outcome.ERROR:
            starts.setdefault((t.spec.suite, t.spec.task, t.spec.init_state), []).append(t.succeeded)
    attempts = min((len(results) for results in starts.values()), default=0)
    return {
        str(k): sum(success_at_k(sum(r), len(r), k) for r in starts.values()) / len(starts)
        for k in (1, 2, 4, 8)
        if k <= attempts
    }


def _examples(trajectories: Sequence[Trajectory]) -> dict[str, dict[str, Any]]:
    """Outcome -> spec of the first episode that ended so: equal specs play equal episodes, so videos can follow."""
    examples: dict[str, dict[str, Any]] = {}
    for t in trajectories:
        examples.setdefault(t.outcome.value, asdict(t.spec))
    return examples
