"""Tiny maps made by hand: a straight road, a curve, a crossing with lights, a ring."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from envs.driving.maps.lane_graph import LaneGraph, check

WIDTH = 3.5


@dataclass
class Lane:
    points: np.ndarray
    speed: float = 13.9
    junction: int = -1
    left: int = -1
    right: int = -1
    opposite: int = -1
    successors: list[int] = field(default_factory=list)
    marks: tuple[int, int] = (1, 2)


@dataclass
class Stop:
    lane: int
    arc: float
    kind: int = 0
    group: int = 0
    junction: int = 0


def line(start, end):
    start, end = np.asarray(start, float), np.asarray(end, float)
    count = int(np.ceil(np.linalg.norm(end - start))) + 1
    return start + np.linspace(0, 1, count)[:, None] * (end - start)


def arc(centre, radius, first, last):
    count = int(np.ceil(abs(radius * (last - first)))) + 1
    angle = np.linspace(first, last, count)
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def turn(start, start_heading, end):
    """A cubic Bezier from one place to another that leaves along the heading and arrives along the end's."""
    (x0, y0), (x1, y1, h1) = start, end
    reach = 0.55 * np.hypot(x1 - x0, y1 - y0)
    c0 = np.array([x0 + reach * np.cos(start_heading), y0 + reach * np.sin(start_heading)])
    c1 = np.array([x1 - reach * np.cos(h1), y1 - reach * np.sin(h1)])
    t = np.linspace(0, 1, 60)[:, None]
    return (
        (1 - t) ** 3 * np.array(start) + 3 * (1 - t) ** 2 * t * c0 + 3 * (1 - t) * t**2 * c1 + t**3 * np.array([x1, y1])
    )


def ragged(lists):
    start = np.concatenate([[0], np.cumsum([len(item) for item in lists])]).astype(np.int32)
    return start, np.array([value for item in lists for value in item], np.int32)


def build(lanes: list[Lane], stops: list[Stop] = (), crosswalks=(), conflicts=None) -> LaneGraph:
    arcs = [np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(lane.points, axis=0), axis=1))]) for lane in lanes]
    headings = []
    for lane in lanes:
        direction = np.gradient(lane.points, axis=0)
        headings.append(np.arctan2(direction[:, 1], direction[:, 0]))
    points = np.concatenate([lane.points for lane in lanes])
    heading = np.concatenate(headings)
    side = np.stack([-np.sin(heading), np.cos(heading)], axis=1) * WIDTH / 2
    predecessors = [[i for i, lane in enumerate(lanes) if number in lane.successors] for number in range(len(lanes))]
    successor_start, successors = ragged([lane.successors for lane in lanes])
    predecessor_start, predecessor_list = ragged(predecessors)
    conflict_start, conflict_list = ragged(conflicts or [[] for _ in lanes])
    crosswalk_start, _ = ragged(list(crosswalks))
    graph = LaneGraph(
        points=points,
        heading=heading,
        arc=np.concatenate(arcs),
        width=np.full(len(points), WIDTH, np.float32),
        elevation=np.zeros(len(points), np.float32),
        lane_start=np.concatenate([[0], np.cumsum([len(lane.points) for lane in lanes])]).astype(np.int32),
        length=np.array([a[-1] for a in arcs]),
        speed_limit=np.array([lane.speed for lane in lanes], np.float32),
        junction=np.array([lane.junction for lane in lanes], np.int32),
        left=np.array([lane.left for lane in lanes], np.int32),
        right=np.array([lane.right for lane in lanes], np.int32),
        opposite=np.array([lane.opposite for lane in lanes], np.int32),
        successor_start=successor_start,
        successors=successors,
        predecessor_start=predecessor_start,
        predecessors=predecessor_list,
        lane_key=np.stack([np.arange(len(lanes)), np.zeros(len(lanes)), -np.ones(len(lanes))], axis=1).astype(np.int32),
        stop_lane=np.array([stop.lane for stop in stops], np.int32),
        stop_arc=np.array([stop.arc for stop in stops], np.float32),
        stop_kind=np.array([stop.kind for stop in stops], np.int8),
        stop_group=np.array([stop.group if stop.kind == 0 else -1 for stop in stops], np.int32),
        stop_junction=np.array([stop.junction for stop in stops], np.int32),
        crosswalk_start=crosswalk_start,
        crosswalk_points=np.concatenate([np.asarray(c, float) for c in crosswalks]) if crosswalks else np.zeros((0, 2)),
        conflict_start=conflict_start,
        conflicts=conflict_list,
        left_edge=(points + side).astype(np.float32),
        right_edge=(points - side).astype(np.float32),
        edge_kind=np.concatenate([np.tile(np.array(lane.marks, np.int8), (len(lane.points), 1)) for lane in lanes]),
    )
    check(graph, "a small map")
    return graph


