"""Measure the driving world: steps per second with and without observations, and what a step costs as the world grows.

Example::

    vlarl bench drive --json drive.json
    vlarl bench drive --maps grid_town,Town02.xodr --actors 20,60 --threads 1

The egos follow their routes by rule; that driver's time is not counted. Every case is measured once per repeat, in
turn: the world alone by map and number of other actors, with the vector observation, and with bird's-eye views by their
side in pixels. An actor-step is one actor (the ego included) moved by one control step of 0.1 s; a bird's-eye step is a
control step and CaRL's ten images of it. Where highway-env is installed it is measured in turn with the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlarl.bench.drive_peers import make_peers
from vlarl.bench.measure import Table, print_rows
from vlarl.errors import UserError

if TYPE_CHECKING:
    from envs.driving.world.route_driver import RouteDriver
    from envs.driving.world.world import DrivingWorlds

WARM_STEPS = 20
"""Before anything is measured: traffic spreads out, kernels are compiled."""


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench drive``."""

    maps: str = "grid_town,ring_road"
    """Our maps by name or OpenDRIVE files, with commas between; the first one carries the cases that do not grow."""
    actors: str = "1,5,20,60"
    """Numbers of other actors, with commas between; growth is measured over them, all else with --others."""
    others: int = 20
    """Other actors where their number is not what grows."""
    sizes: str = "192,256"
    """Sides of bird's-eye views [pixels]."""
    worlds: int = 64
    """Batch."""
    steps: int = 50
    """Control steps per repeat and case."""
    repeats: int = 7
    """How often each case is measured, interleaved."""
    threads: int = 2
    json: Path | None = None
    """Write rows and ratios to this file."""


@dataclass(frozen=True)
class Case:
    """Something to measure: worlds, their driver, and what is looked at after every step."""

    name: str
    unit: str
    worlds: DrivingWorlds
    driver: RouteDriver
    observe: Callable[[], Any]
    per_step: int
    """Of the unit, per control step of one world."""


def run(options: Options) -> int:
    """Measure, print, write."""
    check(options)
    cases, facts = make_cases(options)
    peers, fact = make_peers(options.others)
    facts.append(fact)
    table = Table()
    for case in cases:
        spend(case, WARM_STEPS)
    for _ in range(options.repeats):
        for case in cases:
            seconds, cpu = spend(case, options.steps)
            done = options.steps * options.worlds
            table.add(case.name, case.unit, done * case.per_step / seconds)
            table.add(f"{case.name}: cost", "CPU us/step", 1e6 * cpu / done)
        for peer in peers:
            seconds, cpu = peer.spend(options.steps)
            table.add(peer.name, peer.unit, options.steps * peer.per_step / seconds)
            table.add(f"{peer.name}: cost", "CPU us/step", 1e6 * cpu / options.steps)
    factors = growth(table, options)
    first = map_names(options)[0]
    size = numbers(options.sizes, "--sizes", 16)[0]
    alike = {"actor-steps/s": f"{first}, {options.others} others", "steps/s": f"{size} px, {first}"}
    for peer in peers:  # a world alone with ours alone, a view with a view
        ours = alike[peer.unit]
        factors[f"cost, {peer.name}/{ours}"] = table.median(f"{peer.name}: cost") / table.median(f"{ours}: cost")
    print_rows(f"{options.worlds} worlds, {options.threads} threads", table.rows(), factors)
    for fact in facts:
        print(fact)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        words = ["vlarl", "bench", "drive", "--maps", options.maps, "--actors", options.actors]
        words += ["--others", str(options.others), "--sizes", options.sizes, "--worlds", str(options.worlds)]
        words += ["--threads", str(options.threads)]
        protocol = {"control_seconds": 0.1, "interleaved": True, "steps": options.steps, "maps": facts}
        write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": factors})
    return 0


def check(options: Options) -> None:
    """Refuse what could not be measured.

    Raises:
        UserError: numbers below 1, or lists that are not numbers.
        MissingExtraError: numba is not installed.
    """
    if min(options.worlds, options.steps, options.repeats, options.threads, options.others) < 1:
        raise UserError("--worlds, --steps, --repeats, --threads and --others need at least 1")
    numbers(options.actors, "--actors", 1)
    numbers(options.sizes, "--sizes", 16)
    map_names(options)
    try:
        import numba  # noqa: F401
    except ModuleNotFoundError as error:
        from vlarl.extras import missing_extra

        raise missing_extra("numba", needed_by="vlarl bench drive") from error


