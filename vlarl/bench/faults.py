"""Cause every kind of simulator fault on purpose and measure what it costs.

Example::

    vlarl bench faults --suite libero_object --task 0 --times 5 --soak 200 --json faults.json
    vlarl bench faults --suite toy --soak 1000

Of the episodes of one collection every fourth fails in its second chunk; the others are compared bit for bit with a
collection without faults. Then many faults of all kinds in one collection (``--storm``), and a long collection without
any, over which memory must not grow (``--soak``). The exit status is 1 where an episode differs, a fault was not
reported, or something was left behind.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from vlarl.bench.footprint import Footprint, footprint, growth, slope
from vlarl.errors import UserError

if TYPE_CHECKING:
    from vlarl.collector import Collector
    from vlarl.env_protocol import EnvConfig, EpisodeSpec
    from vlarl.types import Trajectory
    from vlarl.worker_pool import WorkerPool

ANYWHERE = ("raise", "nan", "inf", "crash", "kill", "segfault", "hang", "memory")
PHYSICS = ("physics-nan", "unstable", "graphics")
KEPT = ("descriptors", "processes", "mappings", "named_segments")
"""What must not grow over a collection."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench faults``."""

    suite: str = "libero_object"
    """Whose task to play; 'toy' needs no simulator."""
    task: int = 0
    """Task index."""
    faults: tuple[str, ...] = ()
    """Which to cause; none means all that the environment can have."""
    times: int = 5
    """How often each is caused."""
    storm: int = 0
    """Also cause this many faults at random in one collection of twice as many episodes."""
    soak: int = 0
    """Also play this many episodes without faults and report how fast memory grows."""
    workers: int = 2
    """Simulator processes."""
    slots: int = 8
    """Episodes in flight."""
    horizon: int = 32
    """Control steps per episode."""
    watchdog: float = 30.0
    """Seconds after which a worker counts as hung; a busy machine needs more."""
    json: Path | None = None
    """Write rows to this file."""


@dataclass(slots=True)
class Row:
    """What was seen of one kind of fault."""

    fault: str
    injected: int
    reported: int
    """Episodes that ended as an error with a cause."""
    others: int
    others_equal: int
    """Episodes without a fault that are bitwise what they would have been."""
    replaced: int
    """Worker processes that were replaced."""
    recovery: list[float]
    """Seconds from noticing the loss of a worker to the first answer of its successor."""
    left_behind: dict[str, int] = field(default_factory=dict)
    cause: str = ""
    """First line of one of the errors."""

    @property
    def is_good(self) -> bool:
        """All reported, all others equal, nothing left behind."""
        clean = not any(value > 0 for value in self.left_behind.values())
        return self.reported == self.injected and self.others_equal == self.others and clean


def run(options: Options) -> int:
    """Cause, compare, print, write."""
    from vlarl.collector import Collector
    from vlarl.worker_pool import WorkerPool

    names = chosen_faults(options)
    config = faulty_config(options)
    rows: list[Row] = []
    grown: dict[str, float] = {}
    with WorkerPool(
        config,
        tasks=[(options.suite, options.task)],
        workers=options.workers,
        num_slots=options.slots,
        watchdog_seconds=options.watchdog,
    ) as pool:
        collector = Collector(make_policy(options), pool, max_error_fraction=1.0)
        specs = make_specs(options, 4 * options.times)
        clean = collect_clean(collector, specs)
        for name in names:
            rows.append(cause(collector, pool, specs, clean, dict.fromkeys(range(1, len(specs), 4), name), name))
            print(describe(rows[-1]), file=sys.stderr, flush=True)
        if options.storm:
            rows.append(storm(collector, pool, options, names))
        if options.soak:
            grown = soak(collector, pool, options)
    show(rows, grown)
    if options.json is not None:
        write(options, rows, grown)
    return 0 if all(row.is_good for row in rows) else 1


