"""What the front camera draws: sky and ground, then everything that stands on it from far to near.

Images hold numbers of :data:`envs.driving.views.camera.PALETTE`; a body has three of them, for its top, sides and ends.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.views.drawing import Image
from envs.driving.views.perspective import Lens, draw_box, draw_face, ground_row
from envs.driving.views.static_layers import ROAD, StaticLayers
from envs.driving.world.halting import STOP_SIGN
from envs.driving.world.lights import GREEN, YELLOW
from envs.driving.world.occupancy import LEVEL
from envs.driving.world.records import Kind
from envs.driving.world.traffic import BRAKE_LAMP, LEFT_LAMP, RIGHT_LAMP

TRUCK, BICYCLE, PEDESTRIAN, OBSTACLE = (
    int(kind) for kind in (Kind.TRUCK, Kind.BICYCLE, Kind.PEDESTRIAN, Kind.OBSTACLE)
)
SKY, SKIES = 200, 24
"""First of the sky's bands, from above to the horizon, and how many there are."""
HAZE, GRASS, ASPHALT, PAINT, ROUTE, STOP_PAINT = range(4, 10)
GRASSES_APART = 50
"""The second shade of grass has this number."""
POLE, LAMP_OFF, LAMP_RED, LAMP_YELLOW, LAMP_GREEN, SIGN, GLASS, AMBER = range(10, 34, 3)
BODIES, BODY_COLOURS = 51, 6
"""First of the cars' colours."""
TRUCK_BODY, CYCLIST, COAT, SKIN, CRATE = (BODIES + 3 * BODY_COLOURS + 3 * n for n in range(5))
FURTHEST = 160.0
"""Ground further away is haze, metres."""
ACTORS_TO, STOPS_TO = 120.0, 90.0
PATCH = 8.0
"""Grass changes its shade at this distance, so that motion shows, metres."""
ROUTE_TO, ROUTE_HALF = 60, 0.25
"""The route is painted for so many of its points, and this far to either side, metres."""
POLE_BESIDE, SIGNAL_HEIGHT = 0.8, 2.6


@kernel
def draw_ground(image: Image, layers: StaticLayers, lens: Lens, ego: Records) -> None:
    """Fill the image with sky, haze, grass, road and markings."""
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    rows, columns = layers.codes.shape
    for row in range(lens.rows):
        ahead, across = ground_row(lens, row)
        if ahead > FURTHEST:
            band = SKY + min(int(SKIES * (row + 0.5) / (0.5 * lens.rows)), SKIES - 1) if np.isinf(ahead) else HAZE
            image[row] = np.uint8(band)
            continue
        ahead += lens.ahead
        for column in range(lens.columns):
            right = (column + 0.5 - 0.5 * lens.columns) * across
            x, y = ego.x + ahead * cos + right * sin, ego.y + ahead * sin - right * cos
            c = math.floor((x - layers.x) * layers.pixels_per_metre)
            r = math.floor((y - layers.y) * layers.pixels_per_metre)
            code = layers.codes[r, c] if 0 <= r < rows and 0 <= c < columns else np.uint8(0)
            if code & np.uint8(6):
                value = PAINT
            elif code & np.uint8(ROAD):
                value = ASPHALT
            else:
                odd = (math.floor(x / PATCH) + math.floor(y / PATCH)) % 2
                value = GRASS if odd == 0 else GRASSES_APART
            image[row, column] = np.uint8(value)


@kernel
def relative(ego: Records, x: float, y: float) -> tuple[float, float]:
    """A place of the world in the ego's frame."""
    cos, sin = math.cos(ego.heading), math.sin(ego.heading)
    dx, dy = x - ego.x, y - ego.y
    return dx * cos + dy * sin, dy * cos - dx * sin


