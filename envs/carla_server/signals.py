"""The traffic lights and stop signs of a map as CARLA's actors, and the cycles that the lights run through.

All lights of a junction that change together are a phase. Phases take turns, each green, yellow, then red, with the
times of its first light; clients set times and states, freeze a junction, or start its cycle anew.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.carla_server.wire import ACTIVE, LIGHT, Pose
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import MapArrays
from envs.driving.maps.map_compiler import integer_ids
from envs.driving.maps.opendrive_types import STOP_SIGN, TRAFFIC_LIGHTS, OpenDrive, Road
from envs.driving.maps.stop_lines import guarded_lanes

RED, YELLOW, GREEN, OFF = 0, 1, 2, 3
"""States in CARLA's numbers."""
SECONDS = {GREEN: 10.0, YELLOW: 3.0, RED: 2.0}
"""Of the stages of a phase, as in CARLA."""
NEXT = {GREEN: YELLOW, YELLOW: RED, RED: GREEN}


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A light or stop sign of the map."""

    id: str
    """In the map file."""
    light: bool
    pose: Pose
    """Its forward axis points to the right of the traffic it is for."""
    lines: tuple[int, ...]
    """Stop lines (places in ``MapArrays.stops``)."""
    box: tuple[float, float, float, float]
    """Where its vehicles halt, in its own frame: x and y of the middle, half extents along x and y, metres."""


@dataclass
class Cycle:
    """What one junction's lights are doing."""

    phases: list[list[int]]
    phase: int = 0
    stage: int = GREEN
    frozen: bool = False
    left: float = 0.0
    """Seconds of the stage that a frozen cycle still has."""
    due: float = 0.0


def find_signs(drive: OpenDrive, graph: LaneGraph, world_map: MapArrays) -> list[Sign]:
    """All lights and stop signs, in the order of the file."""
    roads = integer_ids(list(drive.roads))
    numbers = {(int(road), int(section), int(lane)): i for i, (road, section, lane) in enumerate(graph.lane_key)}
    guards: dict[str, set[int]] = {}
    for road in drive.roads.values():
        for signal in road.signals:
            if signal.type in TRAFFIC_LIGHTS or signal.type == STOP_SIGN:
                keys = [(roads[name], section, lane) for (name, section, lane), _ in guarded_lanes(road, signal)]
                guards.setdefault(signal.id, set()).update(numbers[key] for key in keys if key in numbers)
    signs = []
    for road in drive.roads.values():
        for element in road.element.all("signals/signal"):
            kind = element.text("type", "-1")
            if kind in TRAFFIC_LIGHTS or kind == STOP_SIGN:
                light = kind != STOP_SIGN
                lines = _lines(graph, world_map, guards.get(element.text("id"), set()), light)
                signs.append(_sign(element.text("id"), light, _place(road, element), lines, world_map))
    return signs


def _lines(graph: LaneGraph, world_map: MapArrays, lanes: set[int], light: bool) -> tuple[int, ...]:
    """The stop lines of a sign: on the lanes it is for, or where these begin, on those that lead into them."""
    found = []
    for place, stop in enumerate(world_map.stops):
        lane = int(stop["lane"])
        inside = lane in lanes or any(int(other) in lanes for other in graph.successors_of(lane))
        if inside and (stop["kind"] == 0) == light:
            found.append(place)
    return tuple(found)


def _place(road: Road, element: Any) -> Pose:
    here = road.line.at(np.array([element.number("s")]))
    heading, t = float(here.heading[0]), element.number("t", 0.0)
    x, y = float(here.x[0]) - t * np.sin(heading), float(here.y[0]) + t * np.cos(heading)
    height = float(road.elevation.at(np.array([element.number("s")]))[0][0])
    return Pose(float(x), -float(y), height, 0.0, -float(np.degrees(heading)) + 90.0, 0.0)


def _sign(name: str, light: bool, pose: Pose, lines: tuple[int, ...], world_map: MapArrays) -> Sign:
    if not lines:
        return Sign(id=name, light=light, pose=pose, lines=lines, box=(0.0, 0.0, 0.5, 0.5))
    stops = world_map.stops[list(lines)]
    yaw = -float(np.arctan2(stops["sin"][0], stops["cos"][0])) + np.pi / 2
    pose = pose._replace(yaw=float(np.degrees(yaw)))
    dx, dy = stops["x"] - pose.x, -stops["y"] - pose.y
    right, back = dx * np.cos(yaw) + dy * np.sin(yaw), dy * np.cos(yaw) - dx * np.sin(yaw)
    half = stops["half_width"]
    low, high = float((right - half).min()), float((right + half).max())
    box = (0.5 * (low + high), float(back.mean()), 0.5 * (high - low), 1.5)
    return Sign(id=name, light=light, pose=pose, lines=lines, box=box)


