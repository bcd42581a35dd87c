"""What a renderer uploads: fewer triangles, smaller textures, and nothing that no camera can show.

A software renderer at 128 x 128 pixels is bound by vertices (LIBERO's scenes draw 250,000 to 400,000 triangles), and
every worker holds its own copy of all textures (a 4096 x 4096 one for a bowl of 20 pixels). So:

* Both profiles leave out what is never drawn: textures of no visible geom, meshes of hidden collision shapes, convex
  hulls. No pixel changes.
* The ``fast`` profile simplifies meshes by vertex clustering (Rossignac and Borrel 1993, "Multi-resolution 3D
  approximations for rendering complex scenes") and halves textures until they fit a limit. Normals and texture
  coordinates keep their original values per corner.

Physics sees none of it: the compiled model holds the changes only while the renderer takes its copy.
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

HIDDEN_GROUP = 0
"""LIBERO's collision shapes are in this geom group, which the stock camera images leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshReplacement:
    """Faces to upload instead of a mesh's own; ``[n, 3]`` indices into vertices, normals, texture coordinates."""

    mesh: int
    faces: NDArray[np.int32]
    normals: NDArray[np.int32]
    texture_coordinates: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextureReplacement:
    """Pixels ``uint8 [height, width, channels]`` to upload instead of a texture's own."""

    texture: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderAssets:
    """All replacements of one task and profile."""

    meshes: tuple[MeshReplacement, ...]
    textures: tuple[TextureReplacement, ...]


def make_assets(
    model: mujoco.MjModel, min_faces: int | None, target_faces: int, max_texture: int | None
) -> RenderAssets:
    """Plan the replacements.

    Args:
        model: the compiled model; only read.
        min_faces: visible meshes with more faces are simplified, except where geoms that collide use them;
            ``None`` simplifies none.
        target_faces: faces to aim at per simplified mesh.
        max_texture: largest side of a texture [pixels]; ``None`` keeps their size.
    """
    drawn = drawn_meshes(model)
    meshes = [_empty_mesh(mesh) for mesh in range(model.nmesh) if mesh not in drawn]
    if min_faces is not None:
        meshes += [
            _simplify(model, mesh, target_faces) for mesh in sorted(drawn) if model.mesh_facenum[mesh] > min_faces
        ]
    used = used_textures(model)
    textures = []
    for texture in range(model.ntex):
        if texture not in used:
            textures.append(_unused_texture(model, texture))
        elif max_texture is not None and model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D:
            pixels = _texture_pixels(model, texture)
            small = halve_until(pixels, max_texture)
            if small.shape != pixels.shape:
                textures.append(TextureReplacement(texture=texture, pixels=small))
    return RenderAssets(meshes=tuple(meshes), textures=tuple(textures))


def drawn_meshes(model: mujoco.MjModel) -> set[int]:
    """Meshes of geoms that the camera images show."""
    shown = (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH) & (model.geom_group != HIDDEN_GROUP)
    return set(model.geom_dataid[shown].tolist())


def used_textures(model: mujoco.MjModel) -> set[int]:
    """Textures of materials on anything but hidden geoms, and sky boxes."""
    materials = set(model.geom_matid[model.geom_group != HIDDEN_GROUP].tolist())
    for owner in (model.site_matid, model.skin_matid, model.tendon_matid, model.flex_matid):
        materials |= set(owner.tolist())
    materials.discard(-1)
    used = set(np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX).tolist())
    for material in materials:
        used |= set(model.mat_texid[material].tolist())
    used.discard(-1)
    return used


# -- textures ------------------------------------------------------------------------------------------------------


def _texture_pixels(model: mujoco.MjModel, texture: int) -> NDArray[np.uint8]:
    shape = tuple(int(n[texture]) for n in (model.tex_height, model.tex_width, model.tex_nchannel))
    start = int(model.tex_adr[texture])
    return model.tex_data[start : start + int(np.prod(shape))].reshape(shape)


