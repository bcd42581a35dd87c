"""Colours of the picture: every layer covers those below it."""

from __future__ import annotations

import numpy as np
import pytest

from envs.driving.views import birds_eye_picture as picture
from envs.driving.views.birds_eye import CHANNELS, GREEN_LEVEL

ROAD, ROUTE, MARKS, VEHICLES, PEDESTRIANS, LIGHTS, SIGNS, _, OBSTACLES, _ = range(CHANNELS)
YELLOW_LEVEL = GREEN_LEVEL + 90


def layered(layers):
    """The same, painted layer by layer from the bottom up."""
    image = np.empty((*layers.shape[1:], 3), np.uint8)
    image[:] = picture.GRASS
    marks, lights = layers[MARKS], layers[LIGHTS]
    for where, colour in (
        (layers[ROAD] > 0, picture.ROAD),
        (layers[ROUTE] > 0, picture.ROUTE),
        (marks == 255, picture.SOLID),
        ((marks > 0) & (marks < 255), picture.BROKEN),
        (lights == 255, picture.RED),
        ((lights > GREEN_LEVEL) & (lights < 255), picture.YELLOW),
        (lights == GREEN_LEVEL, picture.GREEN),
        (layers[SIGNS] > 0, picture.STOP_SIGN),
        (layers[OBSTACLES] > 0, picture.OBSTACLE),
        (layers[VEHICLES] > 0, picture.VEHICLE),
        (layers[PEDESTRIANS] > 0, picture.PEDESTRIAN),
    ):
        image[where] = colour
    return image


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_what_is_on_top_is_seen(density):
    rng = np.random.default_rng(0)
    layers = rng.choice(np.array([1, 127, 255], np.uint8), (CHANNELS, 48, 48))
    layers[LIGHTS] = rng.choice(np.array([GREEN_LEVEL, YELLOW_LEVEL, 255], np.uint8), (48, 48))
    layers[rng.random(layers.shape) > density] = 0
    image = np.empty((48, 48, 3), np.uint8)
    picture.paint(layers, image)
    np.testing.assert_array_equal(image, layered(layers))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) >= 10
