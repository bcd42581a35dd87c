"""Driving on OpenDRIVE maps: routes through traffic, as an environment for policies.

A suite is a map (``drive_grid_town``, ``drive_roundabout``, ``drive_ring_road``, ``drive_winding_road``, or any file by
``--env.map-file Town02.xodr --suite drive_town02``), a task a route drawn for it, an initial state the seed of
everything else: who is on the way, and how they behave. One slot is one world.

* Action ``[chunk, 2]``: steer (-1 right, 1 left) and pedal (-1 full brake, 1 full throttle), one per 0.1 s.
* ``state``: :class:`envs.driving.vector_observation.VectorObservation`, then
  :mod:`envs.driving.route_ahead` (lights, stop signs, who is ahead on the route, whether the next
  junction is free).
* ``images["birds_eye"]``: a colour picture from above, drawn once per chunk.
* SUCCESS: the route is completed. FAILURE: a collision, a red light or stop sign run over, off the road, off the route,
  blocked. TRUNCATED: the horizon. The environment's own reward is 0: see :mod:`vlarl.rewards.carl`.
* Events, at the end of the chunk unless said otherwise: ``drive/carl`` (CaRL's reward ``float32 [chunk]`` per control
  step), and :func:`envs.driving.episode_events.episode_events`: ``drive/route_completion`` and ``drive/driving_score``
  (0 to 100), ``drive/kilometres``, ``drive/comfort/<bound>`` (share of time) and per kind of infraction
  ``drive/count/<kind>`` since the start.

Example::

    vlarl eval vlarl.policies.route_following:RouteFollowing --suite drive_grid_town --episodes 4
"""

from __future__ import annotations

import dataclasses
import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from envs.driving import route_ahead
from envs.driving.birds_eye import BirdsEye, View
from envs.driving.birds_eye_picture import picture
from envs.driving.carl_reward import CarlReward, CarlRewardSettings
from envs.driving.episode_events import episode_events, route_ended, without_infraction
from envs.driving.film import Film
from envs.driving.lane_graph import LaneGraph
from envs.driving.map_arrays import pack
from envs.driving.map_compiler import load_map
from envs.driving.map_generator import MAPS, shipped_map
from envs.driving.records import EVENTS, Status
from envs.driving.route_ahead import RouteAhead
from envs.driving.route_tasks import RouteTask, draw_route
from envs.driving.scenarios import scenario
from envs.driving.vector_observation import VectorObservation
from envs.driving.world import DrivingWorlds
from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    TaskInfo,
    UInt8Image,
    UnknownTaskError,
    check_actions,
)
from vlarl.errors import unknown_name

ACTION_DIM = 2
NUM_INIT_STATES = 1000
SUITES = {f"drive_{name}": name for name in MAPS}
"""Suite -> map of ours."""


@dataclass(frozen=True, kw_only=True)
class DriveConfig:
    """Builds slots of the driving world."""

    map_file: str = ""
    """An OpenDRIVE file; its suite is ``drive_`` and its name in small letters. Empty: our maps by their suites."""
    routes: int = 8
    """Tasks per map."""
    route_metres: float = 300.0
    """Length of the routes; shorter where the map ends."""
    horizon: int = 1200
    """Control steps of 0.1 s per episode."""
    difficulty: float = 0.3
    """How full and how unruly the roads are, 0 to 1: see :func:`envs.driving.scenarios.scenario`."""
    actors: int = 48
    """Room for so many vehicles and pedestrians, the ego included."""
    resolution: int = 64
    """Pixels per side of the picture from above; 0: no picture."""
    view_metres: float = 96.0
    """Metres per side of the picture."""
    vector: VectorObservation = field(default_factory=VectorObservation)
    """Sizes of the state's first part."""
    carl: CarlRewardSettings = field(default_factory=CarlRewardSettings)
    """Constants of the reward, and of what ends an episode."""
    leaderboard: bool = False
    """Drive on after collisions, red lights and stop signs, which then cost score only, as in CARLA's leaderboard."""
    every_frame: bool = False
    """Draw every control step, for videos."""
    film: bool = False
    """Frames for videos are drawn for people (:mod:`envs.driving.film`), not as the policy sees them."""

    def make(self) -> Drive:
        """Build one slot."""
        return Drive(self)

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
        """The routes of a map."""
        path = self.map_path(suite)
        return [
            TaskInfo(
                suite=suite,
                task=task,
                name=f"{path.stem} route {task}",
                instruction="Follow the route.",
                num_init_states=NUM_INIT_STATES,
                horizon=self.horizon,
            )
            for task in range(self.routes)
        ]

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
            raise UnknownTaskError(unknown_name("suite", suite, SUITES, hint))
        return shipped_map(SUITES[suite])

    def state_size(self) -> int:
        """Numbers in ``Observation.state``."""
        return self.vector.length + route_ahead.LENGTH

    def spaces(self) -> dict[str, Any]:
        """Sizes for a fresh policy."""
        return {"state_size": self.state_size(), "low": (-1.0, -1.0), "high": (1.0, 1.0)}

    def view(self) -> View:
        """What the picture shows: three quarters of it lie ahead of the ego."""
        size = self.resolution
        return View(size=size, pixels_per_metre=size / self.view_metres, from_bottom=size / 4.0)


@functools.lru_cache(maxsize=8)
def shared_map(path: Path) -> LaneGraph:
    """The compiled map; slots of one process share it."""
    return load_map(path)


@functools.lru_cache(maxsize=8)
def shared_drawer(path: Path, view: View) -> BirdsEye:
    """The static layers of a map at one scale; slots of one process share them."""
    return BirdsEye(shared_map(path), view)


