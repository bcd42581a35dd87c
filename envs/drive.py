"""Driving on OpenDRIVE maps: routes through traffic, as an environment for policies.

A suite is a map (``drive_grid_town``, ``drive_roundabout``, ``drive_ring_road``, ``drive_winding_road``, or any file by
``--env.map-file Town02.xodr --suite drive_town02``), a task a route drawn for it, an initial state the seed of
everything else: who is on the way, and how they behave. The suite ``drive_maps`` holds the routes of all
``--env.maps``, the first map's first. One slot is one world; in the process that learns, all slots are stepped
together (:mod:`envs.driving.episodes`).

* Action ``[chunk, 2]``: steer (-1 right, 1 left) and pedal (-1 full brake, 1 full throttle), one per 0.1 s.
* ``state``: :class:`envs.driving.views.vector_observation.VectorObservation`, then
  :mod:`envs.driving.views.route_ahead` (lights, stop signs, who is ahead on the route, whether the next
  junction is free, the way past an obstacle).
* With ``--env.layers 64`` CaRL's inputs in its place: ``images["layers"] uint8 [64, 64, 10]``, the ten channels of
  :mod:`envs.driving.views.birds_eye` last, and as ``state`` :mod:`envs.driving.measurements`.
* ``images["birds_eye"]``: a colour picture from above, drawn once per chunk.
* SUCCESS: the route is completed. FAILURE: a collision, a red light or stop sign run over, off the road, off the route,
  blocked. TRUNCATED: the horizon. The environment's own reward is 0: see :mod:`vlarl.rewards.carl`.
* Events, at the end of the chunk unless said otherwise: ``drive/carl`` (CaRL's reward ``float32 [chunk]`` per control
  step), ``drive/factors`` (``float32 [chunk, 5]``, what it was made of: ``FACTORS`` in
  :mod:`envs.driving.scores.carl_reward`), ``drive/motion`` (``float32 [chunk, 3]``: speed [m/s], distance from the
  route's centre [m], angle to it [rad]), ``drive/route_completion`` and ``drive/driving_score`` (0 to 100),
  ``drive/kilometres``, ``drive/comfort/<bound>`` (share of time, :mod:`envs.driving.scores.comfort`), and per kind of
  infraction ``drive/count/<kind>`` since the start.

Example::

    vlarl eval vlarl.policies.route_following:RouteFollowing --suite drive_grid_town --episodes 4
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from envs.driving import measurements
from envs.driving.episodes import ACTION_DIM, DriveBatch
from envs.driving.maps.map_generator import MAPS, shipped_map
from envs.driving.scores.carl_reward import CarlRewardSettings
from envs.driving.shared import shared_map, shared_route
from envs.driving.views import route_ahead
from envs.driving.views.birds_eye import View
from envs.driving.views.vector_observation import VectorObservation
from envs.driving.world.world import DrivingWorlds
from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    TaskInfo,
    UnknownTaskError,
    check_actions,
)
from vlarl.errors import ConfigError, unknown_name

__all__ = ["SUITES", "Drive", "DriveConfig", "shared_map", "shared_route"]
NUM_INIT_STATES = 1000
SUITES = {f"drive_{name}": name for name in MAPS}
"""Suite -> map of ours."""
MIXED = "drive_maps"
"""The suite of several maps."""


@dataclass(frozen=True, kw_only=True)
class DriveConfig:
    """Builds slots of the driving world."""

    map_file: str = ""
    """An OpenDRIVE file; its suite is ``drive_`` and its name in small letters. Empty: our maps by their suites."""
    maps: tuple[str, ...] = tuple(MAPS)
    """Maps of the suite ``drive_maps``: ours by name, or OpenDRIVE files."""
    routes: int = 8
    """Tasks per map."""
    route_metres: float = 300.0
    """Length of the routes; shorter where the map ends."""
    horizon: int = 1200
    """Control steps of 0.1 s per episode."""
    difficulty: float = 0.3
    """How full and how unruly the roads are, 0 to 1: see :func:`envs.driving.world.scenarios.scenario`."""
    actors: int = 48
    """Room for so many vehicles and pedestrians, the ego included."""
    resolution: int = 64
    """Pixels per side of the picture from above; 0: no picture."""
    view_metres: float = 96.0
    """Metres per side of the picture."""
    layers: int = 0
    """Pixels per side of CaRL's ten-channel view, which then replaces the state's vectors; 0: none."""
    layers_metres: float = 64.0
    """Metres per side of that view."""
    vector: VectorObservation = field(default_factory=VectorObservation)
    """Sizes of the state's first part."""
    carl: CarlRewardSettings = field(default_factory=CarlRewardSettings)
    """Constants of the reward, and of what ends an episode."""
    leaderboard: bool = False
    """Drive on after collisions, red lights and stop signs, which then cost score only, as in CARLA's leaderboard."""
    every_frame: bool = False
    """Draw every control step, for videos."""
    film: bool = False
    """Frames for videos are drawn for people (:mod:`envs.driving.views.film`), not as the policy sees them."""

    def __post_init__(self) -> None:
        if self.layers % 8 or self.layers < 0:
            raise ConfigError(f"env.layers is {self.layers}; expected a multiple of 8, or 0 for none")
        for name in self.maps:
            if "," in name and not Path(name).is_file():
                apart = " ".join(name.split(","))
                raise ConfigError(f"env.maps names {name!r}; between several maps there are spaces: {apart}")

    def make(self) -> Drive:
        """Build one slot."""
        return Drive(self)

    def make_batch(self, slots: int, threads: int = 1) -> DriveBatch:
        """Build slots that are stepped together."""
        return DriveBatch(self, slots, threads)

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Compile the maps of these tasks, and the kernels, before processes are forked."""
        for suite, task in dict(tasks).items():  # one of each suite
            slot = self.make()
            slot.reset(EpisodeSpec(suite=suite, task=task, instruction="", init_state=0, seed=0))
            slot.step_chunk(np.zeros((1, ACTION_DIM), np.float32))
            slot.close()

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name."""
        return {"env": "drive", **dataclasses.asdict(self)}

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """The routes of a map, or of all maps together."""
        return [
            TaskInfo(
                suite=suite,
                task=number * self.routes + route,
                name=f"{path.stem} route {route}",
                instruction="Follow the route.",
                num_init_states=NUM_INIT_STATES,
                horizon=self.horizon,
            )
            for number, path in enumerate(self.map_paths(suite))
            for route in range(self.routes)
        ]

    def place(self, spec: EpisodeSpec) -> tuple[Path, int]:
        """The map and the route of an episode.

        Raises:
            UnknownTaskError: no such suite, route or initial state.
        """
        paths = self.map_paths(spec.suite)
        counts = (("task", spec.task, len(paths) * self.routes), ("state", spec.init_state, NUM_INIT_STATES))
        for what, number, count in counts:
            if not 0 <= number < count:
                raise UnknownTaskError(f"suite {spec.suite!r} has no {what} {number}; it has 0 to {count - 1}")
        return paths[spec.task // self.routes], spec.task % self.routes

    def map_paths(self, suite: str) -> list[Path]:
        """The files of a suite's maps."""
        if suite != MIXED:
            return [self.map_path(suite)]
        return [Path(name) if name.endswith(".xodr") else shipped_map(name) for name in self.maps]

    def map_path(self, suite: str) -> Path:
        """The file of a suite's map.

        Raises:
            UnknownTaskError: there is no such suite; the nearest one is named.
        """
        if self.map_file:
            name = f"drive_{Path(self.map_file).stem.lower()}"
            if suite != name:
                raise UnknownTaskError(unknown_name("suite", suite, [name], f"It is the one of {self.map_file}."))
            return Path(self.map_file)
        if suite not in SUITES:
            hint = "--env.map-file takes any OpenDRIVE file, to be played as drive_<its name>."
            raise UnknownTaskError(unknown_name("suite", suite, [*SUITES, MIXED], hint))
        return shipped_map(SUITES[suite])

    def state_size(self) -> int:
        """Numbers in ``Observation.state``."""
        return measurements.LENGTH if self.layers else self.vector.length + route_ahead.LENGTH

    def spaces(self) -> dict[str, Any]:
        """Sizes for a fresh policy."""
        return {"state_size": self.state_size(), "low": (-1.0, -1.0), "high": (1.0, 1.0)}

    def view(self) -> View:
        """What the picture shows: three quarters of it lie ahead of the ego."""
        size = self.resolution
        return View(size=size, pixels_per_metre=size / self.view_metres, from_bottom=size / 4.0)

    def layers_view(self) -> View:
        """What the ten-channel view shows: three quarters of it lie ahead of the ego."""
        return View(size=self.layers, pixels_per_metre=self.layers / self.layers_metres, from_bottom=self.layers / 4.0)


class Drive:
    """One slot."""

    def __init__(self, config: DriveConfig) -> None:
        self.config = config
        self.outcome = Outcome.FAILURE
        self._batch = DriveBatch(config, 1)

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start on the route ``spec.task`` with traffic of the seed ``spec.init_state``.

        Raises:
            UnknownTaskError: no such suite, route or initial state.
            EnvError: the start is not possible.
        """
        self.outcome = Outcome.ERROR  # stands if the start is not possible
        observation = self._ask(spec)
        assert isinstance(observation, Observation)
        self.outcome = Outcome.RUNNING
        return observation

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run up to ``actions [chunk, 2]`` control steps; the picture is drawn at the last of them."""
        actions = check_actions(actions, ACTION_DIM)
        if self.outcome.has_ended:
            raise EnvError("step_chunk without a running episode; call reset(spec) first")
        self.outcome = Outcome.ERROR  # stands if the world fails
        result = self._ask(actions)
        assert isinstance(result, StepResult)
        self.outcome = result.outcome
        return result

    def close(self) -> None:
        """Free the world; compiled maps stay with the process."""
        self._batch.close()
        self.outcome = Outcome.FAILURE

    @property
    def worlds(self) -> DrivingWorlds:
        """The batch of one world that is played (for tests and videos)."""
        if 0 not in self._batch.playing:
            raise EnvError("no episode is running; call reset(spec) first")
        return self._batch.playing[0].worlds

    def _ask(self, request: EpisodeSpec | Float32Array) -> Observation | StepResult:
        answer = self._batch.answer({0: request})[0]
        if isinstance(answer, Exception):
            raise answer
        return answer
