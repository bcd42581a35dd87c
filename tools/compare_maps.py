"""Compare our OpenDRIVE reader with ``carla.Map`` of the carla wheel (0.9.16, no server needed), as a markdown table.

Example::

    python tools/compare_maps.py ../shared/data/opendrive/*.xodr assets/maps/*.xodr

Distances are from CARLA's waypoints (every 2 m on every driving lane) to our centre line of the same lane, and from our
points to CARLA's point of the same lane at the same s. CARLA's y axis points the other way. Lanes in sections that
are too short to drive on (our reader bridges them) are counted, not compared.
"""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from envs.driving.maps.lane_graph import Floats64, LaneGraph
from envs.driving.maps.lane_sampling import is_sliver, stretches
from envs.driving.maps.map_compiler import compile_map
from envs.driving.maps.opendrive import parse_opendrive
from envs.driving.maps.opendrive_types import OpenDrive
from vlarl.errors import MissingExtraError

Key = tuple[int, int, int]
STEP = 0.02
"""Metres by which CARLA's waypoints are moved over the end of a lane to find what follows."""


@dataclass
class Comparison:
    """What one map showed."""

    name: str
    lanes: int
    waypoints: int = 0
    in_slivers: int = 0
    to_ours: list[float] = field(default_factory=list)
    to_carla: list[float] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    links: int = 0
    mismatches: list[str] = field(default_factory=list)

    def row(self) -> str:
        """One line of the markdown table; lengths in millimetres."""

        def spread(values: list[float]) -> str:
            median, high, most = np.percentile(values, [50, 99, 100]) * 1000
            return f"{median:.2f} / {high:.2f} / {most:.2f}"

        cells = [self.name, self.lanes, self.waypoints, self.in_slivers, spread(self.to_ours), spread(self.to_carla)]
        return " | ".join(map(str, ["", *cells, spread(self.widths), self.links, len(self.mismatches), ""])).strip()


HEADER = (
    "| map | lanes | CARLA waypoints | of them in slivers | centre, CARLA to ours [mm] median / 99 % / max "
    "| points at the same s [mm] | width [mm] | links | mismatches |\n|---|---|---|---|---|---|---|---|---|"
)


