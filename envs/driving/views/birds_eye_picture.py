"""The bird's-eye view as a picture for people, and for models that look at pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.maps.map_arrays import Records
from envs.driving.views.bird_frame import Frame, direction
from envs.driving.views.birds_eye import GREEN_LEVEL, View
from envs.driving.views.drawing import fill_box

GRASS, ROAD, ROUTE = (86, 120, 74), (92, 92, 96), (70, 130, 190)
SOLID, BROKEN = (240, 240, 240), (190, 190, 190)
VEHICLE, PEDESTRIAN, OBSTACLE, EGO = (40, 60, 220), (250, 210, 40), (150, 80, 30), (230, 40, 200)
RED, YELLOW, GREEN, STOP_SIGN = (220, 30, 30), (250, 190, 30), (40, 200, 70), (160, 0, 60)
RED_LEVEL = 255


def picture(layers: NDArray[np.uint8], ego: Records, view: View) -> NDArray[np.uint8]:
    """Colour one world's view.

    Args:
        layers: ``uint8 [10, size, size]`` of :class:`envs.driving.views.birds_eye.BirdsEye`.
        ego: the record of the ego, which the layers leave out.
        view: with which they were drawn.

    Returns:
        ``uint8 [size, size, 3]``, the ego's heading up.
    """
    road, route, marks, vehicles, pedestrians, lights, signs, _, obstacles, _ = layers
    image = np.empty((view.size, view.size, 3), np.uint8)
    image[:] = GRASS
    for where, colour in (
        (road > 0, ROAD),
        (route > 0, ROUTE),
        (marks == 255, SOLID),
        ((marks > 0) & (marks < 255), BROKEN),
        (lights == RED_LEVEL, RED),
        ((lights > GREEN_LEVEL) & (lights < RED_LEVEL), YELLOW),
        (lights == GREEN_LEVEL, GREEN),
        (signs > 0, STOP_SIGN),
        (obstacles > 0, OBSTACLE),
        (vehicles > 0, VEHICLE),
        (pedestrians > 0, PEDESTRIAN),
    ):
        image[where] = colour
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
