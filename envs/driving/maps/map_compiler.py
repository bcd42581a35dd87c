"""OpenDRIVE to lane graph, cached by content.

``load_map`` is the way in: it compiles a map once and keeps the result under the user's cache folder, under the hash of
the map's bytes and of the compiler's own source.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from envs import disk_cache
from envs.driving.errors import MapError
from envs.driving.maps.crosswalks import crosswalk_outlines
from envs.driving.maps.junction_conflicts import conflicting_lanes
from envs.driving.maps.lane_graph import LaneGraph, check, from_file, ragged, to_bytes
from envs.driving.maps.lane_links import Key, neighbours, successor_links
from envs.driving.maps.lane_sampling import Strip, sample_section, stretches
from envs.driving.maps.opendrive import parse_opendrive
from envs.driving.maps.opendrive_types import OpenDrive, Road
from envs.driving.maps.speed_limits import speed_limits
from envs.driving.maps.stop_lines import StopLine, stop_lines
from envs.driving.maps.xml_reader import read_bytes


def load_map(path: str | Path, cache_folder: str | Path | None = None) -> LaneGraph:
    """The lane graph of an OpenDRIVE file, from the cache where this file was compiled before.

    Args:
        path: the ``.xodr`` file.
        cache_folder: where compiled maps are kept; by default ``vlarl/maps`` in the user's cache folder. A folder that
            cannot be written to is no error: the map is then compiled every time.

    Raises:
        MapError: the file is missing, malformed, or has no drivable lane.
    """
    content = read_bytes(path)
    folder = Path(cache_folder) if cache_folder is not None else disk_cache.cache_folder() / "maps"
    cached = (
        folder / f"{hashlib.sha256(disk_cache.code_hash(Path(__file__).parent, COMPILER) + content).hexdigest()}.npz"
    )
    if cached.is_file():
        with contextlib.suppress(MapError):  # a damaged one is compiled anew
            return from_file(cached)
    graph = compile_map(parse_opendrive(content, Path(path).name))
    with contextlib.suppress(OSError):
        disk_cache.write_atomically(cached, to_bytes(graph))
    return graph


COMPILER = (
    "crosswalks",
    "junction_conflicts",
    "lane_graph",
    "lane_links",
    "lane_sampling",
    "map_compiler",
    "opendrive",
    "opendrive_geometry",
    "opendrive_objects",
    "opendrive_types",
    "reference_line",
    "speed_limits",
    "stop_lines",
    "xml_reader",
)
"""The modules that decide what a compiled map holds."""


def compile_map(drive: OpenDrive) -> LaneGraph:
    """Compile a map that was read.

    Raises:
        MapError: no drivable lane, links to what is not there, geometry with jumps.
    """
    links = successor_links(drive)
    lanes: list[tuple[Road, Key]] = []
    strips: list[Strip] = []
    for road in drive.roads.values():
        for section_number, start, end in stretches(road):
            sampled = sample_section(road, road.sections[section_number], start, end)
            for lane_id, strip in sorted(sampled.items(), reverse=True):
                lanes.append((road, (road.id, section_number, lane_id)))
                strips.append(strip)
    if not lanes:
        kinds = sorted({lane.type for road in drive.roads.values() for s in road.sections for lane in s.lanes.values()})
        raise MapError(f"{drive.file}: the map has no drivable lane; lane types found: {', '.join(kinds) or 'none'}")
    numbers = {key: lane for lane, (_, key) in enumerate(lanes)}
    successors = [{numbers[other] for other in links[key]} for _, key in lanes]
    graph = _assemble(drive, lanes, strips, successors)
    check(graph, drive.file)
    return graph


def _assemble(
    drive: OpenDrive, lanes: list[tuple[Road, Key]], strips: list[Strip], successors: list[set[int]]
) -> LaneGraph:
    numbers = {key: lane for lane, (_, key) in enumerate(lanes)}
    predecessors: list[set[int]] = [set() for _ in lanes]
    for lane, others in enumerate(successors):
        for other in others:
            predecessors[other].add(lane)
    road_ids = integer_ids([road.id for road in drive.roads.values()])
    crossed = [road.junction for road in drive.roads.values() if road.junction]
    junction_ids = integer_ids(list(drive.junctions) + crossed)
    junction = [junction_ids[road.junction] if road.junction else -1 for road, _ in lanes]
    beside = np.array(
        [[-1 if other is None else numbers[other] for other in neighbours(road, key)] for road, key in lanes], np.int32
    )
    crosswalks = crosswalk_outlines(list(drive.roads.values()))
    conflicts = ragged(conflicting_lanes(strips, junction, successors, predecessors))
    successor_lists = ragged([sorted(others) for others in successors])
    predecessor_lists = ragged([sorted(others) for others in predecessors])
    return LaneGraph(
        **{name: np.concatenate([getattr(strip, name) for strip in strips]) for name in Strip.__dataclass_fields__},
        lane_start=np.concatenate([[0], np.cumsum([len(strip.arc) for strip in strips])]).astype(np.int32),
        length=np.array([strip.arc[-1] for strip in strips]),
        speed_limit=np.array(speed_limits(lanes, successors, predecessors), np.float32),
        junction=np.array(junction, np.int32),
        left=beside[:, 0].copy(),
        right=beside[:, 1].copy(),
        opposite=beside[:, 2].copy(),
        successor_start=successor_lists[0],
        successors=successor_lists[1],
        predecessor_start=predecessor_lists[0],
        predecessors=predecessor_lists[1],
        lane_key=np.array([(road_ids[key[0]], key[1], key[2]) for _, key in lanes], np.int32),
        **_stop_arrays(stop_lines(drive, lanes, strips, junction, successors, predecessors)),
        crosswalk_start=np.concatenate([[0], np.cumsum([len(c) for c in crosswalks])]).astype(np.int32),
        crosswalk_points=np.concatenate([np.zeros((0, 2)), *crosswalks]),
        conflict_start=conflicts[0],
        conflicts=conflicts[1],
    )


def _stop_arrays(lines: list[StopLine]) -> dict[str, np.ndarray]:
    return {
        "stop_lane": np.array([line.lane for line in lines], np.int32),
        "stop_arc": np.array([line.arc for line in lines], np.float32),
        "stop_kind": np.array([line.kind for line in lines], np.int8),
        "stop_group": np.array([line.group for line in lines], np.int32),
        "stop_junction": np.array([line.junction for line in lines], np.int32),
    }


def integer_ids(names: Sequence[str]) -> dict[str, int]:
    """Ids as non-negative int32: themselves where all are such numbers, else their places in the file."""
    unique = list(dict.fromkeys(names))
    if all(name.isascii() and name.isdigit() and int(name) < 2**31 for name in unique):
        return {name: int(name) for name in unique}
    return {name: place for place, name in enumerate(unique)}
