"""The maps that a server can load: those that we ship, and the OpenDRIVE files of one more folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.carla_server.limits import CallError
from envs.carla_server.wire import Pose
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_compiler import compile_map, load_map
from envs.driving.maps.map_generator import MAPS, shipped_map
from envs.driving.maps.opendrive import parse_opendrive
from envs.driving.maps.opendrive_types import OpenDrive
from envs.driving.maps.xml_reader import read_bytes
from vlarl.errors import UserError, unknown_name

PREFIX = "vlarl_stand_in/Maps/"
"""Before the names of maps: it shows that the world is not CARLA's."""
OPENDRIVE_MAP = "OpenDriveMap"
"""Name of the map that a client has sent itself."""
SPACING, FROM_END = 25.0, 6.0
"""Recommended spawn points lie so far apart along a lane, and from its ends, metres."""
LIFT = 0.3
"""They hang so far above the road, as CARLA's do, metres."""


@dataclass(frozen=True)
class CarlaMap:
    """A map as the client gets it."""

    name: str
    text: str
    drive: OpenDrive
    graph: LaneGraph

    def spawn_points(self) -> list[Pose]:
        """Places on lanes outside junctions."""
        points = []
        for lane in range(self.graph.lanes):
            length = float(self.graph.length[lane])
            if self.graph.junction[lane] >= 0:
                continue
            part = self.graph.lane_points(lane)
            for arc in np.arange(FROM_END, length - FROM_END, SPACING):
                x, y, heading = self.graph.place(lane, float(arc))
                height = float(np.interp(arc, self.graph.arc[part], self.graph.elevation[part]))
                points.append(Pose(x, -y, height + LIFT, 0.0, -float(np.degrees(heading)), 0.0))
        return points


class MapLibrary:
    """Maps by name.

    Args:
        folder: holds further ``.xodr`` files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._files = {name: shipped_map(name) for name in MAPS}
        if folder is not None:
            if not folder.is_dir():
                raise UserError(f"{folder} is no folder; one with .xodr files is needed")
            self._files |= {path.stem: path for path in sorted(folder.glob("*.xodr"))}
        self._sent: str | None = None

    @property
    def names(self) -> list[str]:
        """Full names of all maps."""
        return [PREFIX + name for name in sorted(self._files)]

    def keep(self, text: str) -> None:
        """Take a map that a client sends; it is loaded as ``OpenDriveMap``."""
        self._sent = text

    def load(self, name: str) -> CarlaMap:
        """A map by its name, with or without folders before it.

        Raises:
            CallError: there is none, or it cannot be read.
        """
        short = name.rsplit("/", 1)[-1]
        try:
            if short == OPENDRIVE_MAP and self._sent is not None:
                drive = parse_opendrive(self._sent.encode(), OPENDRIVE_MAP)
                return CarlaMap(PREFIX + short, self._sent, drive, compile_map(drive))
            if short not in self._files:
                raise CallError(f"map not found: {unknown_name('map', short, self._files)}")
            content = read_bytes(self._files[short])
            drive = parse_opendrive(content, short)
            return CarlaMap(PREFIX + short, content.decode(errors="replace"), drive, load_map(self._files[short]))
        except UserError as error:
            raise CallError(f"map {short}: {error}") from error