def load_carla() -> Any:
    """The carla package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("carla")
    except ImportError:
        raise MissingExtraError(
            "the comparison needs the carla wheel (176 MB). Install it with: pip install carla==0.9.16"
        ) from None


def compare(carla: Any, path: Path) -> Comparison:
    """Compare one map file."""
    content = path.read_bytes()
    drive = parse_opendrive(content, path.name)
    graph = compile_map(drive)
    theirs = carla.Map(path.stem, content.decode())
    result = Comparison(path.stem, graph.lanes)
    numbers: dict[Key, int] = {(int(r), int(s), int(lane)): n for n, (r, s, lane) in enumerate(graph.lane_key)}
    slivers = {(int(r.id), n) for r in drive.roads.values() for n, s in enumerate(r.sections) if is_sliver(s)}
    _compare_waypoints(theirs, graph, numbers, slivers, result)
    _compare_points(theirs, drive, graph, numbers, result)
    _compare_links(theirs, drive, graph, numbers, result)
    return result


def _key(waypoint: Any) -> Key:
    return waypoint.road_id, waypoint.section_id, waypoint.lane_id


def _compare_waypoints(
    theirs: Any, graph: LaneGraph, numbers: dict[Key, int], slivers: set[tuple[int, int]], result: Comparison
) -> None:
    for waypoint in theirs.generate_waypoints(2.0):
        result.waypoints += 1
        key = _key(waypoint)
        if key[:2] in slivers:
            result.in_slivers += 1
            continue
        if key not in numbers:
            result.mismatches.append(f"lane {key} is a driving lane of CARLA's only")
            continue
        lane = numbers[key]
        place = waypoint.transform.location
        distance, width = _to_lane(graph, lane, np.array([place.x, -place.y]))
        result.to_ours.append(distance)
        result.widths.append(abs(width - waypoint.lane_width))
        if distance > 0.3:
            result.mismatches.append(f"lane {key}, s={waypoint.s:.2f}: centres {distance:.3f} m apart")
        if waypoint.is_junction != (graph.junction[lane] >= 0):
            result.mismatches.append(f"lane {key}: in a junction for {'CARLA' if waypoint.is_junction else 'us'} only")
        elif waypoint.is_junction and waypoint.get_junction().id != graph.junction[lane]:
            result.mismatches.append(f"lane {key}: junction {waypoint.get_junction().id}, ours {graph.junction[lane]}")
    result.mismatches = list(dict.fromkeys(result.mismatches))


def _to_lane(graph: LaneGraph, lane: int, point: Floats64) -> tuple[float, float]:
    """Distance from a point to a lane's centre line, and the lane's width there."""
    part = graph.lane_points(lane)
    start, step = graph.points[part][:-1], np.diff(graph.points[part], axis=0)
    along = np.sum((point - start) * step, axis=1) / np.maximum(np.sum(step**2, axis=1), 1e-12)
    along = np.clip(along, 0.0, 1.0)
    distance = np.hypot(*(start + along[:, None] * step - point).T)
    best = int(np.argmin(distance))
    widths = graph.width[part]
    return float(distance[best]), float(widths[best] + along[best] * (widths[best + 1] - widths[best]))


def _compare_points(
    theirs: Any, drive: OpenDrive, graph: LaneGraph, numbers: dict[Key, int], result: Comparison
) -> None:
    for key, lane in numbers.items():
        road = drive.roads[str(key[0])]
        section, part = road.sections[key[1]], graph.lane_points(lane)
        start, end = next((start, end) for number, start, end in stretches(road) if number == key[1])
        # Lanes are sampled evenly in s; at a section's very end CARLA answers for the next one.
        at = np.linspace(start, end, part.stop - part.start)[:-1]
        middle = theirs.get_waypoint_xodr(key[0], key[2], 0.5 * (section.start + section.end))
        if middle is None or _key(middle) != key or str(middle.lane_type) != "Driving":
            result.mismatches.append(f"lane {key} is a driving lane of ours only")
        points = graph.points[part] if road.is_forward(key[2]) else graph.points[part][::-1]
        for s, (x, y) in zip(at, points):
            waypoint = theirs.get_waypoint_xodr(key[0], key[2], float(s))
            if waypoint is not None and _key(waypoint) == key:
                place = waypoint.transform.location
                result.to_carla.append(float(np.hypot(place.x - x, -place.y - y)))


def _compare_links(
    theirs: Any, drive: OpenDrive, graph: LaneGraph, numbers: dict[Key, int], result: Comparison
) -> None:
    keys = list(numbers)
    for key, lane in numbers.items():
        road = drive.roads[str(key[0])]
        section = road.sections[key[1]]
        s = section.end - STEP if road.is_forward(key[2]) else section.start + STEP
        waypoint = theirs.get_waypoint_xodr(key[0], key[2], s)
        if waypoint is None or _key(waypoint) != key:
            result.mismatches.append(f"lane {key}: CARLA has no waypoint at its end")
            continue
        ours = {keys[other] for other in graph.successors_of(lane)}
        other = _follow(waypoint, numbers)
        result.links += len(ours)
        if ours != other:
            result.mismatches.append(f"lane {key} leads to {sorted(other)} for CARLA, for us to {sorted(ours)}")


def _follow(waypoint: Any, numbers: dict[Key, int]) -> set[Key]:
    """The lanes of ours that CARLA reaches from here, through whatever sections are in between."""
    start, found, frontier = _key(waypoint), set(), [waypoint]
    for _ in range(40):
        ahead = {}
        for place in frontier:
            for reached in place.next(STEP):
                if _key(reached) in numbers and _key(reached) != start:
                    found.add(_key(reached))
                else:
                    ahead[_key(reached), round(reached.s, 3)] = reached
        frontier = list(ahead.values())
    return found


def main() -> None:
    """Print the table, then every mismatch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("maps", nargs="+", type=Path, help="OpenDRIVE files")
    options = parser.parse_args()
    carla = load_carla()
    results = []
    print(HEADER, flush=True)
    for path in options.maps:
        results.append(compare(carla, path))
        print(results[-1].row(), flush=True)
    for result in results:
        if result.mismatches:
            print(f"\n{result.name}:\n" + "\n".join(f"- {line}" for line in result.mismatches))


if __name__ == "__main__":
    main()
