"""Camera images of LIBERO scenes: profile ``reference`` (stock pixels) and ``fast`` (fewer triangles, no antialiasing).

Contexts are made on first use, in the process that renders: an OpenGL context does not survive a fork.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.libero import suites
from vlarl.env_protocol import BrokenProcessError, UInt8Image

suites.prepare_process()

import mujoco  # noqa: E402  (reads MUJOCO_GL when imported)

from envs.libero.culling import can_cull, cullable_geoms, outside_frustum  # noqa: E402
from envs.libero.render_assets import (  # noqa: E402
    HIDDEN_GROUP,
    RenderAssets,
    Simplification,
    applied,
    make_assets,
    uploaded_texture_bytes,
)
from envs.libero.simulator import Slot, TaskSimulator  # noqa: E402

CAMERAS = {"agentview": "agentview", "wrist": "robot0_eye_in_hand", "frontview": "frontview"}
"""Our camera names -> LIBERO's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderProfile:
    """How images are made; its name is part of every reported protocol."""

    name: str
    multisamples: int
    """Antialiasing samples per pixel; the stock environment uses 4."""
    simplification: Simplification | None = None
    """How meshes are simplified; ``None`` keeps every triangle."""
    max_texture: int | None = None
    """Largest side of a texture [pixels]; ``None`` keeps their size."""


PROFILES = {
    "reference": RenderProfile(name="reference", multisamples=4),
    "fast": RenderProfile(name="fast", multisamples=0, simplification=Simplification(), max_texture=512),
}

_MAX_SIZE = 512
_gl: tuple[int, Any] | None = None


def _gl_context() -> Any:
    """The process's OpenGL context, shared by the renderers of all tasks.

    Raises:
        BrokenProcessError: no OpenGL implementation, or one that was opened before this process was forked.
    """
    global _gl
    if _gl is not None and _gl[0] != os.getpid():
        raise BrokenProcessError(
            "an OpenGL context was opened before this process was forked; images must be rendered in workers only"
        )
    if _gl is None:
        try:
            from mujoco.gl_context import GLContext

            context = GLContext(_MAX_SIZE, _MAX_SIZE)
        except Exception as error:
            raise BrokenProcessError(
                f"no off-screen OpenGL context (MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r}): {error}. "
                "Install one with: apt-get install libosmesa6 libegl1 libgl1-mesa-dri, then run `vlarl doctor`."
            ) from error
        _gl = (os.getpid(), context)
    _gl[1].make_current()  # somebody else's context may be the current one
    return _gl[1]


