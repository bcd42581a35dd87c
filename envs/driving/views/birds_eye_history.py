"""The bird's-eye view of VLM-RL (arXiv 2412.15544), after Roach: road, markings and four past vehicle masks.

Channels: 0 road; 1 markings, 255 solid and 120 broken; 2 to 5 the vehicles as they stood 15, 10, 5 and 0 control steps
ago (the entries -16, -11, -6 and -1 of the history), seen from the ego's present place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import Records
from envs.driving.views.bird_frame import direction, draw_static, frame_of, to_pixels
from envs.driving.views.birds_eye import View
from envs.driving.views.drawing import fill_box
from envs.driving.views.static_layers import StaticLayers, rasterise
from envs.driving.world.world import DrivingWorlds

CHANNELS = 6
STEPS_AGO = (15, 10, 5, 0)
HISTORY = 16
"""Control steps that the worlds must keep."""
PAPER_VIEW = View(size=192, pixels_per_metre=5.0, from_bottom=40.0)


@kernel
def render(
    layers: StaticLayers,
    first: int,
    last: int,
    worlds: Records,
    actors: Records,
    past: Records,
    from_bottom: float,
    scale: float,
    out: NDArray[np.uint8],
) -> None:
    """Draw the views of the worlds ``first`` to ``last - 1``."""
    for w in range(first, last):
        images = out[w]
        frame = frame_of(actors[w, 0], images.shape[1], from_bottom, scale)
        draw_static(layers, frame, images[0], images[1], 255, 120)
        images[2:] = 0
        for channel in range(len(STEPS_AGO)):
            step = max(worlds[w].step - STEPS_AGO[channel], 0)
            moment = past[w, step % past.shape[1]]
            for index in range(1, past.shape[2]):
                memory = moment[index]
                if memory.vehicle == 0:
                    continue
                column, row = to_pixels(frame, memory.x, memory.y)
                dc, dr = direction(frame, memory.heading)
                length, width = memory.half_length * scale, memory.half_width * scale
                fill_box(images[2 + channel], column, row, dc, dr, length, width, 255)


class HistoryBirdsEye:
    """Draws VLM-RL's view of all worlds of a batch, which must keep ``history=HISTORY`` steps."""

    def __init__(self, graph: LaneGraph, view: View = PAPER_VIEW) -> None:
        self.view = view
        self.layers = rasterise(graph, view.pixels_per_metre)

    def render(self, worlds: DrivingWorlds, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """``uint8 [N, 6, size, size]``, written into ``out`` where given.

        Raises:
            ValueError: the worlds keep too little history.
        """
        if worlds.past.shape[1] < HISTORY:
            raise ValueError(f"the worlds keep {worlds.past.shape[1]} past steps; make them with history={HISTORY}")
        view = self.view
        images = np.empty((len(worlds.worlds), CHANNELS, view.size, view.size), np.uint8) if out is None else out

        def draw(first: int, last: int) -> None:
            render(
                self.layers,
                first,
                last,
                worlds.worlds,
                worlds.actors,
                worlds.past,
                view.from_bottom,
                view.pixels_per_metre,
                images,
            )

        worlds.in_ranges(draw)
        return images
