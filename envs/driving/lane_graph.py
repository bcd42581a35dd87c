"""The map as the world needs it: lanes as sampled centre lines, how they connect, and what stands on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints32 = NDArray[np.int32]
Ints8 = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True)
class LaneGraph:
    """Driving lanes of a map: P points on L lanes; ragged lists are ``start`` (int32, one longer) and values."""

    points: Floats64
    """``[P, 2]`` lane centre, metres, right-handed x and y, at most 1 m apart."""
    heading: Floats64
    """``[P]`` direction of travel, radians."""
    arc: Floats64
    """``[P]`` metres along the lane in the direction of travel, from 0."""
    width: Floats32
    """``[P]`` metres."""
    elevation: Floats32
    """``[P]`` metres."""
    lane_start: Ints32
    """``[L+1]``: lane l has the points ``lane_start[l]:lane_start[l+1]``."""
    length: Floats64
    """``[L]`` metres."""
    speed_limit: Floats32
    """``[L]`` m/s."""
    junction: Ints32
    """``[L]``, -1: none."""
    left: Ints32
    """``[L]`` neighbour with the same direction, -1: none."""
    right: Ints32
    """``[L]`` neighbour with the same direction, -1: none."""
    opposite: Ints32
    """``[L]`` nearest lane of the other direction, -1: none."""
    successor_start: Ints32
    successors: Ints32
    predecessor_start: Ints32
    predecessors: Ints32
    lane_key: Ints32
    """``[L, 3]`` where the lane comes from in the map file."""
    stop_lane: Ints32
    """``[K]`` lane that a stop line crosses."""
    stop_arc: Floats32
    """``[K]`` where on that lane, metres."""
    stop_kind: Ints8
    """``[K]`` 0 traffic light, 1 stop sign."""
    stop_group: Ints32
    """``[K]`` phase group of the light within its junction."""
    stop_junction: Ints32
    """``[K]``."""
    crosswalk_start: Ints32
    crosswalk_points: Floats64
    """``[Q, 2]`` corners of the crosswalks' outlines, metres."""
    conflict_start: Ints32
    conflicts: Ints32
    """Lanes that cross or merge with each lane."""
    left_edge: Floats32
    """``[P, 2]`` metres."""
    right_edge: Floats32
    """``[P, 2]`` metres."""
    edge_kind: Ints8
    """``[P, 2]`` marking at the left and the right edge: 0 none, 1 broken, 2 solid."""
