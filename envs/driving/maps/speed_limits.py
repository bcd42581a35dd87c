"""The speed limit of every lane."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from envs.driving.maps.lane_links import Key
from envs.driving.maps.opendrive_types import SPEED_SIGN, Road

DEFAULT = 50 / 3.6
"""Metres per second on lanes for which neither the file nor any lane ahead of or behind them has a limit."""


def speed_limits(
    lanes: Sequence[tuple[Road, Key]], successors: Sequence[set[int]], predecessors: Sequence[set[int]]
) -> list[float]:
    """Limits in m/s.

    The lane's own limit counts before a speed sign on the road, that before the road's type. Lanes without any (in most
    files those inside junctions) take the limit of the lane they come from, or else of one near by.
    """
    limits = [_own_limit(road, key) for road, key in lanes]
    both = [after | before for after, before in zip(successors, predecessors)]
    for neighbours in (successors, both):
        waiting = deque(lane for lane, limit in enumerate(limits) if limit is not None)
        while waiting:
            lane = waiting.popleft()
            for other in sorted(neighbours[lane]):
                if limits[other] is None:
                    limits[other] = limits[lane]
                    waiting.append(other)
    return [DEFAULT if limit is None else limit for limit in limits]


def _own_limit(road: Road, key: Key) -> float | None:
    section = road.sections[key[1]]
    lane = section.lanes[key[2]]
    if lane.speed is not None:
        return lane.speed
    forward = road.is_forward(lane.id)
    middle = 0.5 * (section.start + section.end)
    passed = [
        (signal.s if forward else -signal.s, signal.speed)
        for signal in road.signals
        if signal.type == SPEED_SIGN
        and signal.speed is not None
        and signal.valid_for(lane.id, forward)
        and (signal.s <= middle if forward else signal.s >= middle)
    ]
    if passed:
        return max(passed)[1]
    before = [limit for s, limit in road.speeds if s <= middle]
    return before[-1] if before else None