def bridge() -> LaneGraph:
    """Lane 0 along x on the ground, lane 1 along y 6 m above, both through the origin."""
    graph = build([Lane(line((-100, 0), (100, 0))), Lane(line((0, -100), (0, 100)))])
    graph.elevation[graph.lane_points(1)] = 6.0
    return graph


def straight_road(length=400.0, stops=(), crosswalks=(), between=1) -> LaneGraph:
    """Along x: lane 0 at y 0, lane 1 left of it, lane 2 the other way, at y 7."""
    return build(
        [
            Lane(line((0, 0), (length, 0)), left=1, marks=(between, 2)),
            Lane(line((0, WIDTH), (length, WIDTH)), right=0, opposite=2, marks=(2, between)),
            Lane(line((length, 2 * WIDTH), (0, 2 * WIDTH)), opposite=1, marks=(2, 2)),
        ],
        list(stops),
        crosswalks,
    )


def ring(radius=50.0) -> LaneGraph:
    """One lane of two halves, counter-clockwise around the origin."""
    halves = [arc((0, 0), radius, 0, np.pi), arc((0, 0), radius, np.pi, 2 * np.pi)]
    return build([Lane(halves[0], successors=[1]), Lane(halves[1], successors=[0])])


def crossing(arm=80.0, kind=0, slivers=False) -> LaneGraph:
    """Four arms with one lane each way; 4 approaches, 4 exits, 12 ways through; lights (two groups) or stop signs.

    With ``slivers`` the last metre of each approach is a lane of its own (20 to 23).
    """
    half, offset = 12.0, WIDTH / 2
    lanes, stops = [], []
    for quarter in range(4):  # approach from direction `quarter`, driving towards the middle
        angle = quarter * np.pi / 2
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        lanes.append(Lane(line((-arm - half, -offset), (-half, -offset)) @ rotation.T, marks=(2, 2)))
    for quarter in range(4):  # exit in direction `quarter`
        angle = quarter * np.pi / 2
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        lanes.append(Lane(line((half, -offset), (half + arm, -offset)) @ rotation.T, marks=(2, 2)))
    ways = []
    for quarter in range(4):
        lanes[quarter].opposite, lanes[4 + (quarter + 2) % 4].opposite = 4 + (quarter + 2) % 4, quarter
        for turned in (-1, 0, 1):
            end = lanes[4 + (quarter + turned) % 4].points[0]
            heading = (quarter + turned) * np.pi / 2
            start = lanes[quarter].points[-1]
            lanes[quarter].successors.append(len(lanes))
            ways.append(len(lanes))
            points = turn(tuple(start), quarter * np.pi / 2, (*end, heading))
            lanes.append(Lane(points, speed=8.0, junction=7, successors=[4 + (quarter + turned) % 4], marks=(0, 0)))
        stops.append(Stop(quarter, arm - 1.0, kind=kind, group=quarter % 2, junction=7))
    conflicts = [[] for _ in lanes]
    for a in ways:
        for b in ways:
            gap = np.linalg.norm(lanes[a].points[:, None] - lanes[b].points[None], axis=2).min()
            if (a - 8) // 3 != (b - 8) // 3 and gap < 2.5:
                conflicts[a].append(b)
    if slivers:
        for quarter in range(4):
            approach = lanes[quarter]
            lanes.append(Lane(approach.points[-2:], successors=approach.successors, marks=(2, 2)))
            approach.points, approach.successors = approach.points[:-1], [20 + quarter]
            conflicts.append([])
    return build(lanes, stops, conflicts=conflicts)


def on_ramp(length=200.0, after=300.0, speed=13.9) -> LaneGraph:
    """Along x: a main lane (0) and a ramp (1) right of it; lanes 2 and 3 of a junction lead both into lane 4."""
    end, one = length + 60.0, length + 60.0 + after
    join = turn((length, -WIDTH), 0.0, (end, 0.0, 0.0))
    lanes = [
        Lane(line((0, 0), (length, 0)), speed, successors=[2]),
        Lane(line((0, -WIDTH), (length, -WIDTH)), speed, successors=[3]),
        Lane(line((length, 0), (end, 0)), speed, junction=5, successors=[4], marks=(0, 0)),
        Lane(join, speed, junction=5, successors=[4], marks=(0, 0)),
        Lane(line((end, 0), (one, 0)), speed),
    ]
    return build(lanes, conflicts=[[], [], [3], [2], []])
