"""Finds the lane nearest to a place, by a grid over the centre lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.driving.errors import MapError
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.lane_sampling import SPACING

CELL = 4.0
"""Side of a grid cell, metres."""


@dataclass(frozen=True, slots=True)
class NearestLane:
    """Where a place lies with respect to a lane."""

    lane: int
    arc: float
    """Metres along the lane to the foot of the perpendicular."""
    offset: float
    """Metres from the centre line, positive to the left of the direction of travel."""
    distance: float
    """Metres to the centre line; larger than ``abs(offset)`` only beyond the lane's ends."""


class LaneIndex:
    """A grid over all pieces of all centre lines, each kept in the cell in which it starts."""

    def __init__(self, graph: LaneGraph) -> None:
        self._graph = graph
        last = np.zeros(len(graph.points), bool)
        last[graph.lane_start[1:] - 1] = True
        pieces = np.flatnonzero(~last)
        self._lane = np.repeat(np.arange(graph.lanes), np.diff(graph.lane_start))
        self._low = graph.points.min(axis=0)
        columns, rows = np.floor((graph.points.max(axis=0) - self._low) / CELL).astype(int) + 1
        self._shape = (int(columns), int(rows))
        cells = np.floor((graph.points[pieces] - self._low) / CELL).astype(int)
        number = cells[:, 0] * rows + cells[:, 1]
        order = np.argsort(number, kind="stable")
        self._pieces = pieces[order]
        self._start = np.searchsorted(number[order], np.arange(columns * rows + 1))

    def nearest(self, x: float, y: float, heading: float | None = None) -> NearestLane:
        """The lane whose centre line passes nearest.

        Args:
            x: metres.
            y: metres.
            heading: only lanes within 90 degrees of this direction of travel [rad].

        Raises:
            MapError: the place is not finite, or no lane of the map has such a direction.
        """
        if not (math.isfinite(x) and math.isfinite(y)):
            raise MapError(f"the place ({x}, {y}) is not finite")
        point = np.array([x, y])
        cell = np.floor((point - self._low) / CELL)
        # Cells outside of the map are empty: begin with the ring that reaches it.
        outside = np.maximum(np.maximum(-cell, cell - np.array(self._shape) + 1), 0.0).max()
        last_ring = int(outside) + max(self._shape)
        best: NearestLane | None = None
        for ring in range(int(outside), last_ring + 1):
            found = self._best_of(point, self._ring(cell, ring), heading)
            if found is not None and (best is None or found.distance < best.distance):
                best = found
            # What lies in farther rings starts at least so far away, and reaches at most one piece towards us.
            if best is not None and best.distance <= ring * CELL - SPACING:
                break
        if best is None:
            raise MapError(f"no lane of the map runs within 90 degrees of the heading {heading} rad")
        return best

    def _ring(self, cell: np.ndarray, ring: int) -> np.ndarray:
        """Pieces that start in the cells at Chebyshev distance ``ring``."""
        columns, rows = self._shape
        i, j = int(cell[0]), int(cell[1])
        wanted = []
        for column in range(max(i - ring, 0), min(i + ring, columns - 1) + 1):
            whole = abs(column - i) == ring
            low, high = max(j - ring, 0), min(j + ring, rows - 1)
            for row in range(low, high + 1) if whole else {j - ring, j + ring}.intersection((low, high)):
                number = column * rows + row
                wanted.append(self._pieces[self._start[number] : self._start[number + 1]])
        return np.unique(np.concatenate(wanted)) if wanted else np.zeros(0, np.int64)

    def _best_of(self, point: np.ndarray, pieces: np.ndarray, heading: float | None) -> NearestLane | None:
        graph = self._graph
        if heading is not None:
            pieces = pieces[np.cos(graph.heading[pieces] - heading) > 0.0]
        if len(pieces) == 0:
            return None
        start, step = graph.points[pieces], graph.points[pieces + 1] - graph.points[pieces]
        length = np.maximum(np.hypot(*step.T), 1e-9)
        along = np.clip(np.sum((point - start) * step, axis=1) / length**2, 0.0, 1.0)
        distance = np.hypot(*(start + along[:, None] * step - point).T)
        best = int(np.argmin(distance))
        piece = int(pieces[best])
        away = point - start[best]
        offset = (step[best, 0] * away[1] - step[best, 1] * away[0]) / length[best]
        arc = graph.arc[piece] + along[best] * (graph.arc[piece + 1] - graph.arc[piece])
        return NearestLane(int(self._lane[piece]), float(arc), float(offset), float(distance[best]))
