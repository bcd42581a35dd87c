"""Evaluate a policy: success per task with 95 % intervals, and the full protocol.

Example::

    vlarl eval assets/openvla_oft_compact_object --suite libero_object --tasks 0,8 --json out.json
    vlarl eval runs/quickstart/policy --suite libero_object --episodes 50 --decoding greedy --profile fast
    vlarl eval OpenVLA-OFT-folder --suite libero_goal --env.resolution 256 --load.unnorm-key libero_goal_no_noops
    vlarl eval vlarl.policies.state_mlp:StateMlp --suite toy --episodes 20

CHECKPOINT is a policy folder, a run folder (its trained policy), or package.module:Class for a fresh policy.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlarl.cli import plain_description
from vlarl.errors import NameNotFoundError, UserError, nearest, unknown_name
from vlarl.resolve import find_config_class, list_names, resolve

if TYPE_CHECKING:
    from vlarl.env_protocol import EnvConfig, EpisodeSpec, TaskInfo
    from vlarl.policy import Decoding, LoadConfig, Policy
    from vlarl.types import Trajectory


@dataclass(frozen=True)
class Options:
    """Flags of the command itself."""

    suite: str
    """Benchmark suite, for example libero_object."""
    tasks: tuple[int, ...] = ()
    """Task indices within the suite, for example 0,8 or 0-7; none: all."""
    episodes: int = 50
    """Episodes per task."""
    split: Literal["heldout", "official"] = "heldout"
    """Initial states: heldout (the last 40 %, never trained on) or official (all, as published work does)."""
    decoding: Literal["sample", "greedy", "expectation"] = "sample"
    """How action tokens become actions."""
    temperature: float = 1.0
    """Sampling temperature over the action tokens."""
    seed: int = 20_000
    """Seed of the action noise."""
    profile: str | None = None
    """Render profile, short for --env.profile: reference (stock pixels) or fast."""
    instruction: str | None = None
    """Tell the policy this instead of the task's own sentence."""
    wrong_instruction: bool = False
    """Tell the policy the sentence of the next task of those played: what does it do if language decides?"""
    workers: int = 2
    """Simulator processes; 0: simulate in this one, all slots together where the environment can do that."""
    slots: int = 16
    """Episodes in flight."""
    json: Path | None = None
    """Write the result to this file."""
    videos: Path | None = None
    """Write videos of some of the episodes into this folder."""
    video_count: int = 4
    """How many: one of each outcome first."""


@dataclass(frozen=True)
class _Config:
    """What the flags of the environment and of loading hang from."""

    env: Any
    load: Any


def main(arguments: Sequence[str]) -> int:
    """Read CHECKPOINT and flags, then evaluate."""
    from vlarl.flags import apply_flags
    from vlarl.policy import LoadConfig

    words = spelled_out(arguments)
    checkpoint = words.pop(0) if words and not words[0].startswith("-") else None
    suite = _suite_in(words)
    if checkpoint is None or suite is None:
        if any(word in ("-h", "--help") for word in words):
            apply_flags(_NoConfig(), ["--help"], command="eval CHECKPOINT", description=_help(), options=Options(""))
        missing = "CHECKPOINT (a policy folder)" if checkpoint is None else "--suite, for example --suite libero_object"
        raise UserError(f"{missing} is missing. Example: vlarl eval CHECKPOINT --suite libero_object --tasks 0,8")
    config, options = apply_flags(
        _Config(env_for_suite(suite), LoadConfig()),
        words,
        command=f"eval {checkpoint}",
        description=_help(),
        options=Options(suite),
    )
    return run(checkpoint, with_profile(config.env, options.profile), options, config.load)


def run(checkpoint: str, env: EnvConfig, options: Options, load: LoadConfig) -> int:
    """Play the episodes, print the table, write the result."""
    from vlarl.collector import Collector
    from vlarl.evaluate import evaluate
    from vlarl.make_slots import make_slots
    from vlarl.policy import Decoding, fitted, load_policy
    from vlarl.progress import Display
    from vlarl.results import display_path, write_result
    from vlarl.videos import choose_episodes

    tasks = choose_tasks(env, options.suite, options.tasks)
    policy = load_policy(policy_source(checkpoint), load=load)
    slots = max(min(options.slots, options.episodes * len(tasks)), 1)
    env = fitted(env, policy)
    pool = make_slots(env, [(t.suite, t.task) for t in tasks], workers=min(options.workers, slots), slots=slots)
    decoding = Decoding(mode=options.decoding, temperature=options.temperature)
    played: list[Trajectory] = []

    def finished(episode: Trajectory) -> None:
        display.episode(episode)
        if options.videos is not None:
            played.append(dataclasses.replace(episode, observations=[], outputs=[], frames=[]))  # a light copy

    with pool, Display() as display:
        display.phase(f"evaluation, {options.decoding}", options.episodes * len(tasks))
        result = evaluate(
            Collector(policy, pool),
            tasks,
            split=options.split,
            episodes_per_task=options.episodes,
            decoding=decoding,
            seed=options.seed,
            command=shlex.join(["vlarl", *sys.argv[1:]]),
            env_protocol=env.protocol(),
            policy_name=display_path(checkpoint),
            instructions=told_instructions(tasks, options),
            on_episode=finished,
        )
    if options.videos is not None:
        write_videos(policy, env, choose_episodes(played, options.video_count), decoding, options.videos)
    print_result(result)
    if options.json is not None:
        write_result(options.json, result)
    return 0


