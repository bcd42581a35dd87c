"""Measure the scoring of frames by an image-text model: beside the simulation of many worlds, and as VLM-RL does.

Example::

    vlarl bench language --json language.json
    vlarl bench language --model ~/models/clip-vit-base-patch32 --slots 64

A random driving policy plays whole episodes, and the frame after every decision is scored. Three ways, in turn: batches
in a thread of their own while all worlds go on (*beside*: ours), the same batches with the simulation standing still
(*blocking*), and one environment whose simulation stands still (*one, blocking*: VLM-RL's). All give the same scores.
Waiting is the share of the time in which the simulation stands still because of scores, the wait at the end included.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlarl.bench.measure import Table, print_rows, ratios
from vlarl.errors import UserError

if TYPE_CHECKING:
    from envs.drive import DriveConfig
    from vlarl.env_protocol import EpisodeSpec
    from vlarl.policies.carl_driving import CarlDriving

OURS, STANDING, ORIGINAL = "beside", "blocking", "one, blocking"


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl bench language``."""

    model: str = "assets/driving_clip"
    """Folder of a CLIP or SigLIP of transformers."""
    suite: str = "drive_grid_town"
    slots: int = 48
    """Worlds of the first two ways."""
    episodes: int = 48
    """Per repeat of the first two ways; one environment plays an eighth of them."""
    horizon: int = 100
    """Control steps per episode."""
    resolution: int = 64
    """Pixels per side of the frames."""
    batch: int = 64
    """Frames that are scored together."""
    device: str = "auto"
    repeats: int = 5
    threads: int = 1
    """Of the simulation."""
    json: Path | None = None
    """Write rows and ratios to this file."""


def run(options: Options) -> int:
    """Measure, print, write."""
    from vlarl.policies.carl_driving import CarlDriving
    from vlarl.specs import training_groups

    if min(options.slots, options.episodes, options.horizon, options.repeats, options.batch, options.threads) < 1:
        raise UserError("--slots, --episodes, --horizon, --repeats, --batch and --threads need at least 1")
    env = make_env(options)
    policy = CarlDriving.for_env(env)
    specs = training_groups(
        env.task_specs(options.suite), split="heldout", groups=options.episodes, group_size=1, seed=0, iteration=0
    )
    few = specs[: max(1, options.episodes // 8)]
    ways = {OURS: (options.slots, False, specs), STANDING: (options.slots, True, specs), ORIGINAL: (1, True, few)}
    table = Table()
    play(options, env, policy, 1, True, specs[:1])  # compiles, and fills caches
    for _ in range(options.repeats):
        for name, (slots, blocking, played) in ways.items():
            frames, seconds, waiting = play(options, env, policy, slots, blocking, played)
            table.add(name, "frames/s", frames / seconds)
            table.add(f"{name}: waiting", "% of the time", 100.0 * waiting / seconds)
    factors = dict(ratios(table, [(OURS, ORIGINAL), (OURS, STANDING)]))
    print_rows(f"{options.model}, batches of {options.batch}", table.rows(), factors)
    if options.json is not None:
        write(options, env, table, factors)
    return 0


def make_env(options: Options) -> DriveConfig:
    """The driving world with the picture that is scored, beside what the policy sees."""
    from envs.drive import DriveConfig

    size = options.resolution
    return DriveConfig(horizon=options.horizon, actors=24, layers=64, resolution=size, view_metres=32.0)


def play(
    options: Options, env: DriveConfig, policy: CarlDriving, slots: int, blocking: bool, specs: list[EpisodeSpec]
) -> tuple[int, float, float]:
    """Frames that were scored, seconds, and seconds of waiting."""
    from vlarl.collector import Collector
    from vlarl.make_slots import make_slots
    from vlarl.policy import Decoding
    from vlarl.reward import score_all, watching
    from vlarl.rewards.language_goal import LanguageGoalConfig
    from vlarl.rewards.language_goal_judge import JudgeConfig

    judge = JudgeConfig(model=options.model, device=options.device, batch=options.batch, blocking=blocking)
    positive, negative = ("the road is clear",), ("two cars have collided",)
    term = LanguageGoalConfig(judge=judge, positive=positive, negative=negative).build()
    with make_slots(env, [(options.suite, 0)], workers=0, slots=slots, threads=options.threads) as pool:
        started = time.perf_counter()
        episodes = Collector(policy, pool).collect(specs, Decoding(), watch=watching([term]))
        score_all([term], [episode for episode in episodes if not episode.error])
        seconds = time.perf_counter() - started
    scorer = term.judge.scorer
    scorer.close()
    return scorer.frames, seconds, scorer.waiting_seconds


def write(options: Options, env: DriveConfig, table: Table, factors: dict[str, float]) -> None:
    """Write the result file."""
    from vlarl.results import result_header, write_result

    words = ["vlarl", "bench", "language"]
    for name in ("model", "suite", "slots", "episodes", "horizon", "resolution", "batch", "repeats", "threads"):
        words += [f"--{name}", str(getattr(options, name))]
    assert options.json is not None
    protocol = env.protocol() | {"interleaved": True, "device": options.device}
    write_result(options.json, result_header(words, protocol) | {"rows": table.rows(), "ratios": factors})
