"""Images of cameras: flat-shaded boxes on the painted ground. What is to draw better has to offer ``draw``, no more."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from envs.carla_server.actors import Body
from envs.carla_server.episode import Episode
from envs.carla_server.signals import GREEN, OFF, RED, YELLOW
from envs.carla_server.wire import Pose, Stream
from envs.driving.pinhole import BOX, FURTHEST, axes, cast_rays, render
from envs.driving.views.drawing import Image
from envs.driving.views.static_layers import StaticLayers, rasterise

Rays = NDArray[np.float64]

PIXELS_PER_METRE = 4.0
"""Of the ground."""
REACH = 200.0
"""What is further away is not drawn, metres."""
WALKER_COLOUR = (250, 210, 40)
LAMPS = np.zeros((OFF + 1, 3), np.uint8)
LAMPS[[RED, YELLOW, GREEN, OFF]] = (230, 30, 30), (250, 190, 30), (40, 200, 70), (60, 60, 60)
"""Colours of the lights by state."""
LIGHT_LABEL = 7
LAMP_HEIGHT, LAMP_SIZE = 3.0, (0.25, 0.25, 0.9)
"""Traffic lights are boxes that hang so high."""


class Camera:
    """Draws for the sensors of an episode."""

    def __init__(self, episode: Episode) -> None:
        self._episode = episode
        self._drawn_slots: NDArray[np.int64] | None = None
        """Whose boxes ``_all`` holds: the episode has a new array whenever somebody comes or goes."""
        self._all, self._sunk = np.zeros(0, BOX), np.zeros(0)
        """All boxes, and how far below its origin each body's is."""

    @cached_property
    def _ground(self) -> StaticLayers:
        return rasterise(self._episode.map.graph, PIXELS_PER_METRE)

    def draw(
        self, kind: Stream, pose: Pose, width: int, height: int, field: float, parent: Body | None
    ) -> NDArray[np.uint8]:
        """What a camera sees.

        Args:
            kind: ``RGB``, ``DEPTH``, ``SEMANTIC`` or ``INSTANCE``.
            pose: of the camera.
            width: pixels.
            height: pixels.
            field: horizontal field of view, degrees.
            parent: the body that carries the camera: the ground is level with it.

        Returns:
            ``uint8 [height, width, 4]`` as CARLA packs it: blue, green, red; depth in 24 bits, red lowest, of 1000 m;
            the label in red, and for instances the actor's id in green and blue.
        """
        image = np.empty((height, width, 4), np.uint8)
        depth, labels = np.empty((height, width), np.float32), np.empty((height, width), np.uint8)
        actors = np.empty((height, width), np.int32)
        level = self._level(parent)
        focal = width / (2.0 * math.tan(math.radians(min(max(field, 1.0), 170.0)) / 2.0))
        place = np.array(pose[:3], np.float64)
        boxes = self._boxes(place)
        axis = (0.5 * width, 0.5 * height)
        render(self._ground, boxes, place, axes(*pose[3:]), focal, axis, level, image, depth, labels, actors)
        if kind == Stream.DEPTH:
            steps = np.minimum(depth / FURTHEST * (2**24 - 1), 2**24 - 1).astype(np.uint32)
            for channel, shift in ((2, 0), (1, 8), (0, 16)):
                image[:, :, channel] = (steps >> shift) & 0xFF
        elif kind == Stream.SEMANTIC:
            image[:, :, :2], image[:, :, 2] = 0, labels
        elif kind == Stream.INSTANCE:
            image[:, :, 2], image[:, :, 1], image[:, :, 0] = labels, actors & 0xFF, (actors >> 8) & 0xFF
        return image

    def cast(self, pose: Pose, rays: Rays, reach: float, parent: Body | None) -> tuple[Rays, Image, NDArray[np.int32]]:
        """How far rays ``[R, 3]`` in the frame of a sensor go, and what they meet.

        Returns:
            Metres ``[R]`` (infinity: nothing within reach), labels ``[R]`` and ids of actors ``[R]``, 0 for the ground.
        """
        place = np.array(pose[:3], np.float64)
        distances, labels, actors = np.empty(len(rays)), np.empty(len(rays), np.uint8), np.empty(len(rays), np.int32)
        world = np.ascontiguousarray(rays @ axes(*pose[3:]))
        level = self._level(parent)
        cast_rays(self._ground, self._boxes(place), place, world, level, reach, distances, labels, actors)
        return distances, labels, actors

    def _level(self, parent: Body | None) -> float:
        if parent is None:
            return 0.0
        return float(self._episode.bodies["z"][parent.slot]) - (parent.blueprint.size[2] if parent.walks else 0.0)

    def _boxes(self, place: NDArray[np.float64]) -> NDArray[np.void]:
        """Bodies and lights within reach."""
        episode, lights = self._episode, self._episode.lights
        if self._drawn_slots is not episode.slots:
            self._drawn_slots, self._all = episode.slots, self._new_boxes()
        boxes, bodies = self._all, episode.bodies[episode.slots]
        cars = boxes[: len(bodies)]
        cars["x"], cars["y"], cars["z"] = bodies["x"], -bodies["y"], bodies["z"] - self._sunk
        cars["cos"], cars["sin"] = np.cos(bodies["heading"]), -np.sin(bodies["heading"])
        colours = LAMPS[np.minimum(lights.records["light_state"], OFF)]
        lamps = boxes[len(bodies) :]
        lamps["red"], lamps["green"], lamps["blue"] = colours.T
        near = (boxes["x"] - place[0]) ** 2 + (boxes["y"] - place[1]) ** 2 < REACH**2
        return boxes[near]

    def _new_boxes(self) -> NDArray[np.void]:
        """Boxes of all bodies, then of all lights, with what does not change while these bodies are there."""
        episode, lights = self._episode, self._episode.lights
        bodies = [episode.actors.bodies[int(slot)] for slot in episode.slots]
        boxes = np.zeros(len(bodies) + len(lights.signs), BOX)
        for box, body in zip(boxes, bodies):
            for name in ("half_length", "half_width", "height"):
                box[name] = episode.bodies[name][body.slot]
            box["red"], box["green"], box["blue"] = WALKER_COLOUR if body.walks else _colour(body)
            box["label"], box["actor"] = body.blueprint.tag, body.id
        self._sunk = np.array([body.blueprint.size[2] if body.walks else 0.0 for body in bodies])
        lamps, location = boxes[len(bodies) :], lights.records["location"]
        lamps["x"], lamps["y"], lamps["z"] = location[:, 0], location[:, 1], location[:, 2] + LAMP_HEIGHT
        lamps["cos"], lamps["label"], lamps["actor"] = 1.0, LIGHT_LABEL, lights.records["id"]
        lamps["half_length"], lamps["half_width"], lamps["height"] = LAMP_SIZE
        return boxes


def _colour(body: Body) -> tuple[int, int, int]:
    parts = body.values.get("color", (0, ""))[1].split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        return 120, 120, 120
    red, green, blue = (min(int(part), 255) for part in parts)
    return red, green, blue
