"""Simpler meshes and smaller textures for the ``fast`` render profile, on the compiled model and without files.

A software renderer at 128 x 128 pixels is bound by vertices: LIBERO's scenes draw 250,000 to 400,000 triangles.
Vertex clustering (Rossignac and Borrel 1993, "Multi-resolution 3D approximations for rendering complex scenes")
on the meshes that only decorate brings that down about ninefold. Normals and texture coordinates keep their
original values per corner. Physics never sees any of it: meshes of colliding geoms are left alone, and the model
is put back as it was after the renderer has taken its copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

GRID_CELLS = (40, 32, 26, 22, 18, 15, 12, 10, 8)
"""Cells along a mesh's longest side; the finest grid that meets the face budget is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimplifiedMesh:
    """Replacement faces of one mesh, indices relative to the mesh as MuJoCo stores them."""

    mesh: int
    faces: NDArray[np.int32]
    """``[n, 3]`` vertex indices."""
    normals: NDArray[np.int32]
    """``[n, 3]`` normal indices."""
    texture_coordinates: NDArray[np.int32]
    """``[n, 3]`` texture coordinate indices."""


def simplify_meshes(model: mujoco.MjModel, min_faces: int, target_faces: int) -> list[SimplifiedMesh]:
    """Simplify every decorative mesh with more than ``min_faces`` faces to about ``target_faces``."""
    is_mesh = model.geom_type == mujoco.mjtGeom.mjGEOM_MESH
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding = set(model.geom_dataid[is_mesh & collides].tolist())
    candidates = [i for i in range(model.nmesh) if model.mesh_facenum[i] > min_faces and i not in colliding]
    return [_simplify(model, mesh, target_faces) for mesh in candidates]


def _simplify(model: mujoco.MjModel, mesh: int, target_faces: int) -> SimplifiedMesh:
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    rows = slice(start, start + count)
    first_vertex, vertices = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    points = model.mesh_vert[first_vertex : first_vertex + vertices].astype(np.float64)
    faces = model.mesh_face[rows]
    kept, mapped = np.arange(count), faces
    for cells in GRID_CELLS:
        representative = cluster_vertices(points, cells)
        mapped = representative[faces]
        kept = distinct_faces(mapped, vertices)
        if len(kept) <= target_faces:
            break
    return SimplifiedMesh(
        mesh=mesh,
        faces=mapped[kept].astype(np.int32),
        normals=model.mesh_facenormal[rows][kept].copy(),
        texture_coordinates=model.mesh_facetexcoord[rows][kept].copy(),
    )


def cluster_vertices(points: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    """For each of ``points [n, 3]`` the index of the point that represents its grid cell.

    The representative is the member nearest to the cell's mean, so surfaces do not shrink towards cell corners.
    """
    low = points.min(axis=0)
    size = max(float((points.max(axis=0) - low).max()) / cells, 1e-12)
    cell = np.floor((points - low) / size + 0.5).astype(np.int64)
    number = (cell[:, 0] * (cells + 2) + cell[:, 1]) * (cells + 2) + cell[:, 2]
    _, group = np.unique(number, return_inverse=True)
    counts = np.bincount(group)
    mean = np.stack([np.bincount(group, points[:, axis]) / counts for axis in range(3)], axis=1)
    distance = ((points - mean[group]) ** 2).sum(axis=1)
    order = np.lexsort((distance, group))
    first = np.searchsorted(group[order], np.arange(len(counts)))
    return order[first][group]


def distinct_faces(faces: NDArray[np.int64], vertices: int) -> NDArray[np.int64]:
    """Rows of ``faces [n, 3]`` that are neither degenerate nor a repetition of an earlier row's triangle."""
    a, b, c = faces.T
    proper = np.flatnonzero((a != b) & (b != c) & (a != c))
    corners = np.sort(faces[proper].astype(np.int64), axis=1)
    key = (corners[:, 0] * vertices + corners[:, 1]) * vertices + corners[:, 2]
    _, first = np.unique(key, return_index=True)
    return proper[np.sort(first)]


@contextlib.contextmanager
def applied(model: mujoco.MjModel, meshes: list[SimplifiedMesh]) -> Iterator[None]:
    """Put ``meshes`` into the model while the block runs, then restore every byte."""
    saved = []
    for item in meshes:
        rows = slice(int(model.mesh_faceadr[item.mesh]), int(model.mesh_faceadr[item.mesh]) + len(item.faces))
        saved.append(
            (
                item.mesh,
                rows,
                model.mesh_face[rows].copy(),
                model.mesh_facenormal[rows].copy(),
                model.mesh_facetexcoord[rows].copy(),
                int(model.mesh_facenum[item.mesh]),
            )
        )
        model.mesh_face[rows] = item.faces
        model.mesh_facenormal[rows] = item.normals
        model.mesh_facetexcoord[rows] = item.texture_coordinates
        model.mesh_facenum[item.mesh] = len(item.faces)
    try:
        yield
    finally:
        for mesh, rows, faces, normals, coordinates, count in saved:
            model.mesh_face[rows] = faces
            model.mesh_facenormal[rows] = normals
            model.mesh_facetexcoord[rows] = coordinates
            model.mesh_facenum[mesh] = count