def _unused_texture(model: mujoco.MjModel, texture: int) -> TextureReplacement:
    """One pixel (six faces of one pixel for a cube)."""
    height = 1 if model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D else 6
    shape = (height, 1, int(model.tex_nchannel[texture]))
    return TextureReplacement(texture=texture, pixels=np.zeros(shape, dtype=np.uint8))


def halve_until(pixels: NDArray[np.uint8], limit: int) -> NDArray[np.uint8]:
    """Average 2 x 2 blocks until no side exceeds ``limit`` (as mipmaps do; an odd last row or column is dropped)."""
    while max(pixels.shape[:2]) > limit:
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        even = pixels[:height, :width].astype(np.uint16)
        total = even[0::2, 0::2] + even[1::2, 0::2] + even[0::2, 1::2] + even[1::2, 1::2]
        pixels = ((total + 2) // 4).astype(np.uint8)
    return pixels


def uploaded_texture_bytes(model: mujoco.MjModel, assets: RenderAssets) -> int:
    """Memory of all textures in a renderer: four bytes per pixel, and a third more for mipmaps."""
    pixels = model.tex_height.astype(np.int64) * model.tex_width
    for item in assets.textures:
        pixels[item.texture] = item.pixels.shape[0] * item.pixels.shape[1]
    return int(pixels.sum()) * 16 // 3


# -- meshes --------------------------------------------------------------------------------------------------------


def _empty_mesh(mesh: int) -> MeshReplacement:
    none = np.empty((0, 3), dtype=np.int32)
    return MeshReplacement(mesh=mesh, faces=none, normals=none, texture_coordinates=none)


def _simplify(model: mujoco.MjModel, mesh: int, target_faces: int) -> MeshReplacement:
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    rows = slice(start, start + count)
    first_vertex, vertices = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    points = model.mesh_vert[first_vertex : first_vertex + vertices].astype(np.float64)
    faces = model.mesh_face[rows]

    def clustered(cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        mapped = cluster_vertices(points, cells)[faces]
        return mapped, distinct_faces(mapped, vertices)

    # Finer grids leave more faces: bisect for the finest that meets the budget (or the coarsest there is).
    fine, coarse = 0, len(GRID_CELLS) - 1
    while fine < coarse:
        middle = (fine + coarse) // 2
        if len(clustered(GRID_CELLS[middle])[1]) <= target_faces:
            coarse = middle
        else:
            fine = middle + 1
    mapped, kept = clustered(GRID_CELLS[fine])
    return MeshReplacement(
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


# -- applying ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def applied(model: mujoco.MjModel, assets: RenderAssets) -> Iterator[None]:
    """Let the model hold ``assets`` while the block runs, then restore every byte."""
    with contextlib.ExitStack() as undo:
        for mesh in assets.meshes:
            start, count = int(model.mesh_faceadr[mesh.mesh]), len(mesh.faces)
            rows = slice(start, start + count)
            _replace(undo, model.mesh_face, rows, mesh.faces)
            _replace(undo, model.mesh_facenormal, rows, mesh.normals)
            _replace(undo, model.mesh_facetexcoord, rows, mesh.texture_coordinates)
            _replace(undo, model.mesh_facenum, mesh.mesh, count)
        for item in assets.textures:
            start = int(model.tex_adr[item.texture])
            _replace(undo, model.tex_data, slice(start, start + item.pixels.size), item.pixels.ravel())
            _replace(undo, model.tex_height, item.texture, item.pixels.shape[0])
            _replace(undo, model.tex_width, item.texture, item.pixels.shape[1])
        # Renderers also upload each mesh's convex hull, which is drawn only in debugging views.
        _replace(undo, model.mesh_graphadr, slice(None), np.full(model.nmesh, -1))
        yield


def _replace(undo: contextlib.ExitStack, array: np.ndarray, where: slice | int, value: np.ndarray | int) -> None:
    before = np.copy(array[where])

    def restore() -> None:
        array[where] = before

    undo.callback(restore)
    array[where] = value
