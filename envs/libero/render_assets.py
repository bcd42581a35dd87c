"""What a renderer uploads: fewer triangles, smaller textures, and nothing that no camera can show.

A software renderer at 128 x 128 pixels is bound by vertices (LIBERO's scenes draw 250,000 to 400,000 triangles), and
every worker holds its own copy of all textures (a 4096 x 4096 one for a bowl of 20 pixels). So:

* Both profiles leave out what is never drawn: textures of no visible geom, meshes of hidden collision shapes, convex
  hulls. No pixel changes.
* The ``fast`` profile simplifies meshes (``surface_transfer``, kept on disk by ``mesh_cache``) and halves textures
  until they fit a limit.

Physics sees none of it: the compiled model holds the changes only while the renderer takes its copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.libero.mesh_cache import simplify_once
from envs.libero.mesh_simplification import Surface

HIDDEN_GROUP = 0
"""LIBERO's collision shapes are in this geom group, which the stock camera images leave out."""


FAR_PARTS = ("robot0_link", "mount0")
"""How the names of meshes begin that no camera sees from near: the arm and what it stands on, but not the hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corners:
    """One property of a mesh's corners: distinct ``values float32 [n, k]`` and which one each corner has."""

    values: NDArray[np.float32]
    index: NDArray[np.int32]
    """``int32 [faces, 3]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshReplacement:
    """Triangles to upload instead of a mesh's own; all three properties have the same number of faces."""

    mesh: int
    points: Corners
    normals: Corners
    texture_coordinates: Corners


@dataclass(frozen=True, slots=True, kw_only=True)
class TextureReplacement:
    """Pixels ``uint8 [height, width, channels]`` to upload instead of a texture's own."""

    texture: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Simplification:
    """How far a simplified mesh may be from its original (mean distance), and how large it may be."""

    tolerance: float = 0.00025
    """Metres; a pixel of the wrist camera covers about 1 mm."""
    relative_tolerance: float = 0.002
    """Share of the mesh's longest side that is allowed where that is more: large parts are seen from afar."""
    far_tolerance: float = 0.001
    """At least this is allowed for parts that no camera sees from near [m]."""
    most_faces: int = 6000
    """Triangles of a mesh that no fewer would describe within the tolerance (a wicker basket)."""
    fewest_faces: int = 100
    """Meshes with no more triangles than this are left as they are."""
    texture_pixels: int = 256
    """Side to which textures are reduced before colours are compared [pixels]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderAssets:
    """All replacements of one task and profile."""

    meshes: tuple[MeshReplacement, ...]
    textures: tuple[TextureReplacement, ...]


def make_assets(model: mujoco.MjModel, simplification: Simplification | None, max_texture: int | None) -> RenderAssets:
    """Plan the replacements.

    Args:
        model: the compiled model; only read.
        simplification: how meshes are simplified; ``None`` keeps every triangle that can be seen.
        max_texture: largest side of a texture [pixels]; ``None`` keeps their size.
    """
    drawn = drawn_meshes(model)
    meshes = [_empty_mesh(mesh) for mesh in range(model.nmesh) if mesh not in drawn]
    if simplification is not None:
        simplified = (_simplify(model, mesh, simplification) for mesh in sorted(drawn))
        meshes += [mesh for mesh in simplified if mesh is not None]
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
    def nothing(size: int) -> Corners:
        return Corners(values=np.empty((0, size), np.float32), index=np.empty((0, 3), np.int32))

    return MeshReplacement(mesh=mesh, points=nothing(3), normals=nothing(3), texture_coordinates=nothing(2))


def _simplify(model: mujoco.MjModel, mesh: int, how: Simplification) -> MeshReplacement | None:
    """``None`` where the mesh is better drawn as it is."""
    if model.mesh_facenum[mesh] <= how.fewest_faces:
        return None
    original = mesh_surface(model, mesh)
    longest = float(np.ptp(original.points.reshape(-1, 3), axis=0).max())
    tolerance = max(how.tolerance, how.relative_tolerance * longest)
    if model.mesh(mesh).name.startswith(FAR_PARTS):
        tolerance = max(tolerance, how.far_tolerance)
    texture = _mesh_texture(model, mesh)
    if texture is not None:
        texture = halve_until(texture, how.texture_pixels)
    surface = simplify_once(original, tolerance, how.most_faces, texture)
    if surface is None:
        return None
    coordinates = surface.texture_coordinates
    if coordinates is None:
        coordinates = np.empty((len(surface.points), 0, 2))
    return MeshReplacement(
        mesh=mesh,
        points=corners_within(surface.points, int(model.mesh_vertnum[mesh])),
        normals=corners_within(surface.normals, int(model.mesh_normalnum[mesh])),
        texture_coordinates=corners_within(coordinates, int(model.mesh_texcoordnum[mesh])),
    )


def mesh_surface(model: mujoco.MjModel, mesh: int) -> Surface:
    """A mesh's triangles with their normals and texture coordinates."""
    start, count = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    rows = slice(start, start + count)

    def corners(values: NDArray[np.float32], first: int, index: NDArray[np.int32]) -> NDArray[np.float64]:
        return values[first:][index[rows]].astype(np.float64)

    textured = model.mesh_texcoordnum[mesh] > 0
    return Surface(
        points=corners(model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_face),
        normals=corners(model.mesh_normal, model.mesh_normaladr[mesh], model.mesh_facenormal),
        texture_coordinates=corners(model.mesh_texcoord, model.mesh_texcoordadr[mesh], model.mesh_facetexcoord)
        if textured
        else None,
    )


