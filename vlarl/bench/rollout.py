"""Measure how fast episodes are played: LIBERO's own vector environment, our engine, our engine with a policy.

Example::

    vlarl bench rollout --suite libero_object --task 0 --workers 2 --json rollout.json
    vlarl bench rollout --suite libero_goal --task 3 --checkpoint assets/libero_start

All contenders run in one go, interleaved, with two 128 x 128 cameras, the same actions and the same number of control
steps. 'subproc' is LIBERO's SubprocVectorEnv as shipped; 'async' gymnasium's AsyncVectorEnv with shared memory over the
same environment; 'reference' is our engine with the same pixels and bitwise the same states; 'fast' draws simpler
meshes without antialiasing and is never mixed with reference numbers; 'fast+policy' is a whole collection with the
policy's time included.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.bench.contenders import Contender, Measurement
    from vlarl.env_protocol import EnvConfig, Float32Array

CONTENDERS = ("subproc", "async", "reference", "fast")
ENGINES = ("reference", "fast")
RATIOS = (("async", "subproc"), ("reference", "subproc"), ("fast", "subproc"), ("fast+policy", "subproc"))
PHASE_UNIT = "CPU ms/step"


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench rollout``."""

    suite: str = "libero_object"
    """Whose task to play."""
    task: int = 0
    """Task index."""
    workers: int = 2
    """Simulator processes of every contender; one per core is right."""
    episodes: int = 4
    """Episodes per repeat, a multiple of workers; our engine plays them on as many slots."""
    steps: int = 80
    """Control steps per episode."""
    repeats: int = 5
    """How often each contender is measured, interleaved."""
    resolution: int = 128
    """Width and height of both cameras' images."""
    contenders: tuple[str, ...] = field(default=CONTENDERS)
    """Which to measure: subproc, async, reference, fast."""
    phases: bool = True
    """Also split the CPU time of a control step into physics, controller, success check, rendering and transport."""
    checkpoint: Path | None = None
    """Also measure a collection with this policy (fast profile), as 'fast+policy'."""
    policy_episodes: int = 32
    """Episodes per repeat of 'fast+policy'."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    check(options)
    table = Table()
    measure(options, table)
    if options.phases:
        split_phases(options, table)
    factors = ratios(table, RATIOS)
    print_rows(f"rollouts of {options.suite} task {options.task}, {options.workers} workers", table.rows(), factors)
    if options.json is not None:
        write(options, table, dict(factors))
    return 0


def measure(options: Options, table: Table) -> None:
    """All contenders, interleaved."""
    actions = bench_actions(options.episodes, options.steps)
    contenders: list[Contender] = []
    collection = None
    try:
        for name in options.contenders:
            contenders.append(make_contender(name, options))
        collection = PolicyCollection(options) if options.checkpoint else None
        for contender in contenders:
            contender.play(actions[:, :16])  # opens renderers, compiles, fills caches
        if collection is not None:
            collection.play()
        for _ in range(options.repeats):
            for contender in contenders:
                record(table, contender.name, contender.play(actions))
            if collection is not None:
                collection.record(table)
        for contender in contenders:
            table.add(f"{contender.name} memory per worker", "MiB", contender.memory_bytes() / 2**20 / options.workers)
    finally:
        for item in [*contenders, *([collection] if collection else [])]:
            item.close()


def split_phases(options: Options, table: Table) -> None:
    """Rows for physics and controller, and for the phases of the stock environment; after the timed runs."""
    from vlarl.bench.phases import physics_share, stock_phases

    actions = bench_actions(1, options.steps)[0]
    for name in (*ENGINES, "fast+policy"):
        simulate = f"{name} cpu simulate"
        if simulate in table:
            controller = "exact" if name == "reference" else "compiled"
            share = physics_share(options.suite, options.task, controller, actions)
            for value in table.values(simulate):
                table.add(f"{name} cpu physics", PHASE_UNIT, share * value)
                table.add(f"{name} cpu controller", PHASE_UNIT, (1.0 - share) * value)
    stock = [name for name in ("subproc", "async") if name in options.contenders]
    if stock:
        phases = stock_phases(options.suite, options.task, options.resolution, actions[:32])
        for name in stock:
            for phase, share in phases.items():  # transport, below a tenth of a percent, is within the others
                for value in table.values(f"{name} cpu"):
                    table.add(f"{name} cpu {phase}", PHASE_UNIT, share * value)


def check(options: Options) -> None:
    """Refuse what could not be measured.

    Raises:
        UserError: unknown contender, odd numbers, or a suite that is not LIBERO's.
    """
    unknown = [name for name in options.contenders if name not in CONTENDERS]
    if unknown:
        raise UserError(f"unknown contender {unknown[0]!r}; choose from {', '.join(CONTENDERS)}")
    if options.workers < 1 or options.episodes < 1 or options.episodes % options.workers:
        raise UserError(f"--episodes {options.episodes} is not a multiple of --workers {options.workers}")
    if options.steps < 16 or options.repeats < 1:
        raise UserError("--steps needs at least 16, --repeats at least 1")
    from vlarl.commands.eval import choose_tasks

    choose_tasks(env_config(options, "fast"), options.suite, [options.task])


def env_config(options: Options, profile: str, horizon: int | str | None = None) -> EnvConfig:
    """Our LIBERO environment in a render profile, by default with a horizon no benchmark episode reaches."""
    from vlarl.commands.eval import env_for_suite

    config: Any = env_for_suite(options.suite)
    return dataclasses.replace(
        config,
        profile=profile,
        controller="exact" if profile == "reference" else "compiled",
        resolution=options.resolution,
        horizon=horizon or options.steps + 1,
    )


def make_contender(name: str, options: Options) -> Contender:
    """Start the processes of one contender."""
    from vlarl.bench.contenders import Engine
    from vlarl.bench.stock import Async, Subproc

    if name not in ENGINES:
        contender = Subproc if name == "subproc" else Async
        return contender(options.suite, options.task, options.workers, options.resolution)
    config = env_config(options, name)
    return Engine(name, config, options.suite, options.task, options.workers, options.episodes)


def bench_actions(episodes: int, steps: int) -> Float32Array:
    """``float32 [episodes, steps, 7]``: slow random motion with the gripper opening and closing."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (episodes, steps, 7))
    actions[:, :, 2] -= 0.3  # downwards: contact is where physics costs
    actions[:, :, 6] = np.where(np.arange(steps) // 20 % 2 == 0, -1.0, 1.0)
    return actions.astype(np.float32)


def record(table: Table, name: str, measured: Measurement) -> None:
    """Add one repeat's figures."""
    table.add(name, "env-steps/s", measured.steps / measured.seconds)
    table.add(f"{name} frames", "decision frames/s", measured.frames / measured.seconds)
    table.add(f"{name} cpu", PHASE_UNIT, 1e3 * measured.cpu_seconds / measured.steps)
    for phase, seconds in measured.phases.items():
        table.add(f"{name} cpu {phase}", PHASE_UNIT, 1e3 * seconds / measured.steps)
    if measured.phases:
        rest = measured.cpu_seconds - sum(measured.phases.values())
        table.add(f"{name} cpu transport", PHASE_UNIT, 1e3 * rest / measured.steps)


class PolicyCollection:
    """The collector that trains and evaluates, with a real policy in the loop."""

    def __init__(self, options: Options) -> None:
        from vlarl.collector import Collector
        from vlarl.commands.eval import policy_source
        from vlarl.env_protocol import EpisodeSpec
        from vlarl.policy import Decoding, load_policy
        from vlarl.worker_pool import WorkerPool

        config = env_config(options, "fast", horizon="suite")
        info = next(task for task in config.task_specs(options.suite) if task.task == options.task)
        self._pool = WorkerPool(
            config,
            tasks=[(options.suite, options.task)],
            workers=options.workers,
            num_slots=max(8 * options.workers, options.workers),
        )
        self._collector = Collector(load_policy(policy_source(str(options.checkpoint))), self._pool)
        self._decoding = Decoding(mode="sample", temperature=1.0)
        self._workers = options.workers
        self._specs = [
            EpisodeSpec(
                suite=options.suite,
                task=options.task,
                instruction=info.instruction,
                init_state=index % info.num_init_states,
                seed=index,
            )
            for index in range(options.policy_episodes)
        ]

    def play(self) -> float:
        """One collection; returns its wall-clock seconds."""
        started = time.perf_counter()
        self._collector.collect(self._specs, self._decoding)
        return time.perf_counter() - started

    def record(self, table: Table) -> None:
        """Add one repeat's figures; episodes end where they succeed, resets are included."""
        from vlarl.bench.contenders import CpuClock

        clock = CpuClock(self._pool.worker_pids())
        seconds = self.play()
        stats = self._collector.stats
        cpu = clock.seconds()
        table.add("fast+policy", "env-steps/s", stats.steps / seconds)
        table.add("fast+policy frames", "decision frames/s", stats.decisions / seconds)
        table.add("fast+policy cpu", PHASE_UNIT, 1e3 * cpu / stats.steps)
        table.add("fast+policy cpu policy", PHASE_UNIT, 1e3 * stats.policy_cpu_seconds / stats.steps)
        for phase, value in stats.phases.items():
            table.add(f"fast+policy cpu {phase}", PHASE_UNIT, 1e3 * value / stats.steps)
        rest = cpu - stats.policy_cpu_seconds - sum(stats.phases.values())
        table.add("fast+policy cpu transport", PHASE_UNIT, 1e3 * rest / stats.steps)
        table.add("fast+policy idle", "of all cores", max(0.0, 1.0 - cpu / (seconds * self._workers)))

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()


def write(options: Options, table: Table, factors: dict[str, float]) -> None:
    """Write the result file."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "rollout", "--suite", options.suite, "--task", str(options.task)]
    words += ["--workers", str(options.workers), "--repeats", str(options.repeats), "--steps", str(options.steps)]
    if options.checkpoint is not None:
        words += ["--checkpoint", str(options.checkpoint)]
    protocol = {
        name: env_config(options, name).protocol() for name in ("reference", "fast") if name in options.contenders
    }
    protocol |= {"chunk": 8, "episodes": options.episodes, "steps": options.steps, "interleaved": True}
    assert options.json is not None
    write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": factors})
