"""The comparison with ``carla.Map``: it sees differences, and with the wheel installed there are none."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from envs.driving.maps.map_generator import MAPS, shipped_map
from tests.support.maps import lane, opendrive, road, section, town
from tools.compare_maps import HEADER, compare

AHEAD = '<successor elementType="road" elementId="2" contactPoint="start"/>'
TWO_ROADS = opendrive(
    road(1, 20.0, section(lane(-1, links='<successor id="-1"/>')), links=AHEAD),
    road(2, 20.0, start=(20.0, 0.0, 0.0)),
)


@dataclass
class StandIn:
    """What ``carla.Map`` would say of ``TWO_ROADS``, worked out by hand, with wilful differences."""

    shift: float = 0.0
    width: float = 3.5
    linked: bool = True
    in_junction: bool = False
    extra_lane: bool = False
    lane_type: str = "Driving"
    seen: list[str] = field(default_factory=list)

    def Map(self, name: str, text: str) -> StandIn:
        assert "<OpenDRIVE>" in text
        self.seen.append(name)
        return self

    def generate_waypoints(self, distance: float) -> list[SimpleNamespace]:
        points = [self.get_waypoint_xodr(number, -1, s) for number in (1, 2) for s in (0.0, 10.0)]
        return points + ([self.get_waypoint_xodr(3, -1, 0.0)] if self.extra_lane else [])

    def get_waypoint_xodr(self, number: int, lane_id: int, s: float) -> SimpleNamespace:
        def ahead(step: float) -> list[SimpleNamespace]:
            if s + step < 20.0:
                return [self.get_waypoint_xodr(number, lane_id, s + step)]
            return [self.get_waypoint_xodr(2, lane_id, s + step - 20.0)] if number == 1 and self.linked else []

        # CARLA's y axis points to the right.
        location = SimpleNamespace(x=20.0 * (number - 1) + s, y=1.75 + self.shift)
        return SimpleNamespace(
            road_id=number,
            section_id=0,
            lane_id=lane_id,
            s=s,
            lane_width=self.width,
            lane_type=self.lane_type,
            is_junction=self.in_junction,
            transform=SimpleNamespace(location=location),
            next=ahead,
        )


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "two_roads.xodr"
    file.write_bytes(TWO_ROADS)
    return file


def test_an_equal_map_shows_no_difference(path):
    result = compare(StandIn(), path)
    assert result.mismatches == []
    assert (result.lanes, result.waypoints, result.links) == (2, 4, 1)
    assert max(result.to_ours + result.to_carla + result.widths) < 1e-9
    assert len(result.row().split("|")) == len(HEADER.splitlines()[0].split("|"))


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (StandIn(shift=0.5), "lane (1, 0, -1), s=0.00: centres 0.500 m apart"),
        (StandIn(linked=False), "lane (1, 0, -1) leads to [] for CARLA, for us to [(2, 0, -1)]"),
        (StandIn(in_junction=True), "lane (2, 0, -1): in a junction for CARLA only"),
        (StandIn(extra_lane=True), "lane (3, 0, -1) is a driving lane of CARLA's only"),
        (StandIn(lane_type="Shoulder"), "lane (1, 0, -1) is a driving lane of ours only"),
    ],
)
def test_differences_are_listed(path, theirs, told):
    assert told in compare(theirs, path).mismatches


def test_distances_and_widths_are_measured(path):
    result = compare(StandIn(shift=-0.2, width=3.4), path)
    assert result.to_ours == pytest.approx([0.2] * 4)
    assert result.to_carla == pytest.approx([0.2] * 40)
    assert result.widths == pytest.approx([0.1] * 4)


@pytest.mark.parametrize("name", [*MAPS, "Town01", "Town02"])
def test_carla_reads_maps_as_we_do(name):
    carla = pytest.importorskip("carla", reason="needs the carla wheel: pip install carla==0.9.16")
    result = compare(carla, shipped_map(name) if name in MAPS else town(name))
    assert result.mismatches == []
    for distances in (result.to_ours, result.to_carla):
        assert sorted(distances)[len(distances) // 2] < 0.05
        assert sorted(distances)[int(0.99 * len(distances))] < 0.3