def numbers(text: str, flag: str, least: int) -> list[int]:
    """The numbers of a comma-separated list.

    Raises:
        UserError: something else, or a number below ``least``.
    """
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) >= least for part in parts):
        raise UserError(f"{flag} is {text!r}; whole numbers of at least {least} are needed, with commas between")
    return [int(part) for part in parts]


def map_names(options: Options) -> list[str]:
    """What the rows call the maps: files without folder and ending.

    Raises:
        UserError: two maps of one name.
    """
    names = [Path(word).stem for word in options.maps.split(",")]
    if len(set(names)) < len(names):
        raise UserError(f"--maps is {options.maps!r}; every map needs another name")
    return names


def make_cases(options: Options) -> tuple[list[Case], list[str]]:
    """Everything to measure, and a line about each map."""
    from envs.driving.maps.map_compiler import load_map
    from envs.driving.maps.map_generator import shipped_map
    from envs.driving.views.birds_eye import BirdsEye, View
    from envs.driving.views.vector_observation import VectorObservation

    names = map_names(options)
    files = [Path(word) if Path(word).suffix else shipped_map(word) for word in options.maps.split(",")]
    graphs = [load_map(file) for file in files]
    cases, facts = [], []
    for name, graph in zip(names, graphs, strict=True):
        facts.append(f"{name}: {graph.lanes} lanes, {len(graph.points)} points, {graph.length.sum() / 1e3:.1f} lane km")
        cases.append(make_case(f"{name}, {options.others} others", graph, options.others, options))
    for others in numbers(options.actors, "--actors", 1):
        if others != options.others:
            cases.append(make_case(f"{names[0]}, {others} others", graphs[0], others, options))
    vector = VectorObservation()
    cases.append(make_case("vector", graphs[0], options.others, options, lambda _, worlds: vector.observe(worlds)))
    for size in numbers(options.sizes, "--sizes", 16):
        view = View(size=size, from_bottom=size * 100 / 256)
        for name, graph in zip(names, graphs, strict=True):
            birds_eye = BirdsEye(graph, view)
            images = birds_eye.render

            def look(out: np.ndarray, worlds: DrivingWorlds, images: Callable[..., Any] = images) -> None:
                images(worlds, out)

            out = np.empty((options.worlds, 10, size, size), np.uint8)
            cases.append(make_case(f"{size} px, {name}", graph, options.others, options, look, out))
    return cases, facts


def make_case(
    name: str,
    graph: Any,
    others: int,
    options: Options,
    look: Callable[[Any, DrivingWorlds], Any] | None = None,
    out: Any = None,
) -> Case:
    """Worlds on a map with so many other actors, a tenth of them pedestrians."""
    from envs.driving.world.route_driver import RouteDriver
    from envs.driving.world.start import Start
    from envs.driving.world.world import DrivingWorlds

    worlds = DrivingWorlds(graph, worlds=options.worlds, actors=others + 1, threads=options.threads)
    people = others // 10
    starts = {w: Start(seed=w, traffic=others - people, pedestrians=people) for w in range(options.worlds)}
    worlds.reset(starts)
    failed = [error for error in worlds.errors if error]
    if failed:
        raise UserError(f"{len(failed)} of {options.worlds} worlds could not start: {failed[0]}")
    actor_steps = look is None
    return Case(
        name=name,
        unit="actor-steps/s" if actor_steps else "steps/s",
        worlds=worlds,
        driver=RouteDriver(worlds),
        observe=(lambda: None) if look is None else (lambda: look(out, worlds)),
        per_step=others + 1 if actor_steps else 1,
    )


def spend(case: Case, steps: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of so many steps with observations, the driver's own left out."""
    seconds = cpu = 0.0
    for _ in range(steps):
        actions = case.driver.act()
        started, before = time.perf_counter(), time.process_time()
        case.worlds.step(actions)
        case.observe()
        seconds += time.perf_counter() - started
        cpu += time.process_time() - before
    return seconds, cpu


def growth(table: Table, options: Options) -> dict[str, float]:
    """What a step costs with other numbers of actors and on other maps, relative to the first map's base case."""
    names = map_names(options)
    base = table.median(f"{names[0]}, {options.others} others: cost")
    factors = {}
    for others in numbers(options.actors, "--actors", 1):
        if others != options.others:
            name = f"{names[0]}, {others} others: cost"
            factors[f"cost, {others}/{options.others} others"] = table.median(name) / base
    for name in names[1:]:
        factors[f"cost, {name}/{names[0]}"] = table.median(f"{name}, {options.others} others: cost") / base
    return factors
