"""What all worlds of a process share: compiled maps, drawn layers, routes."""

from __future__ import annotations

import functools
from pathlib import Path

from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import pack
from envs.driving.maps.map_compiler import load_map
from envs.driving.views.birds_eye import BirdsEye, View
from envs.driving.world.route_tasks import RouteTask, draw_route


@functools.lru_cache(maxsize=8)
def shared_map(path: Path) -> LaneGraph:
    """The compiled map."""
    return load_map(path)


@functools.lru_cache(maxsize=16)
def shared_drawer(path: Path, view: View) -> BirdsEye:
    """The static layers of a map at one scale."""
    return BirdsEye(shared_map(path), view)


@functools.lru_cache(maxsize=4096)
def shared_route(path: Path, number: int, metres: float) -> RouteTask:
    """A route of a map."""
    return draw_route(pack(shared_map(path)), number, metres)
