"""The environment: ``CarlaConfig`` describes, ``Carla`` is one slot. See :mod:`envs.carla`."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from envs import disk_cache
from envs.carla.link import Link, LinkError
from envs.carla.mirror import CarlaWorld
from envs.carla.servers import (
    CARLA,
    STAND_IN,
    Server,
    ServerFacts,
    check_versions,
    claim,
    client_version,
    probe,
    stand_in,
    wait_for,
)
from envs.drive import DriveConfig, shared_map
from envs.driving.episodes import ACTION_DIM, MapEpisodes
from envs.driving.maps.map_generator import MAPS
from envs.driving.world.parameters import WorldParameters
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

PREFIX = "carla_"
CONTROL_SECONDS = WorldParameters().control_seconds
SETTLE = {STAND_IN: 1, CARLA: 20}
"""Ticks before an episode begins: CARLA's vehicles fall onto the road from where they are put."""


@dataclass(frozen=True, kw_only=True)
class CarlaConfig(DriveConfig):
    """Builds slots that drive through CARLA's own client: in the stand-in, or in a real server."""

    host: str = ""
    """Where a server runs. Empty: each slot starts one of its own, the stand-in or ``--env.command``."""
    port: int = 2000
    """Of the server's calls; the one above is for streams. Without host and command any free one is taken."""
    command: str = ""
    """Starts a real server that is looked after, for example ``CarlaUE4.sh -nullrhi -carla-rpc-port=2000``; it
    should listen on --env.port of this machine. Empty, and no --env.host: the stand-in."""
    client_python: str = ""
    """Interpreter that has the ``carla`` package. Empty: this one."""
    tick_seconds: float = 0.05
    """Of the server; 0.1 s, the time of a control step, is a multiple of it."""
    ego: str = "vehicle.lincoln.mkz_2020"
    """Blueprint of the ego."""
    start_seconds: float = 120.0
    """Until a server that was started must answer."""
    call_seconds: float = 30.0
    """Until the server must answer the client."""

    def __post_init__(self) -> None:
        super().__post_init__()
        ticks = CONTROL_SECONDS / self.tick_seconds if self.tick_seconds > 0.0 else 0.0
        if ticks < 1.0 or abs(ticks - round(ticks)) > 1e-6:
            raise ConfigError(
                f"env.tick_seconds is {self.tick_seconds}; a control step of {CONTROL_SECONDS} s needs a whole number "
                "of ticks, for example 0.05"
            )
        if self.host and self.command:
            raise ConfigError("env.host names a server that runs, env.command starts one; give one of them")

    def make(self) -> Carla:  # pyrefly: ignore[bad-override]
        """Build one slot."""
        return Carla(self)

    make_batch = None  # pyrefly: ignore[bad-override]
    """Slots have servers of their own: nothing is stepped together."""

    def warm_up(self, tasks: list[tuple[str, int]]) -> None:
        """Nothing is shared, and no client may be built before processes are forked; see whether all is there.

        Raises:
            ServerError: no client, no server at --env.host, or two versions that do not fit.
        """
        self.facts()

    def facts(self) -> ServerFacts:
        """What the episodes are played in.

        Raises:
            ServerError: see :meth:`warm_up`.
        """
        client = client_version(self.client_python or sys.executable)
        if not self.host:
            return ServerFacts(client, CARLA if self.command else STAND_IN)
        found = probe(self.host, self.port)
        check_versions(self.host, self.port, found.version, client)
        return found

    def protocol(self) -> dict[str, Any]:
        """What a number measured here must name: the backend first of all.

        Raises:
            ServerError: see :meth:`warm_up`.
        """
        facts = self.facts()
        traffic = {"traffic": "CARLA's traffic manager", "server_version": facts.version}
        return {**dataclasses.asdict(self), "env": "carla", "backend": facts.backend, **traffic}

    def task_specs(self, suite: str) -> list[TaskInfo]:
        """The routes of a map; which maps there are, the server knows."""
        self.map_name(suite)
        return [
            TaskInfo(
                suite=suite,
                task=route,
                name=f"{suite.removeprefix(PREFIX)} route {route}",
                instruction="Follow the route.",
                num_init_states=1000,
                horizon=self.horizon,
            )
            for route in range(self.routes)
        ]

    def map_name(self, suite: str) -> str:
        """The map of a suite, in small letters.

        Raises:
            UnknownTaskError: no suite of this environment.
        """
        if self.map_file and suite != f"{PREFIX}{Path(self.map_file).stem.lower()}":
            name = f"{PREFIX}{Path(self.map_file).stem.lower()}"
            raise UnknownTaskError(unknown_name("suite", suite, [name], f"It is the one of {self.map_file}."))
        if not suite.startswith(PREFIX) or suite == PREFIX:
            known = [f"{PREFIX}{name}" for name in (*MAPS, "town01", "town02")]
            raise UnknownTaskError(unknown_name("suite", suite, known, "Any map of the server is a suite carla_<map>."))
        if not self.host and not self.command and not self.map_file and suite.removeprefix(PREFIX) not in MAPS:
            hint = "The stand-in serves an OpenDRIVE file with --env.map-file; a real server is named by --env.host."
            raise UnknownTaskError(unknown_name("suite", suite, [f"{PREFIX}{name}" for name in MAPS], hint))
        return suite.removeprefix(PREFIX)


