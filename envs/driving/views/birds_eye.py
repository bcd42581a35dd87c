"""CaRL's bird's-eye view: ten 8-bit images around the ego, heading up (arXiv 2504.17838).

| channel | holds |
|---|---|
| 0 | road |
| 1 | route: the next 150 points, 3 m wide (6 pixels at CaRL's 2 per metre) |
| 2 | markings: 255 solid, 127 broken |
| 3 | vehicles: 127 to 255 for -2.67 to 33.33 m/s, a line as long as the way of one second; blinkers 44 (left) and |
|   | 77 (right), brake lights 111 |
| 4 | pedestrians: boxes of twice their size, grey and line as of vehicles |
| 5 | stop lines of traffic lights: red 255, yellow 171 rising to 255 over its last 3 s, green 80 |
| 6 | stop signs at which the ego has not halted yet |
| 7 | speed limits where they begin, grey as of vehicles |
| 8 | obstacles |
| 9 | shoulders (none where the raster was made without them) |

The ego itself is not drawn. Unlike CaRL's, shapes hold the pixels whose centres they cover (no rounding of corners to
pixels), and all traffic lights in view are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.lane_graph import LaneGraph
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.views.bird_frame import Frame, direction, draw_static, frame_of, sample_row, to_pixels
from envs.driving.views.drawing import Image, draw_line, fill_box, fill_disc
from envs.driving.views.static_layers import SHOULDER, StaticLayers, rasterise
from envs.driving.world.halting import STOP_SIGN
from envs.driving.world.lights import GREEN, YELLOW
from envs.driving.world.records import Kind, Status
from envs.driving.world.traffic import BRAKE_LAMP, LEFT_LAMP, RIGHT_LAMP
from envs.driving.world.world import DrivingWorlds

CHANNELS = 10
PEDESTRIAN, OBSTACLE, EMPTY = int(Kind.PEDESTRIAN), int(Kind.OBSTACLE), int(Status.EMPTY)
ROUTE_POINTS, ROUTE_RADIUS = 150, 1.5
"""Points of the route that are drawn, and half of the width [m]."""
LOWEST_SPEED, HIGHEST_SPEED = -2.67, 33.33
GREEN_LEVEL, YELLOW_LEVEL, YELLOW_SECONDS = 80, 0.67, 3.0
LINE_METRES = 1.5
"""Depth of a drawn stop line, metres."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What part of the world an image shows, and how finely."""

    size: int = 256
    """Pixels per side."""
    pixels_per_metre: float = 2.0
    from_bottom: float = 100.0
    """Pixels below the ego's centre."""


@kernel
def speed_grey(speed: float) -> int:
    """Grey level of a speed: 127 at -2.67 m/s or less, 255 at 33.33 m/s or more."""
    share = (speed - LOWEST_SPEED) / (HIGHEST_SPEED - LOWEST_SPEED)
    return 127 + int(128.0 * min(max(share, 0.0), 1.0))


@kernel
def draw_moving(image: Image, frame: Frame, actor: Records, enlarged: float) -> None:
    """Draw the box of an actor and the way it covers in one second."""
    column, row = to_pixels(frame, actor.x, actor.y)
    dc, dr = direction(frame, actor.heading)
    length, width = enlarged * frame.scale * actor.half_length, enlarged * frame.scale * actor.half_width
    grey = speed_grey(actor.speed)
    fill_box(image, column, row, dc, dr, length, width, grey)
    way = length + max(1.0, frame.scale * actor.speed)
    draw_line(image, column + length * dc, row + length * dr, column + way * dc, row + way * dr, grey)


@kernel
def draw_lamp(image: Image, frame: Frame, actor: Records, along: float, left: float, grey: int) -> None:
    """Draw a lamp as a square of 1 m at a place on a vehicle."""
    column, row = to_pixels(frame, actor.x, actor.y)
    dc, dr = direction(frame, actor.heading)
    column += frame.scale * (along * dc + left * dr)
    row += frame.scale * (along * dr - left * dc)
    fill_box(image, column, row, dc, dr, 0.5 * frame.scale, 0.5 * frame.scale, grey)


@kernel
def draw_actors(images: NDArray[np.uint8], frame: Frame, actors: Records) -> None:
    """Draw everybody but the ego."""
    for index in range(1, len(actors)):
        actor = actors[index]
        if actor.active == 0:
            continue
        if actor.kind == PEDESTRIAN:
            draw_moving(images[4], frame, actor, 2.0)
        elif actor.kind == OBSTACLE:
            column, row = to_pixels(frame, actor.x, actor.y)
            dc, dr = direction(frame, actor.heading)
            fill_box(
                images[8], column, row, dc, dr, frame.scale * actor.half_length, frame.scale * actor.half_width, 255
            )
        else:
            draw_moving(images[3], frame, actor, 1.0)
            if actor.lamps & LEFT_LAMP:
                draw_lamp(images[3], frame, actor, 0.5, 0.5, 44)
            if actor.lamps & RIGHT_LAMP:
                draw_lamp(images[3], frame, actor, 0.5, -0.5, 77)
            if actor.lamps & BRAKE_LAMP:
                draw_lamp(images[3], frame, actor, -1.5, 0.0, 111)


