"""Stand-ins for objects of ``carla``: no more of them than the planner and the agent use."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class Place:
    """``carla.Location``."""

    x: float
    y: float
    z: float = 0.0

    def distance(self, other: Any) -> float:
        return math.dist((self.x, self.y, self.z), (other.x, other.y, other.z))


class Pose:
    """``carla.Transform`` on level ground."""

    def __init__(self, x: float, y: float, yaw: float) -> None:
        self.location, self.rotation = Place(x, y), SimpleNamespace(yaw=yaw)

    def get_forward_vector(self) -> Any:
        yaw = math.radians(self.rotation.yaw)
        return SimpleNamespace(x=math.cos(yaw), y=math.sin(yaw))

    def transform(self, place: Any) -> Place:
        ahead = self.get_forward_vector()
        return Place(
            self.location.x + place.x * ahead.x - place.y * ahead.y,
            self.location.y + place.x * ahead.y + place.y * ahead.x,
        )


@dataclass(frozen=True)
class Straight:
    """A lane: a straight piece."""

    key: tuple[int, int, int]
    x: float
    y: float
    yaw: float
    length: float
    junction: bool = False
    left: tuple[int, int, int] | None = None
    right: tuple[int, int, int] | None = None
    successors: tuple[tuple[int, int, int], ...] = ()


@dataclass
class Waypoint:
    """``carla.Waypoint``."""

    map: Any
    lane: Straight
    arc: float
    lane_type: str = "Driving"

    @property
    def transform(self) -> Pose:
        yaw = math.radians(self.lane.yaw)
        x, y = self.lane.x + self.arc * math.cos(yaw), self.lane.y + self.arc * math.sin(yaw)
        return Pose(x, y, self.lane.yaw)

    road_id = property(lambda self: self.lane.key[0])
    section_id = property(lambda self: self.lane.key[1])
    lane_id = property(lambda self: self.lane.key[2])
    is_junction = property(lambda self: self.lane.junction)

    @property
    def lane_change(self) -> str:
        sides = (self.lane.left is not None, self.lane.right is not None)
        return {(True, True): "Both", (True, False): "Left", (False, True): "Right"}.get(sides, "NONE")

    def get_left_lane(self) -> Waypoint | None:
        return None if self.lane.left is None else Waypoint(self.map, self.map.lanes[self.lane.left], self.arc)

    def get_right_lane(self) -> Waypoint | None:
        return None if self.lane.right is None else Waypoint(self.map, self.map.lanes[self.lane.right], self.arc)

    def next_until_lane_end(self, step: float) -> list[Waypoint]:
        count = int((self.lane.length - self.arc) / step - 1e-9)
        return [Waypoint(self.map, self.lane, self.arc + step * (i + 1)) for i in range(count)]

    def next(self, step: float) -> list[Waypoint]:
        if self.arc + step <= self.lane.length:
            return [Waypoint(self.map, self.lane, self.arc + step)]
        over = self.arc + step - self.lane.length
        return [Waypoint(self.map, self.map.lanes[key], over) for key in self.lane.successors]


@dataclass
class Map:
    """``carla.Map``."""

    lanes: dict[tuple[int, int, int], Straight] = field(default_factory=dict)

    def add(self, *lanes: Straight) -> Map:
        self.lanes |= {lane.key: lane for lane in lanes}
        return self

    def get_topology(self) -> list[tuple[Waypoint, Waypoint]]:
        pairs = []
        for lane in self.lanes.values():
            ends = [Waypoint(self, self.lanes[key], 0.0) for key in lane.successors]
            pairs += [(Waypoint(self, lane, 0.0), end) for end in ends or [Waypoint(self, lane, lane.length)]]
        return pairs

    def get_waypoint(self, place: Any) -> Waypoint:
        def distance(waypoint: Waypoint) -> float:
            here = waypoint.transform.location
            return math.hypot(here.x - place.x, here.y - place.y)

        candidates = []
        for lane in self.lanes.values():
            yaw = math.radians(lane.yaw)
            along = (place.x - lane.x) * math.cos(yaw) + (place.y - lane.y) * math.sin(yaw)
            candidates.append(Waypoint(self, lane, min(max(along, 0.0), lane.length)))
        return min(candidates, key=distance)


class Actors(list):
    """``carla.ActorList``."""

    def filter(self, pattern: str) -> list[Any]:
        return [actor for actor in self if actor.type_id.startswith(pattern.rstrip("*"))]


def light(waypoints: list[Waypoint], state: str = "Red") -> Any:
    return SimpleNamespace(type_id="traffic.traffic_light", state=state, get_stop_waypoints=lambda: waypoints)


def stop_sign(pose: Pose, box: Place) -> Any:
    return SimpleNamespace(
        type_id="traffic.stop", get_transform=lambda: pose, trigger_volume=SimpleNamespace(location=box)
    )