@functools.lru_cache(maxsize=256)
def shared_route(path: Path, number: int, metres: float) -> RouteTask:
    """A route of a map."""
    return draw_route(pack(shared_map(path)), number, metres)


class _Played:
    """A world of one map with everything that looks at it."""

    def __init__(self, config: DriveConfig, path: Path) -> None:
        metres = int(config.route_metres) + 2
        self.path = path
        self.worlds = DrivingWorlds(shared_map(path), worlds=1, actors=config.actors, route_metres=metres)
        self.ahead = RouteAhead(self.worlds)
        self.reward = CarlReward(self.worlds, config.carl)
        self.drawer = shared_drawer(path, config.view()) if config.resolution else None
        self.film = Film(self.worlds) if config.film and config.every_frame else None


class Drive:
    """One slot."""

    def __init__(self, config: DriveConfig) -> None:
        self.config = config
        self.outcome = Outcome.FAILURE
        self._played: _Played | None = None
        self._instruction = ""
        self._steps = 0

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start on the route ``spec.task`` with traffic of the seed ``spec.init_state``.

        Raises:
            UnknownTaskError: no such suite, route or initial state.
            EnvError: the start is not possible.
        """
        config, path = self.config, self.config.map_path(spec.suite)
        for what, number, count in (("task", spec.task, config.routes), ("state", spec.init_state, NUM_INIT_STATES)):
            if not 0 <= number < count:
                raise UnknownTaskError(f"suite {spec.suite!r} has no {what} {number}; it has 0 to {count - 1}")
        if self._played is None or self._played.path != path:
            self._played = _Played(config, path)
        played, route = self._played, shared_route(path, spec.task, config.route_metres)
        others = scenario(spec.init_state, config.difficulty, config.actors)
        way = {"route": route.lanes, "first_arc": route.first_arc, "last_arc": route.last_arc}
        start = dataclasses.replace(others, **way)
        self.outcome = Outcome.ERROR  # stands if the start is not possible
        played.worlds.reset({0: start})
        self._check_world(played)
        played.reward.reset([0])
        if played.film is not None:
            played.film.reset()
        self._steps, self._instruction, self.outcome = 0, spec.instruction, Outcome.RUNNING
        return self._observe(played, self._draw(played))

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run up to ``actions [chunk, 2]`` control steps; the picture is drawn at the last of them."""
        actions = check_actions(actions, ACTION_DIM)
        played = self._played
        if played is None or self.outcome.has_ended:
            raise EnvError("step_chunk without a running episode; call reset(spec) first")
        executed = np.zeros(len(actions), dtype=np.bool_)
        carl = np.zeros(len(actions), dtype=np.float32)
        frames, started = [], time.process_time()
        for index, action in enumerate(actions):
            played.worlds.step(action[None])
            self._check_world(played)
            values, terminated, _ = played.reward.score()
            executed[index], carl[index] = True, values[0]
            self._steps += 1
            self.outcome = self._judge(played, bool(terminated[0]))
            if self.config.every_frame:
                frames.append(self._frame(played))
            if self.outcome.has_ended:
                break
        simulated = time.process_time()
        images = frames[-1] if frames and played.film is None else self._draw(played)
        events = {
            "drive/carl": carl,
            **episode_events(played.worlds, played.reward.comfort),
            "seconds/simulate": simulated - started,
        }
        return StepResult(
            observation=self._observe(played, images),
            executed=executed,
            reward=np.zeros(len(actions), dtype=np.float32),
            outcome=self.outcome,
            events=events | {"seconds/render": time.process_time() - simulated},
            frames=tuple(frames),
        )

    def close(self) -> None:
        """Free the world; compiled maps stay with the process."""
        self._played, self.outcome = None, Outcome.FAILURE

    @property
    def worlds(self) -> DrivingWorlds:
        """The batch of one world that is played (for tests and videos)."""
        if self._played is None:
            raise EnvError("no episode was started; call reset(spec) first")
        return self._played.worlds

    def _judge(self, played: _Played, terminated: bool) -> Outcome:
        if route_ended(played.worlds) if self.config.leaderboard else terminated:
            return Outcome.FAILURE
        if played.worlds.worlds["counts"][0, EVENTS.index("route_completed")] > 0:
            return Outcome.SUCCESS if without_infraction(played.worlds) else Outcome.FAILURE
        return Outcome.TRUNCATED if self._steps >= self.config.horizon else Outcome.RUNNING

    def _check_world(self, played: _Played) -> None:
        if played.worlds.worlds["status"][0] != Status.RUNNING:
            self.outcome = Outcome.ERROR
            raise EnvError(played.worlds.errors[0])

    def _frame(self, played: _Played) -> dict[str, UInt8Image]:
        if played.film is None:
            return self._draw(played)
        played.film.look()
        return {"film": played.film.draw(self.outcome.value if self.outcome.has_ended else "")}

    def _draw(self, played: _Played) -> dict[str, UInt8Image]:
        if played.drawer is None:
            return {}
        layers = played.drawer.render(played.worlds)[0]
        return {"birds_eye": picture(layers, played.worlds.actors[0, 0], played.drawer.view)}

    def _observe(self, played: _Played, images: dict[str, UInt8Image]) -> Observation:
        vector = self.config.vector.observe(played.worlds)[0]
        return Observation(
            images=images,
            state=np.concatenate([vector, played.ahead.observe()[0]]),
            instruction=self._instruction,
            time=self._steps * played.worlds.settings.control_seconds,
        )
