"""Which lane leads into which, and which lies beside which."""

from __future__ import annotations

from collections.abc import Iterator

from envs.driving.maps.lane_sampling import is_sliver
from envs.driving.maps.opendrive_types import OpenDrive, Road, RoadLink

Key = tuple[str, int, int]
"""Road id, index of the section, lane id."""


def successor_links(drive: OpenDrive) -> dict[Key, set[Key]]:
    """For every driving lane the driving lanes that it leads into, slivers bridged.

    A link counts wherever the file states it: at the lane's end, at the other lane's start or in the junction. Links
    into a lane against its direction of travel are no way to drive and are left out.

    Raises:
        MapError: a link to a road or junction that is not in the file.
    """
    successors: dict[Key, set[Key]] = {key: set() for key in _drivable(drive)}
    for key in successors:
        road = drive.roads[key[0]]
        forward = road.is_forward(key[2])
        for other, contact in _beyond(drive, road, key, at_end=forward):
            if other in successors and drive.roads[other[0]].is_forward(other[2]) == (contact == "start"):
                successors[key].add(other)
        for other, contact in _beyond(drive, road, key, at_end=not forward):
            if other in successors and drive.roads[other[0]].is_forward(other[2]) == (contact == "end"):
                successors[other].add(key)
    _bridge_slivers(drive, successors)
    return successors


def _drivable(drive: OpenDrive) -> Iterator[Key]:
    for road in drive.roads.values():
        for number, section in enumerate(road.sections):
            for lane in section.lanes.values():
                if lane.drivable:
                    yield road.id, number, lane.id


def _beyond(drive: OpenDrive, road: Road, key: Key, at_end: bool) -> list[tuple[Key, str]]:
    """Lanes beyond one end of a lane, and the end (``start`` or ``end``) of each that touches it."""
    _, number, lane_id = key
    lane = road.sections[number].lanes[lane_id]
    linked = lane.successors if at_end else lane.predecessors
    within = number + (1 if at_end else -1)
    if 0 <= within < len(road.sections):
        return [((road.id, within, other), "start" if at_end else "end") for other in linked]
    link = road.successor if at_end else road.predecessor
    if link is None:
        return []
    if not link.is_junction:
        target = _target(drive, road, link.target)
        return [(_edge_lane(target, link.contact, other), link.contact) for other in linked]
    return list(_through_junction(drive, road, link, lane_id))


def _through_junction(drive: OpenDrive, road: Road, link: RoadLink, lane_id: int) -> Iterator[tuple[Key, str]]:
    if link.target not in drive.junctions:
        raise road.element.error(f"is linked to the junction {link.target!r}, which is not in the file")
    for connection in drive.junctions[link.target].connections:
        if connection.incoming != road.id:
            continue
        target = _target(drive, road, connection.connecting)
        for start, end in connection.lane_links:
            if start == lane_id:
                yield _edge_lane(target, connection.contact, end), connection.contact


def _target(drive: OpenDrive, road: Road, name: str) -> Road:
    if name not in drive.roads:
        raise road.element.error(f"is linked to the road {name!r}, which is not in the file")
    return drive.roads[name]


def _edge_lane(road: Road, contact: str, lane: int) -> Key:
    return road.id, 0 if contact == "start" else len(road.sections) - 1, lane


def _bridge_slivers(drive: OpenDrive, successors: dict[Key, set[Key]]) -> None:
    """Take lanes of slivers out: what led into them leads to what they led into."""
    predecessors: dict[Key, set[Key]] = {key: set() for key in successors}
    for key, others in successors.items():
        for other in others:
            predecessors[other].add(key)
    for key in [key for key in successors if is_sliver(drive.roads[key[0]].sections[key[1]])]:
        before, after = predecessors.pop(key) - {key}, successors.pop(key) - {key}
        for other in before:
            successors[other] = (successors[other] - {key}) | after
        for other in after:
            predecessors[other] = (predecessors[other] - {key}) | before


def neighbours(road: Road, key: Key) -> tuple[Key | None, Key | None, Key | None]:
    """The driving lanes to the left and right with the same direction, and the one of the other direction beside it."""
    _, number, lane_id = key
    lanes = road.sections[number].lanes
    side = 1 if lane_id > 0 else -1

    def driving(other: int) -> Key | None:
        return (road.id, number, other) if other in lanes and lanes[other].drivable else None

    inner = driving(lane_id - side) if abs(lane_id) > 1 else None
    outer = driving(lane_id + side)
    opposite = driving(-side) if abs(lane_id) == 1 else None
    # Seen along s, the inner lane lies left of a lane on the right side.
    left, right = (inner, outer) if road.is_forward(lane_id) == (lane_id < 0) else (outer, inner)
    return left, right, opposite
