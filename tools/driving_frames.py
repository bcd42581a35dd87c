"""Pictures of driving from above with the facts that hold in them, for ``tools/make_driving_clip.py``.

Worlds of rising difficulty are driven by rule and, by turns, badly: drifting, at full pedal through whatever is there,
at random, or not at all, so that every answer of :data:`envs.driving.views.captions.SENTENCES` is seen often.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.driving.shared import shared_drawer, shared_map
from envs.driving.views.birds_eye_picture import picture
from envs.driving.views.captions import SENTENCES, UNDECIDED, VIEW, Captions
from envs.driving.world.records import Status
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.scenarios import scenario
from envs.driving.world.world import DrivingWorlds

WORLDS, ACTORS = 48, 41
MOOD_STEPS, LONGEST = 40, 400
"""Control steps before the way of driving changes, and before a world starts anew."""
EVERY = 6
"""Control steps between pictures of a world."""
MOODS = (0.45, 0.12, 0.25, 0.1, 0.08)
"""How often the ego is driven by rule, drifts, hurries regardless, acts at random, stands."""
RARE = (("crash", 1), ("vehicle", 1), ("light", 2), ("road", 1), ("heading", 1))
"""Answers of which every picture is kept; of pictures with none of them, one in three."""
KEPT = 1 / 3


class Frames(NamedTuple):
    """Pictures with their facts."""

    pictures: NDArray[np.uint8]
    """``[N, size, size, 3]``"""
    answers: NDArray[np.int8]
    """``[N, facts]``: see :class:`envs.driving.views.captions.Captions`."""
    drives: NDArray[np.int32]
    """``[N]``: pictures of one drive are alike; intervals resample drives."""


def drive_and_look(path: Path, count: int, seed: int) -> Frames:
    """``count`` pictures of a map. Equal arguments give equal pictures."""
    worlds = DrivingWorlds(shared_map(path), worlds=WORLDS, actors=ACTORS)
    driver, captions, drawer = RouteDriver(worlds), Captions(worlds), shared_drawer(path, VIEW)
    random = np.random.default_rng(seed)
    starts = 1_000_000 * seed + np.arange(WORLDS)
    moods, since = np.zeros(WORLDS, np.int64), np.full(WORLDS, LONGEST)
    steer, pedal = np.zeros(WORLDS), np.zeros(WORLDS)
    pictures: list[NDArray[np.uint8]] = []
    answers: list[NDArray[np.int8]] = []
    drives: list[int] = []
    step = 0
    while len(pictures) < count:
        for w in np.flatnonzero(_is_over(worlds, since)).tolist():
            starts[w] += WORLDS
            worlds.reset({w: scenario(int(starts[w]), float(random.uniform(0.2, 1.0)), ACTORS)})
            since[w] = 0
        fresh = since % MOOD_STEPS == 0
        moods = np.where(fresh, random.choice(len(MOODS), WORLDS, p=MOODS), moods)
        steer = np.where(fresh, random.uniform(-0.35, 0.35, WORLDS), steer)
        pedal = np.where(fresh, random.uniform(0.2, 0.8, WORLDS), pedal)
        worlds.step(_controls(driver.act(), moods, steer, pedal, random))
        since, step = since + 1, step + 1
        if step % EVERY == 0:
            facts = captions.answers()
            chosen = np.flatnonzero((worlds.worlds["status"] == Status.RUNNING) & _is_wanted(facts, random))
            views, egos = drawer.render(worlds), worlds.actors[:, 0]
            pictures += [picture(views[w], egos[w], VIEW) for w in chosen]
            answers += list(facts[chosen])
            drives += starts[chosen].tolist()
    worlds.close()
    return Frames(np.stack(pictures[:count]), np.stack(answers[:count]), np.array(drives[:count], np.int32))


def kept_frames(folder: Path, path: Path, count: int, seed: int) -> Frames:
    """As ``drive_and_look``, kept in a file: what is there already is not made again."""
    file = folder / f"{path.stem}_{count}_{seed}.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npz")
        np.savez(part, **drive_and_look(path, count, seed)._asdict())
        part.rename(file)
    with np.load(file) as kept:
        return Frames(*(kept[name] for name in Frames._fields))


def joined(parts: list[Frames]) -> Frames:
    """All pictures one after the other."""
    return Frames(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _is_over(worlds: DrivingWorlds, since: NDArray[np.int64]) -> NDArray[np.bool_]:
    lost = np.abs(worlds.worlds["route_offset"]) > 12.0
    arrived = worlds.worlds["route_arc"] >= worlds.worlds["route_length"] - 2.0
    return (since >= LONGEST) | lost | arrived | (worlds.worlds["status"] != Status.RUNNING)


def _controls(
    by_rule: NDArray[np.float64],
    moods: NDArray[np.int64],
    steer: NDArray[np.float64],
    pedal: NDArray[np.float64],
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """``[N, 2]`` of each mood."""
    drift = by_rule + np.column_stack([0.4 * steer, np.zeros_like(steer)])
    hurry = np.column_stack([by_rule[:, 0], pedal])
    anyhow = np.column_stack([steer, random.uniform(-0.5, 1.0, len(steer))])
    stand = np.column_stack([by_rule[:, 0], np.full_like(steer, -1.0)])
    return np.stack([by_rule, drift, hurry, anyhow, stand])[moods, np.arange(len(moods))]


def _is_wanted(facts: NDArray[np.int8], random: np.random.Generator) -> NDArray[np.bool_]:
    names = list(SENTENCES)
    rare = np.zeros(len(facts), np.bool_)
    for name, answer in RARE:
        rare |= facts[:, names.index(name)] == answer
    return (rare | (random.random(len(facts)) < KEPT)) & (facts != UNDECIDED).any(axis=1)
