"""The bird's-eye view as a picture for people, and for models that look at pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records
from envs.driving.views.bird_frame import Frame, direction
from envs.driving.views.birds_eye import GREEN_LEVEL, View
from envs.driving.views.drawing import fill_box

GRASS, ROAD, ROUTE = (86, 120, 74), (92, 92, 96), (70, 130, 190)
SOLID, BROKEN = (240, 240, 240), (190, 190, 190)
VEHICLE, PEDESTRIAN, OBSTACLE, EGO = (40, 60, 220), (250, 210, 40), (150, 80, 30), (230, 40, 200)
RED, YELLOW, GREEN, STOP_SIGN = (220, 30, 30), (250, 190, 30), (40, 200, 70), (160, 0, 60)
RED_LEVEL = 255
(IS_GRASS, IS_ROAD, IS_ROUTE, IS_SOLID, IS_BROKEN, IS_RED, IS_YELLOW, IS_GREEN, IS_SIGN, IS_OBSTACLE, IS_VEHICLE,
 IS_PEDESTRIAN) = range(12)  # fmt: skip
PALETTE = np.array(
    [GRASS, ROAD, ROUTE, SOLID, BROKEN, RED, YELLOW, GREEN, STOP_SIGN, OBSTACLE, VEHICLE, PEDESTRIAN], np.uint8
)


@kernel
def paint(layers: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    """Give every pixel the colour of the topmost layer that has something there."""
    road, route, marks, vehicles, pedestrians = layers[0], layers[1], layers[2], layers[3], layers[4]
    lights, signs, obstacles = layers[5], layers[6], layers[8]
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            place = row, column
            if pedestrians[place]:
                what = IS_PEDESTRIAN
            elif vehicles[place]:
                what = IS_VEHICLE
            elif obstacles[place]:
                what = IS_OBSTACLE
            elif signs[place]:
                what = IS_SIGN
            elif lights[place] >= GREEN_LEVEL:
                light = lights[place]
                what = IS_GREEN if light == GREEN_LEVEL else IS_RED if light == RED_LEVEL else IS_YELLOW
            elif marks[place]:
                what = IS_SOLID if marks[place] == 255 else IS_BROKEN
            else:
                what = IS_ROUTE if route[place] else IS_ROAD if road[place] else IS_GRASS
            for channel in range(3):
                image[row, column, channel] = PALETTE[what, channel]


def picture(layers: NDArray[np.uint8], ego: Records, view: View) -> NDArray[np.uint8]:
    """Colour one world's view.

    Args:
        layers: ``uint8 [10, size, size]`` of :class:`envs.driving.views.birds_eye.BirdsEye`.
        ego: the record of the ego, which the layers leave out.
        view: with which they were drawn.

    Returns:
        ``uint8 [size, size, 3]``, the ego's heading up.
    """
    image = np.empty((view.size, view.size, 3), np.uint8)
    paint(layers, image)
    mask = np.zeros((view.size, view.size), np.uint8)
    frame = Frame(
        ego["x"], ego["y"], np.cos(ego["heading"]), np.sin(ego["heading"]), view.size, view.from_bottom,
        view.pixels_per_metre,
    )  # fmt: skip
    dc, dr = direction(frame, float(ego["heading"]))
    scale = view.pixels_per_metre
    half_length, half_width = (max(scale * float(ego[side]), 1.0) for side in ("half_length", "half_width"))
    fill_box(mask, 0.5 * view.size, view.size - view.from_bottom, dc, dr, half_length, half_width, 255)
    image[mask > 0] = EGO
    return image
