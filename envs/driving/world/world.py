"""N driving worlds on one map, stepped together.

Example::

    worlds = DrivingWorlds(graph, worlds=64, actors=21)
    worlds.reset({w: Start(seed=w, traffic=20) for w in range(64)})
    worlds.step(np.zeros((64, 2)))            # steer, pedal in [-1, 1]
    worlds.worlds["route_arc"], worlds.actors["x"], worlds.errors

Actor 0 is the ego. Whatever else is to be driven from outside (by a CARLA client, say) has ``Controller.EXTERNAL`` and
its commands written into ``actors[world, index]``. A world's future depends on its own state and seed alone: results do
not depend on the size of the batch, on the place in it, or on the number of threads, bit for bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.driving.errors import RouteError, SpawnError
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import Records, pack
from envs.driving.world.advance import advance, remember
from envs.driving.world.begin import begin_ego, populate
from envs.driving.world.ego_events import update_ego
from envs.driving.world.lights import GREEN, set_lights
from envs.driving.world.occupancy import level_at, make_scratch
from envs.driving.world.parameters import WorldParameters
from envs.driving.world.records import ACTOR, PAST, ROUTE_POINT, WORLD, Controller, Kind, Status
from envs.driving.world.route_points import check_connected, route_points
from envs.driving.world.spawning import clear_actor, occupant, set_looks
from envs.driving.world.start import Spawn, Start
from vlarl.env_protocol import ActionError


@dataclass(frozen=True)
class Snapshot:
    """The whole state of one world, for :meth:`DrivingWorlds.restore`."""

    world: Records
    actors: Records
    route: Records
    lights: NDArray[np.int8]
    lights_left: NDArray[np.float32]
    past: Records
    error: str


class DrivingWorlds:
    """The batch. Its arrays may be read at any time; see :mod:`envs.driving.world.records` for the fields.

    Args:
        graph: the map.
        worlds: how many worlds.
        actors: slots per world, the ego included.
        parameters: settings of all worlds.
        threads: of the step; worlds are divided among them.
        history: past control steps for which the vehicles' places are kept (for bird's-eye views with history).
        route_metres: room for routes up to this length.

    Raises:
        MapError: a map without lanes.
        ValueError: sizes below 1.
    """

    def __init__(
        self,
        graph: LaneGraph,
        *,
        worlds: int,
        actors: int,
        parameters: WorldParameters | None = None,
        threads: int = 1,
        history: int = 0,
        route_metres: int = 2000,
    ) -> None:
        if min(worlds, actors, threads, route_metres) < 1:
            raise ValueError(f"worlds={worlds}, actors={actors}, threads={threads}: each needs at least 1")
        self.graph = graph
        self.map = pack(graph)
        self.settings = parameters or WorldParameters()
        self.parameters = self.settings.record()
        self.worlds = np.zeros(worlds, WORLD)
        self.actors = np.zeros((worlds, actors), ACTOR)
        self.routes = np.zeros((worlds, route_metres + 2), ROUTE_POINT)
        self.lights = np.full((worlds, len(self.map.stops)), GREEN, np.int8)
        """``[N, K]`` states in the order of ``map.stops``; stop signs stay green."""
        self.lights_left = np.zeros((worlds, len(self.map.stops)), np.float32)
        """``[N, K]`` seconds until the light changes."""
        self.past = np.zeros((worlds, history, actors), PAST)
        """``[N, H, A]`` ring over control steps: step s is at ``s % H``."""
        self.errors = [""] * worlds
        """Why a world failed, in words; empty while it is fine."""
        bounds = np.linspace(0, worlds, threads + 1).astype(int)
        self._ranges = [(int(a), int(b)) for a, b in itertools.pairwise(bounds) if b > a]
        self._scratch = [make_scratch(len(self.map.lanes), actors) for _ in self._ranges]
        self._pool = ThreadPoolExecutor(len(self._ranges)) if len(self._ranges) > 1 else None

    def reset(self, starts: Mapping[int, Start]) -> None:
        """Start the named worlds anew. A start that is not possible fails its own world only: see :attr:`errors`."""
        for w, start in starts.items():
            self.errors[w] = ""
            try:
                self._begin(w, start)
            except (RouteError, SpawnError) as error:
                self.fail(w, f"world {w}: {error}")

    def step(self, actions: NDArray[Any]) -> None:
        """One control step of all running worlds.

        Args:
            actions: ``[worlds, 2]`` steer (-1 right, 1 left) and pedal (-1 full brake, 1 full throttle) of the egos;
                clipped to [-1, 1]. A row that is not finite fails its own world only.

        Raises:
            ActionError: wrong shape.
        """
        actions = np.asarray(actions, dtype=np.float64)
        if actions.shape != (len(self.worlds), 2):
            raise ActionError(f"actions have shape {actions.shape}; expected [{len(self.worlds)}, 2]: steer and pedal")
        for w in np.flatnonzero(~np.isfinite(actions).all(axis=1)):
            if self.worlds["status"][w] == Status.RUNNING:
                steer, pedal = actions[w]
                self.fail(
                    int(w),
                    f"world {w}: at step {self.worlds['step'][w]} its control was steer {steer}, pedal {pedal}; "
                    "finite numbers of [-1, 1] are needed. The world stands still until it is reset.",
                )
        running = self.worlds["status"] == Status.RUNNING
        steer, pedal = np.clip(actions[running], -1.0, 1.0).T
        self.actors["steer_command"][running, 0] = steer
        self.actors["throttle_command"][running, 0] = np.maximum(pedal, 0.0)
        self.actors["brake_command"][running, 0] = np.maximum(-pedal, 0.0)
        self.advance()

    def advance(self) -> None:
        """One control step with the commands as they stand in the actors' records."""
        self._spread(self._advance)

    def in_ranges(self, call: Callable[[int, int], None]) -> None:
        """Call ``call(first, last)`` for ranges of worlds that together are all of them, one range per thread."""
        self._spread(lambda number: call(*self._ranges[number]))

    def spawn(self, w: int, index: int, spawn: Spawn) -> None:
        """Put an actor into a free slot of a world.

        Raises:
            SpawnError: the slot is taken or does not exist, numbers are not finite, or somebody stands there.
        """
        if not 0 < index < self.actors.shape[1]:
            raise SpawnError(f"slot {index} does not exist; worlds have slots 1 to {self.actors.shape[1] - 1}")
        actor = self.actors[w, index]
        if actor["active"] or actor["kind"] != Kind.NONE:
            raise SpawnError(f"slot {index} is taken by a {Kind(actor['kind']).name.lower()}")
        if not np.isfinite([spawn.x, spawn.y, spawn.heading, spawn.speed]).all():
            raise SpawnError(f"cannot put an actor at x {spawn.x}, y {spawn.y}, heading {spawn.heading}: not finite")
        if spawn.controller in (Controller.TRAFFIC, Controller.WALKER):
            raise SpawnError(f"{spawn.controller.name.lower()} is put into a world by its start's counts only")
        set_looks(actor, int(spawn.kind))
        if spawn.size is not None:
            actor["half_length"], actor["half_width"], actor["height"] = spawn.size
        clear_actor(actor)
        actor["controller"], actor["x"], actor["y"] = spawn.controller, spawn.x, spawn.y
        actor["heading"], actor["speed"] = spawn.heading, spawn.speed
        actor["z"] = level_at(self.map, spawn.x, spawn.y, spawn.z, self._scratch[0])
        actor["velocity_x"] = spawn.speed * np.cos(spawn.heading)
        actor["velocity_y"] = spawn.speed * np.sin(spawn.heading)
        other = occupant(self.actors[w], index)
        if other >= 0:
            actor["kind"] = Kind.NONE
            what = Kind(self.actors["kind"][w, other]).name.lower()
            raise SpawnError(
                f"cannot put a {spawn.kind.name.lower()} at x {spawn.x:.1f}, y {spawn.y:.1f}: "
                f"actor {other} ({what}{', the ego' if other == 0 else ''}) stands there"
            )
        actor["active"] = 1

    def fail(self, w: int, message: str) -> None:
        """Stop one world and say why; the others go on."""
        self.worlds["status"][w] = Status.FAILED
        self.errors[w] = message

    def snapshot(self, w: int) -> Snapshot:
        """A copy of everything that world ``w`` is."""
        return Snapshot(
            world=self.worlds[w : w + 1].copy(),
            actors=self.actors[w].copy(),
            route=self.routes[w].copy(),
            lights=self.lights[w].copy(),
            lights_left=self.lights_left[w].copy(),
            past=self.past[w].copy(),
            error=self.errors[w],
        )

    def restore(self, w: int, snapshot: Snapshot) -> None:
        """Make world ``w`` what the snapshot was; it may come from another place of this or an equal batch."""
        self.worlds[w] = snapshot.world[0]
        self.actors[w], self.routes[w], self.past[w] = snapshot.actors, snapshot.route, snapshot.past
        self.lights[w], self.lights_left[w] = snapshot.lights, snapshot.lights_left
        self.errors[w] = snapshot.error

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _spread(self, call: Callable[[int], None]) -> None:
        if self._pool is None:
            call(0)
        else:
            list(self._pool.map(call, range(len(self._ranges))))

    def _advance(self, number: int) -> None:
        first, last = self._ranges[number]
        advance(
            self.map,
            first,
            last,
            self.worlds,
            self.actors,
            self.routes,
            self.lights,
            self.lights_left,
            self.past,
            self._scratch[number],
            self.parameters,
        )

    def _begin(self, w: int, start: Start) -> None:
        needed = 1 + len(start.spawns) + start.obstacles + 2 * start.occluded + start.traffic + start.pedestrians
        if needed > self.actors.shape[1]:
            raise SpawnError(f"{needed} actors are wanted (the ego included), {self.actors.shape[1]} slots are there")
        route, count = self.routes[w], 0
        if start.route:
            check_connected(self.graph, list(start.route))
            way = route_points(self.map, list(start.route), start.first_arc, start.last_arc, len(route))
            count = len(way)
            if count < 2:
                raise RouteError(f"the route from arc {start.first_arc} to {start.last_arc} is shorter than 1 m")
            route[:count] = way
        world, actors = self.worlds[w], self.actors[w]
        seed = np.uint64(start.seed % 2**64)
        begin_ego(self.map, world, actors, route, count, seed, start.route_metres, start.speed)
        for index, spawn in enumerate(start.spawns, start=1):
            self.spawn(w, index, spawn)
        world["cut_ins"] = start.cut_ins
        scratch = self._scratch[0]
        first = 1 + len(start.spawns)
        populate(
            self.map,
            world,
            actors,
            first,
            start.traffic,
            start.pedestrians,
            start.obstacles,
            start.occluded,
            start.red_runners,
            start.jaywalkers,
            route,
            scratch,
        )
        set_lights(self.map, world, self.parameters, self.lights[w], self.lights_left[w])
        ego = actors[0]
        here = (float(ego["x"]), float(ego["y"]), float(ego["heading"]))
        update_ego(self.map, world, actors, route, here, self.lights[w], scratch, self.parameters)
        if self.past.shape[1] > 0:
            remember(actors, self.past[w, 0])