@kernel
def draw_strip(image: Image, lens: Lens, ends: NDArray[np.float64], half: float, value: int) -> None:
    """Paint a strip on the ground from ``ends[0]`` to ``ends[1]`` of the vehicle's frame."""
    dx, dy = ends[1, 0] - ends[0, 0], ends[1, 1] - ends[0, 1]
    length = max(math.hypot(dx, dy), 1e-9)
    wx, wy = -dy / length * half, dx / length * half
    corners = np.zeros((4, 3))
    for i in range(4):
        end, side = (0 if i in (0, 3) else 1), (1.0 if i < 2 else -1.0)
        corners[i, 0], corners[i, 1] = ends[end, 0] + side * wx, ends[end, 1] + side * wy
    draw_face(image, lens, corners, 4, value)


@kernel
def draw_route(image: Image, lens: Lens, world: Records, ego: Records, route: Records) -> None:
    """Paint the route ahead on the ground."""
    ends = np.empty((2, 2))
    last = min(world.route_index + ROUTE_TO, world.route_count - 1)
    for place in range(world.route_index, last):
        for end in range(2):
            ends[end, 0], ends[end, 1] = relative(ego, route[place + end].x, route[place + end].y)
        draw_strip(image, lens, ends, ROUTE_HALF, ROUTE)


@kernel
def draw_stop_lines(image: Image, lens: Lens, world_map: MapArrays, ego: Records) -> None:
    """Paint the stop lines on the ground."""
    ends = np.empty((2, 2))
    for place in range(len(world_map.stops)):
        stop = world_map.stops[place]
        if math.hypot(stop.x - ego.x, stop.y - ego.y) < STOPS_TO:
            for end in range(2):
                side = stop.half_width if end == 0 else -stop.half_width
                ends[end, 0], ends[end, 1] = relative(ego, stop.x - side * stop.sin, stop.y + side * stop.cos)
            draw_strip(image, lens, ends, 0.25, STOP_PAINT)


@kernel
def draw_signal(image: Image, lens: Lens, stop: Records, ego: Records, state: int) -> None:
    """Draw the traffic light or stop sign of a stop line, on a pole at its right, if it faces the ego."""
    if math.cos(ego.heading) * stop.cos + math.sin(ego.heading) * stop.sin < 0.3:
        return
    beside = stop.half_width + POLE_BESIDE
    x, y = relative(ego, stop.x + beside * stop.sin, stop.y - beside * stop.cos)
    heading = math.atan2(stop.sin, stop.cos) - ego.heading
    draw_box(image, lens, x, y, heading, 0.08, 0.08, 0.0, SIGNAL_HEIGHT, POLE)
    if stop.kind == STOP_SIGN:
        draw_box(image, lens, x, y, heading, 0.05, 0.45, SIGNAL_HEIGHT - 0.6, SIGNAL_HEIGHT + 0.3, SIGN)
        return
    draw_box(image, lens, x, y, heading, 0.2, 0.3, SIGNAL_HEIGHT, SIGNAL_HEIGHT + 1.5, LAMP_OFF)
    shown = LAMP_GREEN if state == GREEN else LAMP_YELLOW if state == YELLOW else LAMP_RED
    low = SIGNAL_HEIGHT + (0.05 if state == GREEN else 0.53 if state == YELLOW else 1.0)
    nearer = -0.25  # on the side that faces the ego
    x, y = x + nearer * math.cos(heading), y + nearer * math.sin(heading)
    draw_box(image, lens, x, y, heading, 0.05, 0.24, low, low + 0.45, shown)


@kernel
def draw_lamps(image: Image, lens: Lens, actor: Records, x: float, y: float, heading: float) -> None:
    """Draw the brake lamps and blinkers at the rear of a vehicle, if that faces the ego."""
    cos, sin = math.cos(heading), math.sin(heading)
    rear = actor.half_length + 0.02
    if (lens.ahead - x + rear * cos) * cos + (-y + rear * sin) * sin > 0.0:
        return
    for side in (1.0, -1.0):
        across = side * (actor.half_width - 0.25)
        px, py = x - rear * cos - across * sin, y - rear * sin + across * cos
        if actor.lamps & BRAKE_LAMP:
            draw_box(image, lens, px, py, heading, 0.02, 0.18, 0.62, 0.88, LAMP_RED)
        if actor.lamps & (LEFT_LAMP if side > 0.0 else RIGHT_LAMP):
            draw_box(image, lens, px, py, heading, 0.03, 0.18, 0.4, 0.6, AMBER)


