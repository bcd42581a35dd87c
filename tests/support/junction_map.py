"""A junction of two ways, for tests."""

from __future__ import annotations

import numpy as np

from envs.driving.maps.lane_graph import LaneGraph
from tests.support.maps import compiled, follows, lane, road, section, to_lane


def connecting(number: int, length: float, geometry: str, target: int) -> str:
    """A road through junction 9 from the end of road 1."""
    links = '<predecessor elementType="road" elementId="1" contactPoint="end"/>' + follows(target)
    lanes = section(lane(-1, links=to_lane(-1)))
    start = (20.0, 0.0, 0.0)
    return road(number, length, lanes, geometry, junction=9, links=links, extra=f"@{number}", start=start)


BEHIND = '<predecessor elementType="junction" elementId="9"/>'


WAYS = "".join(
    f'<connection id="{n}" incomingRoad="1" connectingRoad="{n}" contactPoint="start"><laneLink from="-1" to="-1"/>'
    "</connection>"
    for n in (4, 5)
)


CONNECTED = [
    road(1, 20.0, links='<successor elementType="junction" elementId="9"/>', extra="@1"),
    road(2, 20.0, start=(40.0, 0.0, 0.0), links=BEHIND),
    road(3, 20.0, start=(30.0, -10.0, -np.pi / 2), links=BEHIND),
    connecting(4, 20.0, "<line/>", target=2),
    connecting(5, 5 * np.pi, '<arc curvature="-0.1"/>', target=3),
    f'<junction id="9">{WAYS}<controller id="20" sequence="1"/><controller id="10" sequence="0"/></junction>',
    '<controller id="10"><control signalId="a"/></controller><controller id="20"><control signalId="b"/></controller>',
]
"""Road 1 comes from the west into junction 9; road 4 leads on to road 2 in the east, road 5 to road 3 in the south."""


def junction_with(**extras: str) -> LaneGraph:
    """``CONNECTED`` with more content for its roads, given as road4="..."."""
    filled = {f"@{n}": extras.get(f"road{n}", "") for n in (1, 4, 5)}
    parts = list(CONNECTED)
    for mark, text in filled.items():
        parts = [part.replace(mark, text) for part in parts]
    return compiled(*parts)