class Carla:
    """One slot: a client in a process of its own, and where wanted a server. Both are replaced when they break."""

    def __init__(self, config: CarlaConfig) -> None:
        self.config = config
        self.outcome = Outcome.FAILURE
        self.server: Server | None = None
        self.facts = ServerFacts("", "")
        self._link: Link | None = None
        self._claim: IO[bytes] | None = None
        self._map = ""
        self._episodes: MapEpisodes | None = None

    def reset(self, spec: EpisodeSpec) -> Observation:
        """Start on the route ``spec.task`` with traffic of the seed ``spec.init_state``.

        Raises:
            UnknownTaskError: no such suite, route or initial state.
            ServerError: no server, or one of another version.
            EnvError: the start is not possible.
        """
        self.outcome = Outcome.ERROR  # stands if the start is not possible
        name = self.config.map_name(spec.suite)
        for what, number, count in (("task", spec.task, self.config.routes), ("state", spec.init_state, 1000)):
            if not 0 <= number < count:
                raise UnknownTaskError(f"suite {spec.suite!r} has no {what} {number}; it has 0 to {count - 1}")
        if self._episodes is None or name != self._map:
            self.close()
            self._connect(name)
        assert self._episodes is not None
        with self._supervised():
            self._episodes.start(0, spec, spec.task)
            observation = self._episodes.observe(np.zeros(1, np.int64))[0]
        self.outcome = Outcome.RUNNING
        return observation

    def step_chunk(self, actions: Float32Array) -> StepResult:
        """Run up to ``actions [chunk, 2]`` control steps; the picture is drawn at the last of them."""
        actions = check_actions(actions, ACTION_DIM)
        if self.outcome.has_ended or self._episodes is None:
            raise EnvError("step_chunk without a running episode; call reset(spec) first")
        self.outcome = Outcome.ERROR  # stands if the world fails
        with self._supervised():
            result = self._episodes.play({0: actions})[0]
        if not isinstance(result, StepResult):
            raise result if isinstance(result, Exception) else EnvError("no result")
        self.outcome = result.outcome
        return dataclasses.replace(result, events={**result.events, "carla/backend": self.facts.backend})

    def close(self) -> None:
        """Leave the server as it was found, or end it where it was started here."""
        if self._link is not None:
            self._link.close(quietly=self.server is None)
        if self.server is not None:
            self.server.close()
        if self._claim is not None:
            self._claim.close()
        self._link, self.server, self._claim, self._episodes, self._map = None, None, None, None, ""
        self.outcome = Outcome.FAILURE

    def _connect(self, name: str) -> None:
        config = self.config
        python = config.client_python or sys.executable
        client = client_version(python)
        host, port = config.host or "127.0.0.1", config.port
        if not config.host:
            stem = Path(config.map_file).stem if config.map_file else name
            words = shlex.split(config.command) or stand_in(stem, config.map_file)
            self.server = Server(words, host, port if config.command else 0, config.start_seconds)
            port = self.server.port
        if config.host:
            self._claim = claim(host, port)
        self.facts = wait_for(host, port, config.start_seconds if config.host else 0.0)
        check_versions(host, port, self.facts.version, client)
        self._link = Link(python, config.call_seconds)
        with self._supervised():
            told = self._link.request(
                "connect",
                host=host,
                port=port,
                timeout=config.call_seconds,
                map_name=name,
                step_seconds=config.tick_seconds,
            )
        path = keep_map(told["opendrive"], told["map"].rsplit("/", 1)[-1])
        world = CarlaWorld(
            shared_map(path),
            self._link,
            told["lines"],
            ego=config.ego,
            actors=config.actors,
            ticks=round(CONTROL_SECONDS / config.tick_seconds),
            settle=SETTLE[self.facts.backend],
            route_metres=int(config.route_metres) + 2,
        )
        self._episodes, self._map = MapEpisodes(config, path, 1, 1, world), name

    @property
    def worlds(self) -> CarlaWorld:
        """The world as it is seen (for tests and tools)."""
        if self._episodes is None or not isinstance(self._episodes.worlds, CarlaWorld):
            raise EnvError("no episode is running; call reset(spec) first")
        return self._episodes.worlds

    @contextmanager
    def _supervised(self) -> Iterator[None]:
        """A lost client or server ends both; the next episode starts anew."""
        try:
            yield
        except LinkError:
            if self._link is not None:
                self._link.close(quietly=False)
                self._link = None
            self.close()
            self.outcome = Outcome.ERROR
            raise


def keep_map(text: str, name: str) -> Path:
    """The OpenDRIVE text of a server's map as a file: its name holds a hash of its content."""
    content = text.encode()
    path = disk_cache.cache_folder() / "carla_maps" / f"{name}_{hashlib.sha256(content).hexdigest()[:16]}.xodr"
    if not path.is_file():
        disk_cache.write_atomically(path, content)
    return path
