"""Episodes of the driving world, many at once: one array call per map and control step, whoever's they are.

A slot plays one episode at a time, on any map. Whatever goes wrong in one is returned for it alone, as an exception;
an episode's results depend on its spec and its actions only, bit for bit, whoever else is asked.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.driving.interleave import channels_last
from envs.driving.measurements import measurements
from envs.driving.scores.carl_reward import CarlReward
from envs.driving.scores.comfort import BOUNDS
from envs.driving.scores.scores import PENALTIES, driving_score, route_completion
from envs.driving.shared import shared_drawer, shared_map, shared_route
from envs.driving.views.birds_eye import CHANNELS
from envs.driving.views.birds_eye_picture import picture
from envs.driving.views.film import Film
from envs.driving.views.route_ahead import RouteAhead
from envs.driving.world.records import EVENTS, Status
from envs.driving.world.scenarios import scenario
from envs.driving.world.world import DrivingWorlds
from vlarl.env_protocol import (
    EnvError,
    EpisodeSpec,
    Float32Array,
    Observation,
    Outcome,
    StepResult,
    UInt8Image,
    check_actions,
)

if TYPE_CHECKING:
    from envs.drive import DriveConfig

ACTION_DIM = 2
COMPLETED = EVENTS.index("route_completed")
COSTLY = [EVENTS.index(name) for name in PENALTIES]
LEADERBOARD_ENDS = sum(1 << EVENTS.index(name) for name in ("blocked", "route_deviation"))
"""Bits of the events that end a route of CARLA's leaderboard; collisions, lights and signs cost score only."""
FIGURES = (
    "drive/route_completion",
    "drive/driving_score",
    "drive/kilometres",
    "drive/speed",  # km/h, the mean
    *(f"drive/count/{name}" for name in EVENTS if name != "route_completed"),
    *(f"drive/comfort/{name}" for name in (*BOUNDS, "all")),
)
"""What is told at the end of every chunk, since the episode's start."""
Answers = dict[int, Observation | StepResult | Exception]


