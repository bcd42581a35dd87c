"""A front camera: flat-shaded pictures from the ego's place, for models that look at pictures.

The ground is taken to be level at the ego's height: slopes do not show. Everything is drawn by compiled code on the
CPU, and is the same bit for bit whatever the batch or the number of threads.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.driving.maps.lane_graph import EDGE_BROKEN, LaneGraph
from envs.driving.views import camera_scene as scene
from envs.driving.views.drawing import fill_quad
from envs.driving.views.perspective import make_lens
from envs.driving.views.static_layers import SOLID, StaticLayers, rasterise
from envs.driving.world.world import DrivingWorlds

DASH, GAP = 3.0, 6.0
"""Of broken lines, metres."""
STRIPE = 0.5
"""Of crosswalks, and the space between, metres."""
SHADES = (1.0, 0.82, 0.66)
"""Of the top, the sides and the ends of a body."""
RASTER = 10.0
"""Pixels per metre of the ground."""


def _palette() -> NDArray[np.uint8]:
    sky = np.round(np.linspace((92, 148, 214), (206, 226, 240), scene.SKIES))
    flat = {scene.SKY + n: colour for n, colour in enumerate(sky)}
    flat |= {scene.HAZE: (176, 192, 186), scene.GRASS: (98, 140, 78), scene.GRASSES_APART: (90, 131, 72)}
    flat |= {scene.ASPHALT: (84, 86, 90), scene.PAINT: (232, 232, 228), scene.ROUTE: (70, 140, 220)}
    flat |= {scene.STOP_PAINT: (240, 240, 238)}
    lit = {scene.LAMP_RED: (255, 40, 30), scene.LAMP_YELLOW: (255, 200, 40), scene.LAMP_GREEN: (50, 230, 90)}
    lit |= {scene.AMBER: (255, 160, 20), scene.SIGN: (200, 20, 30)}
    cars = ((60, 90, 170), (176, 44, 40), (206, 208, 212), (54, 56, 62), (208, 160, 46), (60, 130, 106))
    solid = {scene.POLE: (70, 72, 76), scene.LAMP_OFF: (34, 36, 38), scene.GLASS: (92, 112, 130)}
    solid |= {scene.BODIES + 3 * n: colour for n, colour in enumerate(cars)}
    solid |= {scene.TRUCK_BODY: (222, 222, 216), scene.CYCLIST: (30, 150, 200), scene.COAT: (236, 170, 50)}
    solid |= {scene.SKIN: (214, 164, 130), scene.CRATE: (226, 108, 30)}
    palette = np.zeros((256, 3), np.uint8)
    for number, colour in flat.items():
        palette[number] = colour
    for number, colour in (lit | solid).items():
        for face, shade in enumerate(SHADES):
            palette[number + face] = colour if number in lit else np.round(shade * np.array(colour))
    return palette


PALETTE = _palette()
"""``uint8 [256, 3]``."""


@dataclass(frozen=True, kw_only=True)
class CameraView:
    """Size and place of the camera."""

    width: int = 128
    """Pixels."""
    height: int = 128
    field_of_view: float = 90.0
    """Across, degrees."""
    ahead: float = 0.4
    """Of the ego's centre, metres."""
    above: float = 1.7
    """The ground, metres."""
    pitch: float = 6.0
    """Downwards, degrees."""
    finer: int = 1
    """Drawn so many times larger and averaged, for smooth edges."""
    route: bool = False
    """Paint the route on the ground."""


def ground_layers(graph: LaneGraph) -> StaticLayers:
    """The raster of a map with dashed lines and crosswalks."""
    kinds, arc = graph.edge_kind.copy(), graph.arc
    dashes = arc % (DASH + GAP) < DASH
    lane = np.repeat(np.arange(graph.lanes), np.diff(graph.lane_start))
    shared = np.column_stack([(graph.opposite[lane] >= 0) & (graph.opposite[lane] < lane), graph.right[lane] >= 0])
    for side in range(2):  # an edge that two lanes share is painted by one of them
        broken = kinds[:, side] == EDGE_BROKEN
        kinds[broken & (shared[:, side] | ~dashes), side] = 0
    layers = rasterise(dataclasses.replace(graph, edge_kind=kinds), RASTER)
    for number in range(len(graph.crosswalk_start) - 1):
        _paint_crosswalk(layers, graph.crosswalk(number))
    return layers


def _paint_crosswalk(layers: StaticLayers, outline: NDArray[np.float64]) -> None:
    """Stripes along the direction of travel, one after the other along the way across."""
    middle = outline.mean(axis=0)
    _, _, axes = np.linalg.svd(outline - middle, full_matrices=False)
    along, across = ((outline - middle) @ axis for axis in axes)
    for start in np.arange(along.min(), along.max() - 0.5 * STRIPE, 2.0 * STRIPE):
        ends = (
            (start, across.min()),
            (start, across.max()),
            (start + STRIPE, across.max()),
            (start + STRIPE, across.min()),
        )
        corners = [middle + a * axes[0] + b * axes[1] for a, b in ends]
        places = (np.array(corners) - (layers.x, layers.y)) * layers.pixels_per_metre
        fill_quad(layers.codes, *(float(value) for value in places.ravel()), SOLID, True)


class FrontCamera:
    """Draws what the egos of a batch see.

    Example::

        camera = FrontCamera(worlds.graph, CameraView(width=256, height=192, finer=2))
        images = camera.render(worlds)      # uint8 [N, 192, 256, 3]
    """

    def __init__(self, graph: LaneGraph, view: CameraView | None = None) -> None:
        self.view = view or CameraView()
        self.layers = ground_layers(graph)
        size = (self.view.finer * self.view.width, self.view.finer * self.view.height)
        self.lens = make_lens(*size, self.view.field_of_view, self.view.ahead, self.view.above, self.view.pitch)

    def render(self, worlds: DrivingWorlds) -> NDArray[np.uint8]:
        """``uint8 [N, height, width, 3]``, RGB."""
        view = self.view
        numbers = np.empty((len(worlds.worlds), self.lens.rows, self.lens.columns), np.uint8)

        def draw(first: int, last: int) -> None:
            scene.render(
                worlds.map,
                self.layers,
                self.lens,
                first,
                last,
                worlds.worlds,
                worlds.actors,
                worlds.routes,
                worlds.lights,
                view.route,
                numbers,
            )

        worlds.in_ranges(draw)
        images = PALETTE[numbers]
        if view.finer == 1:
            return images
        parts = images.reshape(-1, view.height, view.finer, view.width, view.finer, 3)
        return (parts.sum(axis=(2, 4), dtype=np.uint16) // view.finer**2).astype(np.uint8)
