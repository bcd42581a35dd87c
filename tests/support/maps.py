"""Small OpenDRIVE texts for tests, and where the CARLA towns lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_compiler import compile_map
from envs.driving.maps.opendrive import parse_opendrive

TOWNS = Path(__file__).parents[2].parent / "shared" / "data" / "opendrive"


def town(name: str) -> Path:
    """A CARLA town's file; skips the test where the shared folder is absent."""
    path = TOWNS / f"{name}.xodr"
    if not path.is_file():
        pytest.skip(f"needs the CARLA towns in {TOWNS}")
    return path


LINE = "<line/>"


def lane(number: int, width: str = "3.5", kind: str = "driving", links: str = "", mark: str = "solid") -> str:
    """One lane of constant width, or with ``width`` as the four coefficients."""
    a, b, c, d = (width.split() + ["0"] * 4)[:4]
    return (
        f'<lane id="{number}" type="{kind}"><link>{links}</link>'
        f'<width sOffset="0" a="{a}" b="{b}" c="{c}" d="{d}"/><roadMark sOffset="0" type="{mark}"/></lane>'
    )


def section(right: str = "", left: str = "", s: float = 0.0, centre: str = "broken") -> str:
    """A lane section of lanes given from the left to the right."""
    middle = f'<center><lane id="0" type="none"><roadMark sOffset="0" type="{centre}"/></lane></center>'
    return f'<laneSection s="{s}"><left>{left}</left>{middle}<right>{right}</right></laneSection>'


def road(
    number: int | str = 1,
    length: float = 100.0,
    lanes: str = section(lane(-1)),
    geometry: str | None = None,
    junction: int | str = -1,
    links: str = "",
    extra: str = "",
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rule: str = "RHT",
) -> str:
    """A road of one geometry element (by default a straight one along x)."""
    x, y, heading = start
    shape = f'<geometry s="0" x="{x}" y="{y}" hdg="{heading}" length="{length}">{geometry or LINE}</geometry>'
    return (
        f'<road name="" length="{length}" id="{number}" junction="{junction}" rule="{rule}"><link>{links}</link>'
        f"<planView>{shape}</planView><lanes>{lanes}</lanes>{extra}</road>"
    )


TWO_WAY = section(lane(-1), lane(1))
"""One lane each way."""


def follows(number: int, contact: str = "start") -> str:
    """Where a road leads to."""
    return f'<successor elementType="road" elementId="{number}" contactPoint="{contact}"/>'


def to_lane(number: int) -> str:
    """Which lane a lane leads to."""
    return f'<successor id="{number}"/>'


def opendrive(*parts: str) -> bytes:
    """A whole file, one part per line."""
    return "\n".join(["<OpenDRIVE>", *parts, "</OpenDRIVE>"]).encode()


def compiled(*parts: str) -> LaneGraph:
    """The lane graph of such a file."""
    return compile_map(parse_opendrive(opendrive(*parts), "test.xodr"))


def seams(graph: LaneGraph) -> tuple[np.ndarray, np.ndarray]:
    """Gap [m] and turn [rad] from each lane to each of its successors."""
    ends, starts = graph.lane_start[1:] - 1, graph.lane_start[:-1]
    source = np.repeat(np.arange(graph.lanes), np.diff(graph.successor_start))
    gap = graph.points[ends[source]] - graph.points[starts[graph.successors]]
    turn = graph.heading[ends[source]] - graph.heading[starts[graph.successors]]
    return np.hypot(*gap.T), np.arccos(np.clip(np.cos(turn), -1, 1))