class MapEpisodes:
    """The episodes on one map: world ``w`` of the batch is slot ``w``'s.

    Args:
        config: of the environment.
        path: the map.
        slots: how many.
        threads: among which the worlds are divided.
        worlds: those that are played; None: the driving world's own.
    """

    def __init__(
        self, config: DriveConfig, path: Path, slots: int, threads: int, worlds: DrivingWorlds | None = None
    ) -> None:
        self.config, self.path = config, path
        metres = int(config.route_metres) + 2
        self.worlds = worlds or DrivingWorlds(
            shared_map(path), worlds=slots, actors=config.actors, threads=threads, route_metres=metres
        )
        self.ahead = RouteAhead(self.worlds)
        self.reward = CarlReward(self.worlds, config.carl)
        self.drawer = shared_drawer(path, config.view()) if config.resolution else None
        self.layers = shared_drawer(path, config.layers_view()) if config.layers else None
        side = config.layers
        self.planes = np.zeros((slots if side else 0, CHANNELS, side, side), np.uint8)
        self.instructions = [""] * slots
        self.films: dict[int, Film] = {}
        """Of the slots that play, where frames are drawn for people."""

    def start(self, slot: int, spec: EpisodeSpec, route_number: int) -> None:
        """Begin an episode.

        Raises:
            EnvError: the start is not possible.
        """
        config = self.config
        route = shared_route(self.path, route_number, config.route_metres)
        others = scenario(spec.init_state, config.difficulty, config.actors)
        way = {"route": route.lanes, "first_arc": route.first_arc, "last_arc": route.last_arc}
        self.worlds.reset({slot: dataclasses.replace(others, **way)})
        if self.worlds.errors[slot]:
            raise EnvError(self.worlds.errors[slot])
        self.reward.reset([slot])
        if config.film and config.every_frame:
            self.films.setdefault(slot, Film(self.worlds, slot)).reset()
        self.instructions[slot] = spec.instruction

    def play(self, chunks: Mapping[int, Float32Array]) -> Answers:
        """Run every slot's ``actions [chunk, 2]`` up to the episode's end."""
        slots, longest = np.array(list(chunks)), max(len(actions) for actions in chunks.values())
        executed = np.zeros((len(self.worlds.worlds), longest), np.bool_)
        carl = np.zeros((len(executed), longest), np.float32)
        factors = np.zeros((len(executed), longest, self.reward.factors.shape[1]), np.float32)
        motion = np.zeros((len(executed), longest, 3), np.float32)
        outcomes = dict.fromkeys(chunks, Outcome.RUNNING)
        frames: dict[int, list[dict[str, UInt8Image]]] = {slot: [] for slot in chunks}
        started, controls = time.process_time(), np.zeros((len(executed), ACTION_DIM))
        for index in range(longest):
            going = np.array([s for s in chunks if not outcomes[s].has_ended and index < len(chunks[s])], np.int64)
            if not len(going):
                break
            controls[going] = [chunks[slot][index] for slot in going]
            with self._only(going):
                self.worlds.step(controls)
                values, terminated, _ = self.reward.score()
            executed[going, index], carl[going, index] = True, values[going]
            factors[going, index] = self.reward.factors[going]
            motion[going, index] = self._motion()[going]
            self._judge(going, terminated, outcomes)
            if self.config.every_frame:
                for slot, image in zip(going.tolist(), self._frames(going, outcomes), strict=True):
                    frames[slot].append(image)
        simulated = time.process_time()
        observations = dict(zip(chunks, self.observe(slots), strict=True))
        drawn = time.process_time()
        shares = (simulated - started) / len(slots), (drawn - simulated) / len(slots)
        seconds = dict(zip(("seconds/simulate", "seconds/render"), shares, strict=True))
        figures = self._figures()[slots].tolist()
        answers: Answers = {}
        for (slot, actions), told in zip(chunks.items(), figures, strict=True):
            count = len(actions)
            error = self._error(slot, observations[slot])
            answers[slot] = error or StepResult(
                observation=observations[slot],
                executed=executed[slot, :count],
                reward=np.zeros(count, np.float32),
                outcome=outcomes[slot],
                events={
                    "drive/carl": carl[slot, :count],
                    "drive/factors": factors[slot, :count],
                    "drive/motion": motion[slot, :count],
                    **dict(zip(FIGURES, told, strict=True)),
                    **seconds,
                },
                frames=tuple(frames[slot]),
            )
            if error or outcomes[slot].has_ended:
                self.end(slot)
        return answers

    def observe(self, slots: NDArray[np.int64]) -> list[Observation]:
        """What is seen in these slots."""
        with self._only(slots):
            layers: Any = [{}] * len(slots)
            if self.layers is None:
                vector = self.config.vector.observe(self.worlds)[slots]
                states = np.concatenate([vector, self.ahead.observe()[slots]], axis=1)
            else:
                states = measurements(self.reward, self.config.horizon)[slots]
                views = channels_last(self.layers.render(self.worlds, self.planes), slots)
                layers = [{"layers": view} for view in views]
        pictures = self._pictures(slots)
        seconds = (self.worlds.worlds["step"][slots] * self.worlds.settings.control_seconds).tolist()
        rows = zip(slots.tolist(), states, layers, pictures, seconds, strict=True)
        return [
            Observation(images={**image, **drawn}, state=state, instruction=self.instructions[slot], time=now)
            for slot, state, drawn, image, now in rows
        ]

    def end(self, slot: int) -> None:
        """Park a slot's world: nothing of it is computed any more."""
        self.worlds.worlds["status"][slot] = Status.EMPTY

    @contextmanager
    def _only(self, slots: NDArray[np.int64]) -> Iterator[None]:
        """Park the worlds of all other slots for the time of a ``with`` block."""
        status = self.worlds.worlds["status"]
        others = status == Status.RUNNING
        others[slots] = False
        status[others] = Status.EMPTY
        try:
            yield
        finally:
            status[others] = Status.RUNNING

    def _judge(self, slots: NDArray[np.int64], terminated: NDArray[np.bool_], outcomes: dict[int, Outcome]) -> None:
        worlds = self.worlds.worlds
        completed, late = worlds["counts"][:, COMPLETED] > 0, worlds["step"] >= self.config.horizon
        failed = worlds["status"] == Status.FAILED
        if self.config.leaderboard:
            terminated = worlds["events"] & LEADERBOARD_ENDS != 0
        for slot in slots[(terminated | completed | late | failed)[slots]].tolist():
            if failed[slot]:
                outcomes[slot] = Outcome.ERROR
            elif terminated[slot]:
                outcomes[slot] = Outcome.FAILURE
            elif completed[slot]:
                outcomes[slot] = Outcome.FAILURE if worlds["counts"][slot, COSTLY].any() else Outcome.SUCCESS
            else:
                outcomes[slot] = Outcome.TRUNCATED

    def _error(self, slot: int, observation: Observation) -> EnvError | None:
        if self.worlds.errors[slot]:
            return EnvError(self.worlds.errors[slot])
        if not np.isfinite(observation.state).all():
            return EnvError(f"world {slot}: what is observed is not finite: {observation.state}")
        return None

    def _frames(self, slots: NDArray[np.int64], outcomes: Mapping[int, Outcome]) -> list[dict[str, UInt8Image]]:
        """One frame per slot: for people where that was asked for, else as the policy sees it."""
        if not self.config.film:
            return self._pictures(slots)
        pictures = []
        for slot in slots.tolist():
            film, outcome = self.films[slot], outcomes[slot]
            film.look()
            pictures.append({"film": film.draw(outcome.value if outcome.has_ended else "")})
        return pictures

    def _pictures(self, slots: NDArray[np.int64]) -> list[dict[str, UInt8Image]]:
        if self.drawer is None:
            return [{}] * len(slots)
        with self._only(slots):
            views = self.drawer.render(self.worlds)
        egos = self.worlds.actors[:, 0]
        return [{"birds_eye": picture(views[slot], egos[slot], self.drawer.view)} for slot in slots.tolist()]

    def _motion(self) -> NDArray[np.float64]:
        """``[N, 3]`` speed, distance from the route and angle to it of the egos."""
        worlds = self.worlds.worlds
        return np.column_stack(
            [self.worlds.actors["speed"][:, 0], np.abs(worlds["route_offset"]), worlds["route_angle"]]
        )

    def _figures(self) -> NDArray[np.float64]:
        """``[N, len(FIGURES)]``."""
        worlds = self.worlds.worlds
        counts = np.delete(worlds["counts"], COMPLETED, axis=1)
        metres = worlds["distance"]
        speed = 3.6 * metres / np.maximum(worlds["time"], self.worlds.settings.control_seconds)
        told = (route_completion(worlds), driving_score(worlds), metres / 1000.0, speed)
        return np.column_stack([*told, counts.astype(np.float64), *self.reward.comfort.shares().values()])


