"""CARLA's world as one of ours: what CARLA's client sees is written into a :class:`DrivingWorlds` of one world.

So views, rewards, events and scores of the driving world hold for CARLA too: nothing of them is written twice. Of the
start, everybody's place, character and route are the driving world's, drawn from the seed. From then on

* CARLA moves everybody: the ego by our controls, vehicles by CARLA's traffic manager;
* pedestrians decide as in the driving world, from where CARLA has them, and walk by ``WalkerControl``;
* lights keep the driving world's times; CARLA's are frozen and set to them, as far as they belong to its stop lines.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from envs.carla.link import Link
from envs.driving.compiled import kernel
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.world.advance import remember
from envs.driving.world.ego_events import update_ego
from envs.driving.world.lights import GREEN, set_lights
from envs.driving.world.occupancy import Scratch, make_scratch
from envs.driving.world.records import Controller, Kind, Status
from envs.driving.world.vehicle import lagged
from envs.driving.world.walkers import decide_walk
from envs.driving.world.world import DrivingWorlds
from vlarl.env_protocol import EnvError

if TYPE_CHECKING:
    from envs.driving.world.start import Start

BLUEPRINTS = {
    Kind.CAR: "vehicle.toyota.prius",
    Kind.OBSTACLE: "vehicle.toyota.prius",
    Kind.TRUCK: "vehicle.volkswagen.t2*",
    Kind.BICYCLE: "vehicle.diamondback.century",
    Kind.PEDESTRIAN: "walker.pedestrian.*",
}
"""Of CARLA's blueprints those whose sizes are nearest."""
WALKER = int(Controller.WALKER)
LINE_REACH, SAME_WAY = 4.0, 0.7
"""A light's stop waypoint belongs to the nearest line within so many metres whose direction's cosine is no less."""


@kernel
def decide_walks(world: Records, actors: Records, parameters: Records) -> None:
    """Let all pedestrians decide how to walk."""
    for index in range(len(actors)):
        if actors[index].active != 0 and actors[index].controller == WALKER:
            decide_walk(actors, index, world, parameters)


@kernel
def judge(
    world_map: MapArrays,
    world: Records,
    actors: Records,
    route: Records,
    before: tuple[float, float, float],
    lights: NDArray[np.int8],
    lights_left: NDArray[np.float32],
    scratch: Scratch,
    parameters: Records,
) -> None:
    """What a control step has brought, once everybody is where CARLA has put them."""
    world.step += 1
    world.time = world.step * parameters.control_seconds
    update_ego(world_map, world, actors, route, before, lights, scratch, parameters)
    set_lights(world_map, world, parameters, lights, lights_left)