@kernel
def light_grey(state: int, left: float) -> int:
    """Grey level of a traffic light that stays in its state for ``left`` more seconds."""
    if state == GREEN:
        return GREEN_LEVEL
    if state == YELLOW:
        return int(255.0 * (1.0 - min(left / YELLOW_SECONDS, 1.0) * (1.0 - YELLOW_LEVEL)))
    return 255


@kernel
def draw_stops(
    images: NDArray[np.uint8],
    frame: Frame,
    world_map: MapArrays,
    lights: NDArray[np.int8],
    lights_left: NDArray[np.float32],
    served: int,
) -> None:
    """Draw the stop lines of lights and stop signs, all but the sign that is ``served``."""
    reach = 1.5 * frame.size / frame.scale
    for place in range(len(world_map.stops)):
        stop = world_map.stops[place]
        if abs(stop.x - frame.x) > reach or abs(stop.y - frame.y) > reach:
            continue
        column, row = to_pixels(frame, stop.x, stop.y)
        heading = np.arctan2(stop.sin, stop.cos)
        dc, dr = direction(frame, heading)
        half, width = 0.5 * LINE_METRES * frame.scale, stop.half_width * frame.scale
        if stop.kind == STOP_SIGN:
            if place != served:
                fill_box(images[6], column, row, dc, dr, half, width, 255)
        else:
            fill_box(images[5], column, row, dc, dr, half, width, light_grey(lights[place], lights_left[place]))


@kernel
def draw_speed_signs(image: Image, frame: Frame, signs: NDArray[np.float64]) -> None:
    """Draw where speed limits begin, as squares of 2 m."""
    reach = 1.5 * frame.size / frame.scale
    for number in range(len(signs)):
        if abs(signs[number, 0] - frame.x) < reach and abs(signs[number, 1] - frame.y) < reach:
            column, row = to_pixels(frame, signs[number, 0], signs[number, 1])
            dc, dr = direction(frame, signs[number, 2])
            fill_box(image, column, row, dc, dr, frame.scale, frame.scale, speed_grey(signs[number, 3]))


@kernel
def draw_route(image: Image, frame: Frame, world: Records, route: Records) -> None:
    """Draw the next points of the route."""
    radius = max(int(ROUTE_RADIUS * frame.scale), 1)
    for place in range(world.route_index, min(world.route_index + ROUTE_POINTS, world.route_count)):
        column, row = to_pixels(frame, route[place].x, route[place].y)
        fill_disc(image, int(np.floor(column)), int(np.floor(row)), radius, 255)


@kernel
def draw_shoulders(image: Image, frame: Frame, layers: StaticLayers) -> None:
    """Fill the image of shoulders."""
    codes = np.empty(frame.size, np.uint8)
    for row in range(frame.size):
        sample_row(layers, frame, row, codes)
        for i in range(frame.size):
            image[row, i] = 255 if codes[i] & SHOULDER else 0


@kernel
def render(
    world_map: MapArrays,
    layers: StaticLayers,
    first: int,
    last: int,
    worlds: Records,
    actors: Records,
    routes: Records,
    lights: NDArray[np.int8],
    lights_left: NDArray[np.float32],
    from_bottom: float,
    scale: float,
    with_shoulders: bool,
    out: NDArray[np.uint8],
) -> None:
    """Draw the views of the worlds ``first`` to ``last - 1``, but not of those that are not reset or are parked."""
    for w in range(first, last):
        if worlds[w].status == EMPTY:
            continue
        images = out[w]
        frame = frame_of(actors[w, 0], images.shape[1], from_bottom, scale)
        draw_static(layers, frame, images[0], images[2], 255, 127)
        images[1] = 0
        images[3:] = 0
        draw_route(images[1], frame, worlds[w], routes[w])
        draw_actors(images, frame, actors[w])
        draw_stops(images, frame, world_map, lights[w], lights_left[w], actors[w, 0].served_stop)
        draw_speed_signs(images[7], frame, layers.speed_signs)
        if with_shoulders:
            draw_shoulders(images[9], frame, layers)


class BirdsEye:
    """Draws CaRL's view of all worlds of a batch.

    Example::

        birds_eye = BirdsEye(worlds.graph, View(size=192, from_bottom=75))
        images = birds_eye.render(worlds)      # uint8 [N, 10, 192, 192]

    Args:
        graph: the map of the worlds.
        view: size and scale.
        shoulders: see :func:`envs.driving.views.static_layers.rasterise`.
    """

    def __init__(
        self, graph: LaneGraph, view: View | None = None, shoulders: NDArray[np.float64] | None = None
    ) -> None:
        self.view = view or View()
        self.layers = rasterise(graph, self.view.pixels_per_metre, shoulders)
        self.with_shoulders = shoulders is not None

    def render(self, worlds: DrivingWorlds, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """``uint8 [N, 10, size, size]``, written into ``out`` where given; empty worlds are not drawn."""
        view = self.view
        images = np.empty((len(worlds.worlds), CHANNELS, view.size, view.size), np.uint8) if out is None else out

        def draw(first: int, last: int) -> None:
            render(
                worlds.map,
                self.layers,
                first,
                last,
                worlds.worlds,
                worlds.actors,
                worlds.routes,
                worlds.lights,
                worlds.lights_left,
                view.from_bottom,
                view.pixels_per_metre,
                self.with_shoulders,
                images,
            )

        worlds.in_ranges(draw)
        return images