class DriveBatch:
    """Slots on any maps; :class:`vlarl.env_protocol.EnvBatch` says what it is asked.

    Args:
        config: of the environment.
        slots: how many.
        threads: among which the worlds are divided.
    """

    def __init__(self, config: DriveConfig, slots: int, threads: int = 1) -> None:
        self.config, self.slots, self.threads = config, slots, threads
        self.maps: dict[Path, MapEpisodes] = {}
        self.playing: dict[int, MapEpisodes] = {}

    def answer(self, requests: Mapping[int, EpisodeSpec | Float32Array]) -> Answers:
        """Start the episodes and run the chunks that slots are asked for."""
        answers: Answers = {}
        starting: dict[int, MapEpisodes] = {}
        chunks: dict[int, Float32Array] = {}
        for slot, request in requests.items():
            try:
                if isinstance(request, EpisodeSpec):
                    starting[slot] = self._start(slot, request)
                elif slot not in self.playing:
                    raise EnvError("step_chunk without a running episode; call reset(spec) first")
                else:
                    chunks[slot] = check_actions(request, ACTION_DIM)
            except (EnvError, ValueError) as error:
                answers[slot] = error
        for played in self.maps.values():
            fresh = np.array([slot for slot, where in starting.items() if where is played], np.int64)
            mine = {slot: actions for slot, actions in chunks.items() if self.playing[slot] is played}
            if len(fresh):
                answers |= zip(fresh.tolist(), played.observe(fresh), strict=True)
            if mine:
                answers |= played.play(mine)
        for slot, answer in answers.items():
            if isinstance(answer, StepResult) and answer.outcome.has_ended:
                del self.playing[slot]
        return answers

    def abandon(self, slot: int) -> None:
        """Drop a slot's episode."""
        played = self.playing.pop(slot, None)
        if played is not None:
            played.end(slot)

    def close(self) -> None:
        """End the threads and free the worlds; compiled maps stay with the process."""
        for played in self.maps.values():
            played.worlds.close()
        self.maps, self.playing = {}, {}

    def _start(self, slot: int, spec: EpisodeSpec) -> MapEpisodes:
        self.abandon(slot)
        path, route = self.config.place(spec)
        if path not in self.maps:
            self.maps[path] = MapEpisodes(self.config, path, self.slots, self.threads)
        played = self.maps[path]
        played.start(slot, spec, route)
        self.playing[slot] = played
        return played
