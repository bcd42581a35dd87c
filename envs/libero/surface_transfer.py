"""Normals and texture coordinates of a simplified mesh, taken from the surface that it stands for.

A texture is cut into charts, and between them it is black. A large new triangle that spans several charts, or the hole
of a ring-shaped one, would show that black; so triangles whose colours come out wrong are halved until they are right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from envs.libero.mesh_simplification import (
    Floats,
    Integers,
    Surface,
    draw_samples,
    face_areas,
    face_normals,
    interpolate,
    simplify_positions,
    weld,
)

SAMPLES = 60_000
"""Points that stand for the original surface."""

COLOUR_TOLERANCE = 12.0
"""Mean difference per channel, of 255, above which a triangle is halved."""

SHORTEST_EDGE = 0.004
"""Triangles with no longer edge than this [m] are not halved: less than a pixel in most views."""

RELATIVE_SHORTEST_EDGE = 0.03
"""The same as a share of the mesh's longest side, where that is more: furniture is seen from afar."""

INSIDE = np.array([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
"""Barycentric points of a triangle at which colours are compared."""


def simplify(
    surface: Surface, tolerance: float, most_faces: int, texture: NDArray[np.uint8] | None = None
) -> Surface | None:
    """A surface of far fewer triangles that looks the same from a distance.

    Args:
        surface: the original.
        tolerance: largest mean distance between the two [m].
        most_faces: most triangles of the result.
        texture: pixels ``uint8 [height, width, channels]`` that texture coordinates point into (row 0 is v = 0);
            ``None`` where colours do not matter.

    Returns:
        ``None`` where the original is better drawn as it is.
    """
    points = simplify_positions(surface.points, tolerance, most_faces)
    if points is None:
        return None
    original = SampledSurface(surface)
    coordinates = original.texture_coordinates(points)
    if coordinates is not None and texture is not None:
        points, coordinates = _halve_where_colours_differ(points, coordinates, original, texture, most_faces)
    return Surface(points=points, normals=original.shading_normals(points), texture_coordinates=coordinates)


class SampledSurface:
    """Points spread evenly over a surface, with what is known there."""

    def __init__(self, surface: Surface) -> None:
        face, weights = draw_samples(surface.points, SAMPLES)
        points, coordinates = surface.points, surface.texture_coordinates
        self._points = interpolate(points, face, weights)
        self._facing = face_normals(points)[face]
        self._shading = interpolate(surface.normals, face, weights)
        self._tree = cKDTree(self._points)
        self._spacing = float(np.sqrt(face_areas(points).sum() / SAMPLES))
        self._coordinates = None
        if coordinates is not None:
            chart = chart_numbers(points, coordinates)
            # Corners as well, so that a chart's border is hit exactly.
            self._coordinates = interpolate(coordinates, face, weights)
            self._chart = chart[face]
            self._chart_points = np.concatenate([self._points, points.reshape(-1, 3)])
            self._chart_coordinates = np.concatenate([self._coordinates, coordinates.reshape(-1, 2)])
            self._chart_members = np.concatenate([self._chart, np.repeat(chart, 3)])
            self._chart_trees: dict[int, tuple[cKDTree, Integers]] = {}

    def nearest(self, points: Floats, facing: Floats) -> Integers:
        """The sample nearest to each of ``points [n, 3]`` among those that face like ``facing [n, 3]``."""
        distance, index = self._tree.query(points, k=12)
        alike = np.einsum("nkx,nx->nk", self._facing[index], facing) > 0.3
        best = np.where(alike, distance, distance + 1.0).argmin(axis=1)
        return index[np.arange(len(points)), best]

    def shading_normals(self, points: Floats) -> Floats:
        """Unit normals ``[faces, 3, 3]`` at the corners: of the samples near by that face as the triangle does."""
        facing = face_normals(points)
        distance, index = self._tree.query(points.reshape(-1, 3), k=24)
        shape = (len(points), 3, 24)
        distance, index = distance.reshape(shape), index.reshape(shape)
        alike = np.clip(np.einsum("fckx,fx->fck", self._facing[index], facing), 0.0, None)
        # The high power keeps an edge's other side out; the spacing keeps one sample from deciding alone.
        weight = alike**32 / (distance + 2.0 * self._spacing) ** 2
        normals = np.einsum("fck,fckx->fcx", weight, self._shading[index]) + 1e-9 * facing[:, None]
        return normals / np.linalg.norm(normals, axis=2, keepdims=True)

    def texture_coordinates(self, points: Floats) -> Floats | None:
        """Texture coordinates ``[faces, 3, 2]``, each triangle's from the one chart that its centre lies on."""
        if self._coordinates is None:
            return None
        chart = self._chart[self.nearest(points.mean(axis=1), face_normals(points))]
        found = np.empty((len(points), 3, 2))
        for number in np.unique(chart):
            tree, members = self._chart_tree(int(number))
            mine = chart == number
            _, index = tree.query(points[mine].reshape(-1, 3))
            found[mine] = self._chart_coordinates[members[index]].reshape(-1, 3, 2)
        return found

    def _chart_tree(self, number: int) -> tuple[cKDTree, Integers]:
        if number not in self._chart_trees:
            members = np.flatnonzero(self._chart_members == number)
            self._chart_trees[number] = cKDTree(self._chart_points[members]), members
        return self._chart_trees[number]

    def colours(self, points: Floats, facing: Floats, texture: NDArray[np.uint8]) -> Floats:
        """The original's colours ``[n, channels]`` at ``points [n, 3]``."""
        assert self._coordinates is not None
        return look_up(texture, self._coordinates[self.nearest(points, facing)])


def chart_numbers(points: Floats, coordinates: Floats) -> Integers:
    """The chart of each face: faces that share corners in space and in the texture are on one chart."""
    _, index = weld(np.concatenate([points.reshape(-1, 3), coordinates.reshape(-1, 2)], axis=1))
    a, b, c = index.reshape(-1, 3).T
    count = int(index.max()) + 1
    links = coo_array((np.ones(2 * len(a)), (np.concatenate([a, b]), np.concatenate([b, c]))), shape=(count, count))
    return connected_components(links, directed=False)[1][a].astype(np.int64)


def look_up(texture: NDArray[np.uint8], coordinates: Floats) -> Floats:
    """Colours ``[n, channels]`` at ``coordinates [n, 2]``; the texture repeats outside of [0, 1]."""
    height, width = texture.shape[:2]
    column = np.floor(coordinates[:, 0] * width).astype(np.int64) % width
    row = np.floor(coordinates[:, 1] * height).astype(np.int64) % height
    return texture[row, column].astype(np.float64)


def _halve_where_colours_differ(
    points: Floats, coordinates: Floats, original: SampledSurface, texture: NDArray[np.uint8], most_faces: int
) -> tuple[Floats, Floats]:
    """Halve triangles across their longest edge, the worst ones first, until colours agree or faces run out."""
    error = _colour_errors(points, coordinates, original, texture)
    longest_side = float(np.ptp(points.reshape(-1, 3), axis=0).max())
    shortest = max(SHORTEST_EDGE, RELATIVE_SHORTEST_EDGE * longest_side)
    while len(points) < most_faces:
        edges = np.linalg.norm(np.roll(points, -1, axis=1) - points, axis=2)
        wrong = np.flatnonzero((error > COLOUR_TOLERANCE) & (edges.max(axis=1) > shortest))
        if not len(wrong):
            break
        worst = wrong[np.argsort(-(error * face_areas(points))[wrong], kind="stable")][: most_faces - len(points)]
        halves = _halved(points[worst], edges[worst].argmax(axis=1))
        half_coordinates = original.texture_coordinates(halves)
        assert half_coordinates is not None
        kept = np.ones(len(points), dtype=np.bool_)
        kept[worst] = False
        half_error = _colour_errors(halves, half_coordinates, original, texture)
        points = np.concatenate([points[kept], halves])
        coordinates = np.concatenate([coordinates[kept], half_coordinates])
        error = np.concatenate([error[kept], half_error])
    return points, coordinates


def _halved(points: Floats, edge: Integers) -> Floats:
    """Two triangles for each, cut from the middle of ``edge`` (0 runs from corner 0 to corner 1)."""
    row = np.arange(len(points))
    a, b, c = (points[row, (edge + corner) % 3] for corner in range(3))
    middle = (a + b) / 2.0
    return np.concatenate([np.stack([a, middle, c], axis=1), np.stack([middle, b, c], axis=1)])


def _colour_errors(points: Floats, coordinates: Floats, original: SampledSurface, texture: NDArray[np.uint8]) -> Floats:
    """Mean difference of colours per face ``[faces]``, of 255."""
    facing = face_normals(points)
    total = np.zeros(len(points))
    for weights in INSIDE:
        ours = look_up(texture, np.einsum("c,fck->fk", weights, coordinates))
        theirs = original.colours(np.einsum("c,fck->fk", weights, points), facing, texture)
        total += np.abs(ours - theirs).mean(axis=1)
    return total / len(INSIDE)