@kernel
def draw_actor(image: Image, lens: Lens, actor: Records, ego: Records) -> None:
    """Draw one actor out of a few boxes."""
    x, y = relative(ego, actor.x, actor.y)
    heading = actor.heading - ego.heading
    cos, sin = math.cos(heading), math.sin(heading)
    length, width, high = actor.half_length, actor.half_width, actor.height
    if actor.kind == PEDESTRIAN:
        draw_box(image, lens, x, y, heading, 0.18, 0.26, 0.0, 0.85 * high, COAT)
        draw_box(image, lens, x, y, heading, 0.13, 0.13, 0.86 * high, high, SKIN)
    elif actor.kind == BICYCLE:
        draw_box(image, lens, x, y, heading, length, 0.06, 0.1, 0.9, POLE)
        draw_box(image, lens, x - 0.1 * cos, y - 0.1 * sin, heading, 0.25, 0.24, 0.7, 0.85 * high, CYCLIST)
        draw_box(image, lens, x + 0.1 * cos, y + 0.1 * sin, heading, 0.13, 0.13, 0.86 * high, high, SKIN)
    elif actor.kind == OBSTACLE:
        draw_box(image, lens, x, y, heading, length, width, 0.0, high, CRATE)
    elif actor.kind == TRUCK:
        draw_box(image, lens, x, y, heading, length, width, 0.35, high, TRUCK_BODY)
        draw_lamps(image, lens, actor, x, y, heading)
    else:
        body = BODIES + 3 * (actor.id % BODY_COLOURS)
        draw_box(image, lens, x, y, heading, length, width, 0.25, 0.62 * high, body)
        draw_lamps(image, lens, actor, x, y, heading)
        back = -0.12 * length
        draw_box(
            image, lens, x + back * cos, y + back * sin, heading, 0.55 * length, 0.86 * width, 0.62 * high, high, GLASS
        )
        draw_box(
            image, lens, x + back * cos, y + back * sin, heading, 0.5 * length, 0.8 * width, high, high + 0.05, body
        )


@kernel
def draw_standing(image: Image, lens: Lens, world_map: MapArrays, actors: Records, lights: NDArray[np.int8]) -> None:
    """Draw signals and all actors on the ego's level, from far to near."""
    ego, count = actors[0], len(actors)
    distances = np.full(count + len(world_map.stops), -1.0)
    for index in range(1, count):
        actor = actors[index]
        x, _ = relative(ego, actor.x, actor.y)
        distance = math.hypot(actor.x - ego.x, actor.y - ego.y)
        if actor.active != 0 and x > -4.0 and distance < ACTORS_TO and abs(actor.z - ego.z) < LEVEL:
            distances[index] = distance
    for place in range(len(world_map.stops)):
        stop = world_map.stops[place]
        x, _ = relative(ego, stop.x, stop.y)
        distance = math.hypot(stop.x - ego.x, stop.y - ego.y)
        if x > 0.0 and distance < STOPS_TO:
            distances[count + place] = distance
    order = np.argsort(-distances, kind="mergesort")
    for number in order:
        if distances[number] < 0.0:
            break
        if number < count:
            draw_actor(image, lens, actors[number], ego)
        else:
            draw_signal(image, lens, world_map.stops[number - count], ego, lights[number - count])


@kernel
def render(
    world_map: MapArrays,
    layers: StaticLayers,
    lens: Lens,
    first: int,
    last: int,
    worlds: Records,
    actors: Records,
    routes: Records,
    lights: NDArray[np.int8],
    with_route: bool,
    out: NDArray[np.uint8],
) -> None:
    """Draw the palette images of the worlds ``first`` to ``last - 1``."""
    for w in range(first, last):
        draw_ground(out[w], layers, lens, actors[w, 0])
        if with_route:
            draw_route(out[w], lens, worlds[w], actors[w, 0], routes[w])
        draw_stop_lines(out[w], lens, world_map, actors[w, 0])
        draw_standing(out[w], lens, world_map, actors[w], lights[w])