def write_videos(
    policy: Policy, env: EnvConfig, specs: Sequence[EpisodeSpec], decoding: Decoding, folder: Path
) -> None:
    """Play these episodes again with every frame drawn, and write them."""
    from vlarl.progress import Display
    from vlarl.videos import film_episodes, filming
    from vlarl.worker_pool import WorkerPool

    tasks = sorted({(spec.suite, spec.task) for spec in specs})
    with WorkerPool(filming(env), tasks=tasks, workers=1, num_slots=1) as pool, Display() as display:
        display.phase("videos", len(specs))
        written = film_episodes(policy, pool, specs, decoding, folder, display.episode)
    for path in written:
        print(f"written: {path}")


def env_for_suite(suite: str) -> EnvConfig:
    """The environment whose name the suite's begins with, with its default settings.

    Raises:
        NameNotFoundError: no environment plays that suite.
    """
    names = [item.name for item in list_names("envs")]
    fitting = [name for name in names if suite == name or suite.startswith(f"{name}_")]
    if not fitting:
        guess = nearest(suite.partition("_")[0], names)
        tail = f" Did you mean a suite of '{guess}'?" if guess else ""
        raise NameNotFoundError(f"no environment plays suite {suite!r}.{tail} Environments: {', '.join(names)}.")
    return find_config_class(resolve(max(fitting, key=len), "envs"), "make")()


def choose_tasks(env: EnvConfig, suite: str, indices: Sequence[int]) -> list[TaskInfo]:
    """The tasks with these indices, in this order; all of the suite for none.

    Raises:
        UserError: the suite has no such task; its tasks are listed.
    """
    tasks = {task.task: task for task in env.task_specs(suite)}
    missing = [index for index in indices if index not in tasks]
    if missing:
        listed = "\n".join(f"  {task.task:3}  {task.instruction}" for task in tasks.values())
        raise UserError(f"suite {suite!r} has no task {', '.join(map(str, missing))}. Its tasks:\n{listed}")
    return [tasks[index] for index in indices] if indices else list(tasks.values())


def told_instructions(tasks: Sequence[TaskInfo], options: Options) -> dict[int, str] | None:
    """Task index -> what the policy is told in place of the task's own sentence; None for its own.

    Raises:
        UserError: both kinds of replacement, or a single task that has no next one.
    """
    if options.instruction is not None and options.wrong_instruction:
        raise UserError("--instruction and --wrong-instruction exclude each other")
    if options.instruction is not None:
        return {task.task: options.instruction for task in tasks}
    if not options.wrong_instruction:
        return None
    if len(tasks) < 2:
        raise UserError("--wrong-instruction takes the next task's sentence: play at least two tasks")
    return {task.task: tasks[(index + 1) % len(tasks)].instruction for index, task in enumerate(tasks)}


def with_profile(env: EnvConfig, profile: str | None) -> EnvConfig:
    """``env`` with another render profile.

    Raises:
        UserError: this environment has none, or not that one.
    """
    if profile is None:
        return env
    settings: Any = env
    allowed = getattr(type(env), "__annotations__", {}).get("profile", "")
    choices = [word for word in ("reference", "fast") if word in str(allowed)]
    if not choices:
        raise UserError(f"{type(env).__name__} has no render profiles: leave --profile away")
    if profile not in choices:
        raise UserError(unknown_name("render profile", profile, choices))
    return dataclasses.replace(settings, profile=profile)


def policy_source(checkpoint: str) -> str:
    """The policy folder inside a run folder; anything else is taken as it is."""
    folder = Path(checkpoint)
    if (folder / "config.json").is_file() and not (folder / "model.safetensors").is_file():
        from vlarl.checkpoint import latest_checkpoint

        if (folder / "policy" / "config.json").is_file():
            return str(folder / "policy")
        latest = latest_checkpoint(folder)
        if latest is not None:
            return str(latest)
    return checkpoint


def print_result(result: dict[str, Any]) -> None:
    """Table per task, total, and the protocol in one line."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2))
    for title in ("task", "instruction", "success", "95 %", "episodes", "errors"):
        table.add_column(title, justify="left" if title in ("task", "instruction") else "right")
    for row in [*result["tasks"], {"task": "all", "suite": "", "instruction": "", **result}]:
        low, high = row["ci95"] or (None, None)
        table.add_row(
            f"{row['suite']} {row['task']}".strip(),
            row["instruction"],
            "-" if row["success_rate"] is None else f"{row['success_rate']:.3f}",
            "-" if low is None else f"{low:.3f} to {high:.3f}",
            str(row["episodes"]),
            str(row["errors"]),
        )
    console = Console(highlight=False)
    console.print(table)
    if "driving" in result:
        from vlarl.driving_figures import driving_table, infraction_lines

        console.print(driving_table(result))
        for line in infraction_lines(result["driving"]):
            console.print(line)
    protocol = result["protocol"]
    told = (
        *("backend", "render_profile", "controller", "horizon", "split", "decoding"),
        *("episodes_per_task", "seed", "instruction"),
    )
    console.print("protocol: " + ", ".join(f"{name} {protocol[name]}" for name in told if name in protocol))


@dataclass(frozen=True)
class _NoConfig:
    """For --help before the suite, and so the environment, is known."""


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The flags as they are known: ``--protocol`` is ``--split``, ``--suite drive/town02`` is ``drive_town02``."""
    words = ["--split" if word == "--protocol" else word for word in arguments]
    for index, word in enumerate(words):
        if word.startswith("--suite=") or (index and words[index - 1] == "--suite"):
            words[index] = word.replace("/", "_")
    return words


def _suite_in(words: Sequence[str]) -> str | None:
    for index, word in enumerate(words):
        if word == "--suite" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--suite="):
            return word.partition("=")[2]
    return None


def _help() -> str:
    return plain_description(__doc__ or "")
