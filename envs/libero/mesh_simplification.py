"""Simplification of meshes: far fewer triangles with nearly the same silhouette, shading and colours.

Positions are simplified by quadric error metrics (Garland and Heckbert 1997, "Surface simplification using quadric
error metrics", through ``fast-simplification``) until a tolerance is met. Scanned objects come as loose triangles whose
texture is cut into charts, which edge collapses would tear; so corners are welded by position first, and the new faces
take normals and texture coordinates from the original surface afterwards (``surface_transfer``).
"""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FIRST_FACES = 32
"""Faces of the coarsest mesh that is tried."""

GROWTH = 1.4
"""Each further try has this many times the faces of the one before."""

WORTH_IT = 0.7
"""A mesh that needs more than this share of its own faces is left as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Triangles by their corners.

    Attributes:
        points: positions ``float64 [faces, 3 corners, 3]`` [m].
        normals: unit normals ``float64 [faces, 3 corners, 3]``.
        texture_coordinates: ``float64 [faces, 3 corners, 2]``, or ``None`` for a mesh without.
    """

    points: Floats
    normals: Floats
    texture_coordinates: Floats | None


def face_areas(points: Floats) -> Floats:
    """Areas ``[faces]`` [m^2] of triangles ``points [faces, 3, 3]``."""
    return np.linalg.norm(np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1) / 2.0


def face_normals(points: Floats) -> Floats:
    """Unit normals ``[faces, 3]`` of triangles ``points [faces, 3, 3]``; zero for a triangle without area."""
    normals = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


def weld(rows: Floats, cell: float = 1e-6) -> tuple[Floats, Integers]:
    """Distinct ones of ``rows [n, k]`` rounded to ``cell``, and for each row the number of its distinct one ``[n]``."""
    distinct, index = np.unique((rows / cell).round(), axis=0, return_inverse=True)
    return distinct * cell, index.reshape(-1)


def draw_samples(points: Floats, count: int) -> tuple[Integers, Floats]:
    """Faces ``[count]`` and barycentric weights ``[count, 3]`` of points spread evenly over triangles, repeatably."""
    random = np.random.default_rng(0)
    area = face_areas(points)
    face = random.choice(len(points), count, p=area / area.sum())
    weights = random.random((count, 2))
    weights = np.where(weights.sum(axis=1, keepdims=True) > 1.0, 1.0 - weights, weights)
    return face, np.column_stack([1.0 - weights.sum(axis=1), weights])


def interpolate(corners: Floats, face: Integers, weights: Floats) -> Floats:
    """Values ``[n, k]`` at barycentric ``weights [n, 3]`` of ``corners [faces, 3, k]``."""
    return np.einsum("nc,nck->nk", weights, corners[face])


def simplify_positions(points: Floats, tolerance: float, most_faces: int) -> Floats | None:
    """The fewest triangles ``[faces, 3, 3]`` found that stay within ``tolerance`` of ``points [faces, 3, 3]``.

    Args:
        points: the mesh's triangles [m].
        tolerance: largest mean distance to the simplified surface [m].
        most_faces: faces of the result where the tolerance would need more.

    Returns:
        ``None`` where simplification would leave most faces: the mesh is better drawn as it is.
    """
    for cell in (1e-6, tolerance / 2.0):
        found = _simplify_welded(points, cell, tolerance, most_faces)
        if found is None or len(found) <= most_faces:
            break  # furniture is modelled from touching pieces: it takes the coarser cell to simplify them as one
    return found


def _simplify_welded(points: Floats, cell: float, tolerance: float, most_faces: int) -> Floats | None:
    corners, index = weld(points.reshape(-1, 3), cell)
    faces = index.reshape(-1, 3)
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (a != c)]
    count = min(FIRST_FACES, most_faces)
    while count < min(WORTH_IT * len(points), len(faces)):
        vertices, kept = fast_simplification.simplify(corners, faces, target_count=count)
        found = np.asarray(vertices, dtype=np.float64)[np.asarray(kept)]
        found = found[face_areas(found) > 1e-12]
        if len(found) and (count >= most_faces or mean_distance(points, found) <= tolerance):
            return found
        count = min(int(count * GROWTH), most_faces) if count < most_faces else len(points)
    return None


def mean_distance(points: Floats, simplified: Floats) -> float:
    """Mean distance [m] of the triangles ``points`` from the ``simplified`` ones that face the same way.

    Estimated from 1,500 points of the one and 10,000 of the other: a point's distance is that to the plane of the
    nearest, which sees a millimetre between points far apart; unless the nearest is further than such points are from
    each other, as where a sheet lost its border.
    """
    face, weights = draw_samples(points, 1500)
    ours, our_normals = interpolate(points, face, weights), face_normals(points)[face]
    face, weights = draw_samples(simplified, 10_000)
    theirs, their_normals = interpolate(simplified, face, weights), face_normals(simplified)[face]
    distance, index = cKDTree(theirs).query(ours, k=6)
    facing = np.einsum("nkx,nx->nk", their_normals[index], our_normals) > 0.0
    best = np.where(facing, distance, np.inf).argmin(axis=1)
    row = np.arange(len(ours))
    near, straight = index[row, best], distance[row, best]
    to_plane = np.abs(np.einsum("nx,nx->n", ours - theirs[near], their_normals[near]))
    spacing = np.sqrt(face_areas(simplified).sum() / len(theirs))
    return float(np.where(facing.any(axis=1) & (straight < 3.0 * spacing), to_plane, straight).mean())