def chosen_faults(options: Options) -> tuple[str, ...]:
    """The faults to cause.

    Raises:
        UserError: unknown ones, or nothing to do.
    """
    known = ANYWHERE if options.suite == "toy" else ANYWHERE + PHYSICS
    unknown = [name for name in options.faults if name not in known]
    if unknown:
        raise UserError(f"unknown fault {unknown[0]!r} for suite {options.suite!r}; choose from {', '.join(known)}")
    if options.times < 1 or options.horizon < 24:
        raise UserError("--times needs at least 1, --horizon at least 24 (three chunks)")
    return options.faults or known


def faulty_config(options: Options) -> EnvConfig:
    """The suite's environment, in the profile that trains, with faults on demand."""
    from vlarl.bench.fault_injection import FaultyConfig
    from vlarl.commands.eval import choose_tasks, env_for_suite

    config: Any = env_for_suite(options.suite)
    choose_tasks(config, options.suite, [options.task])
    changes: dict[str, Any] = {"horizon": options.horizon}
    if hasattr(config, "profile"):
        changes |= {"profile": "fast", "controller": "compiled"}
    else:
        changes |= {"resolution": 64}  # frames large enough to be shared
    return FaultyConfig(inner=dataclasses.replace(config, **changes))


def make_policy(options: Options) -> Any:
    """A small policy with random weights that sees the state, so that a wrong state changes what follows."""
    from vlarl.policies.state_mlp import StateMlp, StateMlpConfig

    return StateMlp(None if options.suite == "toy" else StateMlpConfig(state_size=8, chunk=8, action_dim=7))


def make_specs(options: Options, count: int) -> list[EpisodeSpec]:
    """``count`` episodes, cycling through 20 initial states."""
    from vlarl.env_protocol import EpisodeSpec

    return [
        EpisodeSpec(suite=options.suite, task=options.task, instruction="", init_state=index % 20, seed=index)
        for index in range(count)
    ]


def collect(collector: Collector, specs: list[EpisodeSpec]) -> list[Trajectory]:
    """One collection at the temperature of training."""
    from vlarl.policy import Decoding

    return collector.collect(specs, Decoding(temperature=1.0))


def collect_clean(collector: Collector, specs: list[EpisodeSpec]) -> list[Trajectory]:
    """What the episodes are without faults.

    Raises:
        RuntimeError: one of them failed by itself, so that there is nothing to compare with.
    """
    trajectories = collect(collector, specs)
    errors = sorted({t.error.splitlines()[0] for t in trajectories if t.error})
    if errors:
        raise RuntimeError(f"episodes failed without a fault: {'; '.join(errors)}. Is the machine too busy?")
    return trajectories


def steady(collector: Collector, pool: WorkerPool, specs: list[EpisodeSpec], processes: int | None = None) -> Footprint:
    """The footprint once every slot has been used again and killed processes are gone (at most 5 s later)."""
    collect(collector, [specs[index % len(specs)] for index in range(pool.num_slots)])
    for _ in range(50):
        seen = footprint(pool)
        if processes is None or seen.processes <= processes:
            break
        time.sleep(0.1)
    return seen


def cause(
    collector: Collector,
    pool: WorkerPool,
    specs: list[EpisodeSpec],
    clean: list[Trajectory],
    faults: dict[int, str],
    name: str,
) -> Row:
    """One collection in which episode ``index`` has fault ``faults[index]`` in its second chunk."""
    broken = [
        dataclasses.replace(spec, instruction=f"{faults[index]}@2") if index in faults else spec
        for index, spec in enumerate(specs)
    ]
    before = steady(collector, pool, specs)
    deaths, recoveries = pool.deaths, len(pool.recovery_seconds)
    seen = collect(collector, broken)
    replaced, recovery = pool.deaths - deaths, pool.recovery_seconds[recoveries:]
    more = growth(before, steady(collector, pool, specs, before.processes))
    return Row(
        fault=name,
        injected=len(faults),
        reported=sum(bool(seen[index].error) for index in faults),
        others=len(specs) - len(faults),
        others_equal=sum(same(seen[i], clean[i]) for i in range(len(specs)) if i not in faults),
        replaced=replaced,
        recovery=recovery,
        left_behind={name: more[name] for name in KEPT},
        cause=next((seen[index].error.splitlines()[0] for index in faults if seen[index].error), ""),
    )