@dataclass
class Lights:
    """The lights of a map over time.

    Args:
        signs: all signs; those that are no lights are left out.
        world_map: the map.
        first_id: actor id of the first light.
        controllers: controller id -> ids of the lights that it switches together.
    """

    signs: list[Sign]
    world_map: MapArrays
    first_id: int
    controllers: dict[str, tuple[str, ...]]
    records: Any = field(init=False)
    """Array of :data:`envs.carla_server.wire.LIGHT`, one per light."""
    clock: float = 0.0

    def __post_init__(self) -> None:
        self.signs = [sign for sign in self.signs if sign.light]
        count = len(self.signs)
        self.records = np.zeros(count, LIGHT)
        self.records["id"] = np.arange(self.first_id, self.first_id + count)
        self.records["state"] = ACTIVE
        for record, sign in zip(self.records, self.signs, strict=True):
            record["sign"], record["location"] = sign.id.encode()[:31], sign.pose[:3]
            record["rotation"] = sign.pose[3:]
        for name, stage in (("green", GREEN), ("yellow", YELLOW), ("red", RED)):
            self.records[name] = SECONDS[stage]
        self.shown = np.full(len(self.world_map.stops), GREEN, np.uint8)
        """``[K]`` what each stop line's light shows."""
        self.actor_of_line = np.zeros(len(self.world_map.stops), np.int64)
        """``[K]`` actor id of its light, 0 for none."""
        self._light_of_line = np.full(len(self.shown), -1)
        for light, sign in enumerate(self.signs):
            self._light_of_line[list(sign.lines)] = light
        lit = self._light_of_line >= 0
        self.actor_of_line[lit] = self.records["id"][self._light_of_line[lit]]
        self._lit_lines, self._lights_of_lit = np.flatnonzero(lit), self._light_of_line[lit]
        self.cycles, self.cycle_of = self._cycles()
        self._began = np.zeros(count)
        self._due: list[tuple[float, int]] = []
        self.reset()

    def _cycles(self) -> tuple[list[Cycle], np.ndarray]:
        """One cycle per junction; a light without a stop line joins those of its controller."""
        stops, phases = self.world_map.stops, {}
        cycle_of = np.full(len(self.signs), -1)
        together = {name: names for names in self.controllers.values() for name in names}
        by_name = {sign.id: sign for sign in self.signs}
        for light, sign in enumerate(self.signs):
            kin = [sign, *(by_name[name] for name in together.get(sign.id, ()) if name in by_name)]
            line = next((other.lines[0] for other in kin if other.lines), None)
            if line is not None:
                stop = stops[line]
                cycle_of[light] = stop["signal"]
                phases.setdefault(int(stop["signal"]), {}).setdefault(int(stop["group"]), []).append(light)
        order = sorted(phases)
        numbers = {signal: number for number, signal in enumerate(order)}
        cycles = [Cycle([phases[signal][group] for group in sorted(phases[signal])]) for signal in order]
        return cycles, np.array([numbers.get(int(signal), -1) for signal in cycle_of], np.int64)

    def reset(self, number: int | None = None) -> None:
        """Start one cycle anew, or all."""
        if number is None:
            self.records["light_state"] = OFF
            self._due = []
            for other in range(len(self.cycles)):
                self.reset(other)
        else:
            cycle = self.cycles[number]
            cycle.phase, cycle.frozen = 0, False
            self.records["frozen"][self.cycle_of == number] = 0
            for lights in cycle.phases:
                self._show(lights, RED)
            self._begin(number, GREEN)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.clock += seconds
        while self._due and self._due[0][0] <= self.clock + 1e-9:
            due, number = heapq.heappop(self._due)
            cycle = self.cycles[number]
            if cycle.frozen or due != cycle.due:
                continue  # it was started anew or frozen meanwhile
            if cycle.stage == RED:
                cycle.phase = (cycle.phase + 1) % len(cycle.phases)
            self._begin(number, NEXT[cycle.stage])
        moving = self.records["frozen"] == 0
        self.records["elapsed"][moving] = (self.clock - self._began)[moving]

    def freeze(self, number: int, frozen: bool) -> None:
        """Stop the time of one cycle, or let it go on."""
        cycle = self.cycles[number]
        if frozen == cycle.frozen:
            return
        cycle.frozen = frozen
        mine = self.cycle_of == number
        self.records["frozen"][mine] = frozen
        if frozen:
            cycle.left = cycle.due - self.clock
        else:
            self._began[mine] = self.clock - self.records["elapsed"][mine]
            self._schedule(number, self.clock + cycle.left)

    def set_state(self, light: int, state: int) -> None:
        """Make one light show something until its cycle changes it."""
        self._show([light], state)

    def set_seconds(self, light: int, name: str, seconds: float) -> None:
        """Set how long a light is ``green``, ``yellow`` or ``red``; a stage that has begun is not changed."""
        self.records[name][light] = seconds

    def _begin(self, number: int, stage: int) -> None:
        cycle = self.cycles[number]
        cycle.stage = stage
        lights = cycle.phases[cycle.phase]
        self._show(lights, stage)
        name = {GREEN: "green", YELLOW: "yellow", RED: "red"}[stage]
        self._schedule(number, self.clock + max(float(self.records[name][lights[0]]), 0.1))

    def _schedule(self, number: int, due: float) -> None:
        self.cycles[number].due = due
        heapq.heappush(self._due, (due, number))

    def _show(self, lights: list[int], state: int) -> None:
        self.records["light_state"][lights] = state
        self._began[lights] = self.clock
        self.shown[self._lit_lines] = self.records["light_state"][self._lights_of_lit]