class CarlaWorld(DrivingWorlds):
    """See the module. ``worlds[0]`` is the only world.

    Args:
        graph: the map, compiled from the OpenDRIVE text of CARLA's client.
        link: to a client that is connected.
        lines: actor id of each light -> x, y and yaw of its stop waypoints, in CARLA's frame.
        ego: blueprint of the ego.
        actors: room for so many, the ego included.
        ticks: of CARLA per control step.
        settle: ticks before an episode begins.
        route_metres: room for routes up to this length.
    """

    def __init__(
        self,
        graph: LaneGraph,
        link: Link,
        lines: dict[int, list[tuple[float, float, float]]],
        *,
        ego: str,
        actors: int,
        ticks: int,
        settle: int,
        route_metres: int,
    ) -> None:
        super().__init__(graph, worlds=1, actors=actors + 1, route_metres=route_metres)
        self._link, self._ego, self._ticks, self._settle = link, ego, ticks, settle
        self._static = actors
        """The last slot stands for whatever the ego touches that is none of ours: a wall, a pole."""
        self._memory = make_scratch(len(self.map.lanes), actors + 1)
        self._light_lines = match_lights(self.map, lines)
        lit = np.zeros(len(self.map.stops), bool)
        lit[list(self._light_lines.values())] = True
        self._unlit = ~lit
        self._shown: dict[int, int] = {}

    def _begin(self, w: int, start: Start) -> None:
        super()._begin(w, start)
        actors, world = self.actors[0], self.worlds[0]
        self.lights[0][self._unlit] = GREEN
        self._shown = {}
        answer = self._link.request(
            "begin", bodies=self._bodies(), seed=int(start.seed % 2**31), settle=self._settle, lights=self._changed()
        )
        for slot in answer["refused"]:
            actors["active"][slot], actors["kind"][slot] = 0, Kind.NONE
        for slot, (half_length, half_width, half_height) in answer["extents"].items():
            actors["half_length"][slot], actors["half_width"][slot] = half_length, half_width
            actors["height"][slot] = 2.0 * half_height
        speeds = actors["speed"].copy()
        self._see(answer["bodies"])
        actors["speed"] = speeds
        actors["velocity_x"], actors["velocity_y"] = (
            speeds * np.cos(actors["heading"]),
            speeds * np.sin(actors["heading"]),
        )
        actors["controller"][actors["controller"] == Controller.TRAFFIC] = Controller.EXTERNAL
        actors["kind"][self._static], actors["active"][self._static] = Kind.OBSTACLE, 0
        world["step"] = 0

    def advance(self) -> None:
        """One control step: CARLA drives, and what has become of it is seen and judged."""
        world, actors = self.worlds[0:1], self.actors[0]
        if world["status"][0] != Status.RUNNING:
            return
        decide_walks(world[0], actors, self.parameters)
        ego = actors[0]
        before = (float(ego["x"]), float(ego["y"]), float(ego["heading"]))
        answer = self._link.request(
            "advance",
            control=(float(ego["throttle_command"]), -float(ego["steer_command"]), float(ego["brake_command"])),
            walks=self._walks(),
            lights=self._changed(),
            ticks=self._ticks,
        )
        if 0 not in answer["bodies"]:
            raise EnvError("CARLA's server has taken the ego out of its world")
        self._see(answer["bodies"])
        self._follow_pedals()
        touched = [self._static if slot < 0 else slot for slot in answer["touched"]]
        ego["touching"] = touched[0] if touched else -1
        judge(
            self.map, world[0], actors, self.routes[0], before, self.lights[0], self.lights_left[0], self._memory,
            self.parameters,
        )  # fmt: skip
        self.lights[0][self._unlit] = GREEN
        if self.past.shape[1] > 0:
            remember(actors, self.past[0, int(world["step"][0]) % self.past.shape[1]])

    def _bodies(self) -> list[dict[str, Any]]:
        """Everybody, as the client is to spawn them: the ego first, it must find room."""
        found = []
        for slot, actor in enumerate(self.actors[0]):
            if actor["active"] == 0:
                continue
            kind = Kind(int(actor["kind"]))
            traffic, walks = actor["controller"] == Controller.TRAFFIC, kind == Kind.PEDESTRIAN
            found.append(
                {
                    "slot": slot,
                    "who": "ego" if slot == 0 else "traffic" if traffic else "walker" if walks else "still",
                    "blueprint": self._ego if slot == 0 else BLUEPRINTS[kind],
                    "x": float(actor["x"]),
                    "y": -float(actor["y"]),
                    "z": float(actor["z"]),
                    "yaw": -math.degrees(float(actor["heading"])),
                    "speed": float(actor["speed"]),
                    "pace": float(actor["speed_factor"]),
                    "obeys_lights": bool(actor["obeys_lights"]),
                }
            )
        return found

    def _walks(self) -> dict[int, tuple[float, float, float]]:
        """Slot -> direction and speed of every pedestrian."""
        actors = self.actors[0]
        walking = np.flatnonzero((actors["active"] != 0) & (actors["controller"] == WALKER))
        return {
            int(slot): (
                math.cos(actors["heading"][slot]),
                -math.sin(actors["heading"][slot]),
                float(actors["speed"][slot]),
            )
            for slot in walking
        }

    def _changed(self) -> dict[int, int]:
        """Actor id -> state of the lights that do not show what they should."""
        wanted = {number: int(self.lights[0, line]) for number, line in self._light_lines.items()}
        changed = {number: state for number, state in wanted.items() if self._shown.get(number) != state}
        self._shown = wanted
        return changed

    def _see(self, bodies: dict[int, tuple[float, ...]]) -> None:
        """Write where CARLA has everybody; whoever is not there any more leaves."""
        actors, seconds = self.actors[0], float(self.parameters["control_seconds"])
        gone = [slot for slot in np.flatnonzero(actors["active"]).tolist() if slot not in bodies]
        actors["active"][gone] = 0
        slots, seen = np.array(list(bodies)), np.array(list(bodies.values()))
        x, y, z, yaw, vx, vy, turn = seen.T
        heading = -np.radians(yaw)
        heading = np.arctan2(np.sin(heading), np.cos(heading))
        for name, values in (
            ("x", x),
            ("y", -y),
            ("z", z),
            ("heading", heading),
            ("velocity_x", vx),
            ("velocity_y", -vy),
        ):
            actors[name][slots] = values
        speed = vx * np.cos(heading) - vy * np.sin(heading)
        walks = actors["kind"][slots] == Kind.PEDESTRIAN
        speed = np.where(walks, np.hypot(vx, vy), speed)
        actors["acceleration"][slots] = (speed - actors["speed"][slots]) / seconds
        actors["speed"][slots], actors["yaw_rate"][slots] = speed, -np.radians(turn)
        actors["lateral_acceleration"][slots] = speed * -np.radians(turn)

    def _follow_pedals(self) -> None:
        """What steering and pedals have reached: CARLA does not tell, so they lag here as in the driving world."""
        ego, parameters = self.actors[0, 0], self.parameters
        for name, lag in (("steer", "steer_lag"), ("throttle", "pedal_lag"), ("brake", "pedal_lag")):
            ego[name] = lagged(
                float(ego[name]), float(ego[f"{name}_command"]), parameters[lag], parameters["control_seconds"]
            )


def match_lights(world_map: MapArrays, lines: dict[int, list[tuple[float, float, float]]]) -> dict[int, int]:
    """Actor id -> stop line of each light that has one.

    Args:
        world_map: the map.
        lines: actor id -> x, y and yaw [degrees] of its stop waypoints, in CARLA's frame.
    """
    stops = world_map.stops
    lit = np.flatnonzero(stops["kind"] == 0)
    found = {}
    for number, places in lines.items():
        best = LINE_REACH
        for x, y, yaw in places:
            along = np.cos(np.radians(yaw)) * stops["cos"][lit] - np.sin(np.radians(yaw)) * stops["sin"][lit]
            distance = np.where(along < SAME_WAY, np.inf, np.hypot(stops["x"][lit] - x, stops["y"][lit] + y))
            if len(lit) and distance.min() < best:
                best, found[number] = float(distance.min()), int(lit[distance.argmin()])
    return found