class TaskRenderer:
    """Renders the slots of one task."""

    def __init__(self, task: TaskSimulator, profile: RenderProfile, resolution: int, cameras: tuple[str, ...]) -> None:
        unknown = [name for name in cameras if name not in CAMERAS]
        if unknown:
            raise ValueError(f"unknown camera {unknown[0]!r}; choose from {', '.join(CAMERAS)}")
        if not 8 <= resolution <= _MAX_SIZE:
            raise ValueError(f"resolution {resolution} is outside 8..{_MAX_SIZE}")
        _gl_context()
        self.profile = profile
        self._model = model = task.model
        self._viewport = mujoco.MjrRect(0, 0, resolution, resolution)
        assets = get_assets(task, profile)
        self._context = _make_context(model, profile, resolution, assets)
        self.texture_bytes = uploaded_texture_bytes(model, assets)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[HIDDEN_GROUP] = 0  # collision shapes are hidden in the stock images
        self._perturbation = mujoco.MjvPerturb()
        self._cameras = {name: _fixed_camera(model, CAMERAS[name]) for name in cameras}
        self._buffer = np.empty((resolution, resolution, 3), dtype=np.uint8)
        self._cullable = cullable_geoms(model) if can_cull(model) else np.empty(0, dtype=np.int64)
        self._groups = model.geom_group.copy()
        self._outside = np.zeros(model.ngeom, dtype=np.bool_)

    def render(self, slot: Slot) -> dict[str, UInt8Image]:
        """One upright ``uint8 [resolution, resolution, 3]`` image per camera of the slot's current poses."""
        _gl_context()
        # Renderers share one OpenGL context: whoever rendered last left its own framebuffer bound.
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        if slot.site_alpha is not None:
            self._model.site_rgba[:, 3] = slot.site_alpha
        return {name: self._render_camera(slot.data, camera) for name, camera in self._cameras.items()}

    def _render_camera(self, data: mujoco.MjData, camera: mujoco.MjvCamera) -> UInt8Image:
        self._hide_unseen(data, camera.fixedcamid)
        mujoco.mjv_updateScene(
            self._model, data, self._options, self._perturbation, camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        self._model.geom_group[:] = self._groups
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        mujoco.mjr_readPixels(self._buffer, None, self._viewport, self._context)
        return np.ascontiguousarray(self._buffer[::-1])  # OpenGL's first row is the bottom one

    def _hide_unseen(self, data: mujoco.MjData, camera: int) -> None:
        """Move geoms outside the camera's view into the hidden group for the next scene update."""
        model = self._model
        slope = float(np.tan(np.deg2rad(model.cam_fovy[camera]) / 2.0))
        outside_frustum(
            self._cullable,
            model.geom_aabb,
            data.geom_xpos,
            data.geom_xmat,
            data.cam_xpos[camera],
            data.cam_xmat[camera],
            slope,
            self._outside,
        )
        model.geom_group[self._outside] = HIDDEN_GROUP

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._context is None

    def close(self) -> None:
        """Free the renderer's OpenGL objects."""
        if self._context is not None:
            _gl_context()
            self._context.free()
            self._context = None
            if self in _live:
                _live.remove(self)


def _fixed_camera(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera


def _make_context(
    model: mujoco.MjModel, profile: RenderProfile, resolution: int, assets: RenderAssets
) -> mujoco.MjrContext:
    quality, screen = model.vis.quality, model.vis.global_
    saved = quality.offsamples, quality.shadowsize, screen.offwidth, screen.offheight
    quality.offsamples = profile.multisamples
    if not model.light_castshadow.any():
        quality.shadowsize = 0  # MuJoCo reserves a 64 MB shadow map even where no light casts shadows
    screen.offwidth = screen.offheight = resolution
    try:
        with applied(model, assets):
            context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
    finally:
        quality.offsamples, quality.shadowsize, screen.offwidth, screen.offheight = saved
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    if context.currentBuffer != mujoco.mjtFramebuffer.mjFB_OFFSCREEN:
        raise BrokenProcessError("the OpenGL implementation offers no off-screen framebuffer; run `vlarl doctor`")
    if context.offSamples != profile.multisamples:
        raise BrokenProcessError(
            f"render profile {profile.name!r} needs {profile.multisamples} samples per pixel, the OpenGL "
            f"implementation gave {context.offSamples}; its images would not be the profile's"
        )
    return context


RENDERER_MEMORY = 1.5e9
"""Bytes of textures the renderers of one process may hold; the one not used for longest is closed first."""

_live: list[TaskRenderer] = []


def get_assets(task: TaskSimulator, profile: RenderProfile) -> RenderAssets:
    """What the profile uploads for this task, planned once (before workers are forked, where warmed up)."""
    if profile.name not in task.render_assets:
        task.render_assets[profile.name] = make_assets(task.model, profile.simplification, profile.max_texture)
    return task.render_assets[profile.name]


def get_renderer(task: TaskSimulator, profile: str, resolution: int, cameras: tuple[str, ...]) -> TaskRenderer:
    """The process's renderer for this task and profile, made on first use."""
    if profile not in PROFILES:
        raise ValueError(f"unknown render profile {profile!r}; choose from {', '.join(PROFILES)}")
    key = (os.getpid(), profile, resolution, cameras)
    renderer = task.renderers.get(key)
    if renderer is None or renderer.is_closed:
        renderer = task.renderers[key] = TaskRenderer(task, PROFILES[profile], resolution, cameras)
        _live.append(renderer)
        while len(_live) > 1 and sum(item.texture_bytes for item in _live) > RENDERER_MEMORY:
            _live[0].close()
    elif _live[-1] is not renderer:
        _live.remove(renderer)
        _live.append(renderer)
    return renderer


def close_renderers() -> None:
    """Close every renderer of this process; they are made again when needed."""
    while _live:
        _live[-1].close()
