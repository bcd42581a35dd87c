"""Videos of episodes: played again with every frame drawn, which is what they were, and written as mp4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vlarl.collector import Collector
from vlarl.env_protocol import EnvConfig, EpisodeSpec
from vlarl.media import side_by_side, write_video
from vlarl.policy import Decoding, Policy
from vlarl.types import Trajectory
from vlarl.vec_env import VecEnv

USUAL_FPS = 20.0
"""Where an episode is too short to tell its control rate."""
SMALL = 256
"""Pictures up to this height are enlarged twice."""


def filming(env: EnvConfig) -> EnvConfig:
    """The same environment with every frame drawn, for people where it knows how (a field ``film``)."""
    settings: Any = env
    film = {"film": True} if any(field.name == "film" for field in fields(settings)) else {}
    return replace(settings, every_frame=True, **film)


def control_rate(episode: Trajectory) -> float:
    """Control steps per second of simulated time: one frame each plays at true speed."""
    seconds = episode.observations[-1].time - episode.observations[0].time
    steps = sum(int(mask.sum()) for mask in episode.executed[: len(episode.observations) - 1])
    return round(steps / seconds, 3) if seconds > 0 and steps else USUAL_FPS


def write_episode(path: str | Path, episode: Trajectory) -> Path | None:
    """Write an episode's frames, its cameras side by side; None where it has none (a simulator error)."""
    if not episode.frames:
        return None
    cameras = [np.stack([frame[camera] for frame in episode.frames]) for camera in episode.frames[0]]
    pictures = side_by_side(*cameras)
    if pictures.shape[1] <= SMALL:
        pictures = pictures.repeat(2, axis=1).repeat(2, axis=2)
    return write_video(path, pictures, fps=control_rate(episode))


def film_episodes(
    policy: Policy,
    slots: VecEnv,
    specs: Sequence[EpisodeSpec],
    decoding: Decoding,
    folder: str | Path,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> list[Path]:
    """Play episodes one after the other (a long one's frames fill hundreds of megabytes) and write a video of each.

    Args:
        policy: that played them.
        slots: of an environment that draws every frame: see :func:`filming`.
        specs: what to play; equal specs are equal episodes.
        decoding: as they were played.
        folder: gets ``<suite>_<task>_<initial state>_<outcome>.mp4``.
        on_episode: called as episodes finish.

    Returns:
        The files.
    """
    written = []
    for spec in specs:
        (episode,) = Collector(policy, slots).collect([spec], decoding, on_episode=on_episode)
        name = f"{spec.suite}_{spec.task}_{spec.init_state}_{episode.outcome.value}.mp4"
        path = write_episode(Path(folder) / name, episode)
        written += [path] if path is not None else []
    return written


def choose_episodes(played: Sequence[Trajectory], count: int) -> list[EpisodeSpec]:
    """Specs of up to ``count`` episodes: the first of every outcome and task in turn, then the next ones."""
    order = sorted(played, key=lambda t: (t.spec.suite, t.spec.task, t.spec.init_state, t.spec.seed))
    seen: dict[tuple[str, int, str], int] = {}
    ranked = []
    for episode in order:
        key = (episode.spec.suite, episode.spec.task, episode.outcome.value)
        outcome = ("", -1, episode.outcome.value)
        ranked.append((seen.get(outcome, 0) > 0, seen.get(key, 0), episode.spec))
        for counted in (key, outcome):
            seen[counted] = seen.get(counted, 0) + 1
    ranked.sort(key=lambda row: row[:2])  # stable: the order of tasks within equal ranks
    return [spec for _, _, spec in ranked[:count]]