def storm(collector: Collector, pool: WorkerPool, options: Options, names: tuple[str, ...]) -> Row:
    """Faults of all kinds at random in half of the episodes of one collection."""
    rng = np.random.default_rng(0)
    specs = make_specs(options, 2 * options.storm)
    clean = collect_clean(collector, specs)
    chosen = rng.permutation(len(specs))[: options.storm]
    faults = {int(index): names[rng.integers(len(names))] for index in chosen}
    return cause(collector, pool, specs, clean, faults, "all kinds at random")


def soak(collector: Collector, pool: WorkerPool, options: Options) -> dict[str, float]:
    """Growth per episode over a collection in ten parts, of which the first two are left out as warm-up."""
    part = max(options.soak // 10, 1)
    rows = []
    for _ in range(10):
        collect(collector, make_specs(options, part))
        rows.append(footprint(pool))
    counts = np.arange(2, 10, dtype=np.float64) * part
    names = ("main_bytes", "simulator_bytes")
    grown = {n: slope(counts, np.array([getattr(row, n) for row in rows[2:]], dtype=np.float64)) for n in names}
    return grown | {name: float(getattr(rows[-1], name) - getattr(rows[1], name)) for name in KEPT}


def same(first: Trajectory, second: Trajectory) -> bool:
    """Whether two episodes agree in every action, state and pixel."""
    if first.outcome is not second.outcome or len(first.observations) != len(second.observations):
        return False
    actions = all(np.array_equal(a.tokens, b.tokens) for a, b in zip(first.outputs, second.outputs, strict=True))
    return actions and all(
        np.array_equal(a.state, b.state) and all(np.array_equal(a.images[name], b.images[name]) for name in a.images)
        for a, b in zip(first.observations, second.observations, strict=True)
    )


def describe(row: Row) -> str:
    """One line of the table, in the form of docs/benchmarks.md."""
    times = f"{median(row.recovery):.2f} s (max {max(row.recovery):.2f})" if row.recovery else "same process"
    leaks = ", ".join(f"{value:+d} {name}" for name, value in row.left_behind.items() if value > 0) or "none"
    return (
        f"| {row.fault} | {row.injected} | {row.reported} | {row.others_equal} of {row.others} | {row.replaced} | "
        f"{times} | {leaks} |"
    )


def show(rows: list[Row], grown: dict[str, float]) -> None:
    """Print the fault table (markdown) and the growth of memory."""
    print(
        "| fault | injected | reported as error | other episodes bitwise equal | workers replaced | recovery | leaks |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(describe(row))
    for name, value in grown.items():
        unit = "KiB per episode" if name.endswith("bytes") else "more after the soak"
        print(f"{name}: {value / 1024 if name.endswith('bytes') else value:+.2f} {unit}")


def write(options: Options, rows: list[Row], grown: dict[str, float]) -> None:
    """Write the result file; a row's value is the median time to recover."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "faults", "--suite", options.suite, "--task", str(options.task)]
    words += ["--times", str(options.times), "--storm", str(options.storm), "--soak", str(options.soak)]
    table = []
    for row in rows:
        times = row.recovery or [0.0]
        figures = {"value": median(times), "min": min(times), "median": median(times), "max": max(times)}
        table.append({"name": row.fault, "unit": "s", "repeats": row.injected, **figures, **dataclasses.asdict(row)})
    for name, value in grown.items():
        unit = "bytes/episode" if name.endswith("bytes") else "count"
        table.append({"name": f"growth of {name}", "unit": unit, "repeats": options.soak, "value": value})
    protocol = faulty_config(options).protocol() | {"workers": options.workers, "slots": options.slots}
    assert options.json is not None
    write_result(options.json, result_header(words, protocol) | {"rows": table, "ratios": {}})
