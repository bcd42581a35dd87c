"""How the ego gets past what stands on its route: over the lane beside, where there is one that is free."""

from __future__ import annotations

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records, project
from envs.driving.world.lane_changes import SOLID_MARK, lane_is_free
from envs.driving.world.occupancy import Scratch
from envs.driving.world.records import Kind

OBSTACLE = int(Kind.OBSTACLE)
SEEN_FROM = 40.0
"""Metres."""
OUT = 1.0
"""The ego counts as on the lane beside from this far off its route on, metres."""
ROOM_AHEAD, ROOM_BEHIND = 4.0, 6.0
"""Free metres wanted on the lane that the ego goes to, before and behind it."""
ROOM_PASSED = 2.0
"""Metres between the rear of the ego and what it has passed, before it returns."""


@kernel
def obstacle_near(scratch: Scratch, lane: int, arc: float, half: float) -> int:
    """The entry of an obstacle that a vehicle at ``arc`` of a lane comes to, or has not quite passed; -1: none."""
    number = scratch.head[lane]
    while number >= 0:
        entry = scratch.entries[number]
        if entry.kind == OBSTACLE and -(half + entry.half + ROOM_PASSED) < entry.arc - arc < SEEN_FROM:
            return number
        number = entry.following
    return -1


@kernel
def way_past(
    world_map: MapArrays, world: Records, actors: Records, route: Records, scratch: Scratch
) -> tuple[float, int, float]:
    """How to pass an obstacle on the lane of the route where the ego is.

    An obstacle that the ego drives around is taken out of its lane's list in the scratch.

    Returns:
        How far to the left of its route the ego should drive [m], the lane there (-1: it keeps to its route), and the
        ego's arc on that lane.
    """
    ego, lane_number = actors[0], route[world.route_index].lane
    lane = world_map.lanes[lane_number]
    if lane.junction >= 0 or (lane.left < 0 and lane.right < 0):
        return 0.0, -1, 0.0
    arc, offset, near = project(world_map, lane_number, ego.arc, ego.x, ego.y)
    blocker = obstacle_near(scratch, lane_number, arc, ego.half_length)
    is_out = abs(offset) > OUT
    if blocker < 0 and (
        not is_out or lane_is_free(scratch, lane_number, 0, arc, ego.half_length, ego.speed, ROOM_AHEAD, ROOM_BEHIND)
    ):
        return 0.0, -1, 0.0
    for side in range(2):
        target = lane.left if side == 0 else lane.right
        mark = world_map.points[near].left_mark if side == 0 else world_map.points[near].right_mark
        if target < 0 or mark == SOLID_MARK or (is_out and (offset > 0.0) != (side == 0)):
            continue
        target_arc, _, target_near = project(world_map, target, arc, ego.x, ego.y)
        if is_out or lane_is_free(
            scratch, target, 0, target_arc, ego.half_length, ego.speed, ROOM_AHEAD, ROOM_BEHIND + ego.speed
        ):
            if blocker >= 0:
                scratch.entries[blocker].actor = 0  # nobody follows oneself
            shift = world_map.points[near].half_width + world_map.points[target_near].half_width
            return shift if side == 0 else -shift, target, target_arc
    return 0.0, -1, 0.0
