"""Which geoms a camera cannot see: those whose bounding box lies outside its view frustum.

A software renderer transforms every vertex before it clips, so leaving such geoms out saves their whole cost and
changes no pixel. It would where other pixels depend on them (shadows, mirrors): ``can_cull`` says where not.
"""

from __future__ import annotations

import mujoco
import numba
import numpy as np
from numpy.typing import NDArray

from envs.libero.render_assets import HIDDEN_GROUP

MARGIN = 1e-3
"""Metres by which bounding boxes are enlarged; covers single-precision rounding in the renderer."""


def can_cull(model: mujoco.MjModel) -> bool:
    """No light casts shadows and no visible plane or box (the shapes MuJoCo lets reflect) is a mirror."""
    if model.light_castshadow.any():
        return False
    mirrors = (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE) | (model.geom_type == mujoco.mjtGeom.mjGEOM_BOX)
    mirrors &= (model.geom_group != HIDDEN_GROUP) & (model.geom_matid >= 0)
    return not (model.mat_reflectance[model.geom_matid[mirrors]] > 0).any()


def cullable_geoms(model: mujoco.MjModel) -> NDArray[np.int64]:
    """Visible geoms with a finite bounding box (planes have none)."""
    visible = (model.geom_group != HIDDEN_GROUP) & (model.geom_type != mujoco.mjtGeom.mjGEOM_PLANE)
    return np.flatnonzero(visible)


@numba.njit(cache=True)
def outside_frustum(
    geoms: NDArray[np.int64],
    box: NDArray[np.float64],
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    eye: NDArray[np.float64],
    axes: NDArray[np.float64],
    slope: float,
    outside: NDArray[np.bool_],
) -> None:
    """Mark geoms whose oriented bounding box is wholly on the outer side of one of the frustum's planes.

    Args:
        geoms: ``[n]`` geom ids.
        box: ``[ngeom, 6]`` centre and half sizes in the geom's frame (``MjModel.geom_aabb``).
        position: ``[ngeom, 3]``.
        rotation: ``[ngeom, 9]``.
        eye: ``[3]`` camera position.
        axes: ``[9]`` camera rotation; columns are right, up, backward.
        slope: tangent of half the field of view (square images).
        outside: ``[ngeom]``, written for ``geoms``.
    """
    # Normals point outwards, in the camera's frame: left, right, bottom, top, behind.
    planes = np.array([[-1.0, 0.0, slope], [1.0, 0.0, slope], [0.0, -1.0, slope], [0.0, 1.0, slope], [0.0, 0.0, 1.0]])
    normal = np.empty(3)
    for index in range(geoms.shape[0]):
        geom = geoms[index]
        outside[geom] = False
        for plane in range(5):
            a, b, c = planes[plane, 0], planes[plane, 1], planes[plane, 2]
            for i in range(3):
                normal[i] = axes[3 * i] * a + axes[3 * i + 1] * b + axes[3 * i + 2] * c
            distance, reach, length = 0.0, 0.0, 0.0
            for i in range(3):
                centre = position[geom, i]
                for j in range(3):
                    centre += rotation[geom, 3 * i + j] * box[geom, j]
                distance += normal[i] * (centre - eye[i])
                length += normal[i] * normal[i]
            for j in range(3):
                along = 0.0
                for i in range(3):
                    along += normal[i] * rotation[geom, 3 * i + j]
                reach += abs(along) * box[geom, 3 + j]
            if distance > reach + MARGIN * np.sqrt(length):
                outside[geom] = True
                break