def _mesh_texture(model: mujoco.MjModel, mesh: int) -> NDArray[np.uint8] | None:
    """Pixels that the mesh's texture coordinates point into."""
    shown = (model.geom_dataid == mesh) & (model.geom_group != HIDDEN_GROUP) & (model.geom_matid >= 0)
    for material in model.geom_matid[shown]:
        texture = int(model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB])
        if texture >= 0 and model.tex_type[texture] == mujoco.mjtTexture.mjTEXTURE_2D:
            return _texture_pixels(model, texture)
    return None


def corners_within(values: NDArray[np.float64], capacity: int) -> Corners:
    """``values [faces, 3, k]`` as at most ``capacity`` distinct ones, rounded as coarsely as that needs.

    The compiled model has room for as many positions, normals and texture coordinates as the original mesh has.
    """
    rows = values.reshape(-1, values.shape[-1])
    for decimals in range(6, -1, -1):
        distinct, index = np.unique(rows.round(decimals), axis=0, return_inverse=True)
        if len(distinct) <= capacity:
            break
    else:
        raise ValueError(f"{len(distinct)} distinct corners do not fit into {capacity}")
    return Corners(values=distinct.astype(np.float32), index=index.reshape(-1, 3).astype(np.int32))


# -- applying ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def applied(model: mujoco.MjModel, assets: RenderAssets) -> Iterator[None]:
    """Let the model hold ``assets`` while the block runs, then restore every byte."""
    with contextlib.ExitStack() as undo:
        for item in assets.meshes:
            mesh, faces = item.mesh, int(model.mesh_faceadr[item.mesh])
            for corners, values, first, index in (
                (item.points, model.mesh_vert, model.mesh_vertadr[mesh], model.mesh_face),
                (item.normals, model.mesh_normal, model.mesh_normaladr[mesh], model.mesh_facenormal),
                (item.texture_coordinates, model.mesh_texcoord, model.mesh_texcoordadr[mesh], model.mesh_facetexcoord),
            ):
                _replace(undo, values, slice(first, first + len(corners.values)), corners.values)
                _replace(undo, index, slice(faces, faces + len(corners.index)), corners.index)
            _replace(undo, model.mesh_facenum, mesh, len(item.points.index))
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
