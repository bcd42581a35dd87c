"""Simplified meshes on disk: a mesh is simplified once per machine, in about a second, and read back from then on.

One file per mesh, in the folder ``meshes`` of the cache (``envs.disk_cache``).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from envs.disk_cache import cache_folder, code_hash, write_atomically
from envs.libero.mesh_simplification import Surface
from envs.libero.surface_transfer import simplify

CODE = ("mesh_simplification", "surface_transfer")
"""The modules that decide what a simplified mesh holds."""


def simplify_once(
    surface: Surface, tolerance: float, most_faces: int, texture: NDArray[np.uint8] | None
) -> Surface | None:
    """``surface_transfer.simplify``, from the cache where it holds the result; arguments as there.

    A damaged file is made anew; where the folder cannot be written, nothing is kept.
    """
    path = cache_folder() / "meshes" / f"{_key(surface, tolerance, most_faces, texture)}.npz"
    with contextlib.suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return _read(path)
    result = simplify(surface, tolerance, most_faces, texture)
    with contextlib.suppress(OSError):
        _write(path, result)
    return result


def _key(surface: Surface, tolerance: float, most_faces: int, texture: NDArray[np.uint8] | None) -> str:
    digest = hashlib.sha256(code_hash(Path(__file__).parent, CODE))
    digest.update(repr((tolerance, most_faces)).encode())
    for array in (surface.points, surface.normals, surface.texture_coordinates, texture):
        digest.update(b"none" if array is None else repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Surface | None:
    with np.load(path, allow_pickle=False) as stored:
        if not stored["simplified"]:
            return None
        return Surface(
            points=stored["points"],
            normals=stored["normals"],
            texture_coordinates=stored.get("texture_coordinates"),
        )


def _write(path: Path, surface: Surface | None) -> None:
    arrays: dict[str, NDArray[np.float64] | NDArray[np.bool_]] = {"simplified": np.array(surface is not None)}
    if surface is not None:
        arrays |= {"points": surface.points, "normals": surface.normals}
        if surface.texture_coordinates is not None:
            arrays["texture_coordinates"] = surface.texture_coordinates
    content = io.BytesIO()
    np.savez(content, **arrays)  # pyrefly: ignore
    write_atomically(path, content.getvalue())
