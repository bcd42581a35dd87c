"""Pictures of a drive for people: from above, the ego's heading up, with its whole route and every infraction marked.

Above the view stand time, speed, route and score; below them the infractions so far. An infraction is also marked at
the place where it happened, as long as that is in view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from envs.driving.maps.map_arrays import Records
from envs.driving.scores.scores import PENALTIES, driving_score, route_completion
from envs.driving.views.bird_frame import Frame, draw_static, frame_of, to_pixels
from envs.driving.views.birds_eye_picture import (
    BROKEN,
    EGO,
    GRASS,
    GREEN,
    OBSTACLE,
    PEDESTRIAN,
    RED,
    ROAD,
    ROUTE,
    SOLID,
    STOP_SIGN,
    VEHICLE,
    YELLOW,
)
from envs.driving.views.static_layers import StaticLayers, rasterise
from envs.driving.world.halting import STOP_SIGN as STOP_SIGN_KIND
from envs.driving.world.records import EVENTS, Kind, Light
from envs.driving.world.traffic import BRAKE_LAMP
from envs.driving.world.world import DrivingWorlds

Colour = tuple[int, int, int]
FINER = 2
"""Drawn so many times larger, then averaged: smooth edges."""
PANEL = 42
"""Height of the text above, pixels."""
MARKED = (*PENALTIES, "off_road", "route_deviation", "blocked")
"""Events that are marked."""
INK, PAPER, ALARM, PANE = (245, 245, 245), (28, 30, 34), (255, 70, 60), (150, 190, 255)
LIGHTS: dict[int, Colour] = {int(Light.RED): RED, int(Light.YELLOW): YELLOW, int(Light.GREEN): GREEN}
STEEL = {int(Kind.PEDESTRIAN): PEDESTRIAN, int(Kind.OBSTACLE): OBSTACLE, int(Kind.BICYCLE): (60, 150, 235)}


@dataclass(frozen=True)
class Mark:
    """An infraction."""

    kind: str
    time: float
    """Seconds."""
    x: float
    y: float

    @property
    def text(self) -> str:
        """What and when."""
        return f"{self.kind.replace('_', ' ')} {self.time:.1f} s"


class Film:
    """Draws one world of a batch; remembers its infractions.

    Example::

        film = Film(worlds)
        worlds.step(actions)
        film.look()                # once after every step
        picture = film.draw()      # uint8 [442, 400, 3]

    Args:
        worlds: the batch.
        world: which of them.
        size: side of the view, pixels; the panel comes on top.
        view_metres: what the view shows of the world, per side.
    """

    def __init__(self, worlds: DrivingWorlds, world: int = 0, size: int = 400, view_metres: float = 80.0) -> None:
        self.worlds, self.world, self.size = worlds, world, size
        self.scale = FINER * size / view_metres
        self.layers: StaticLayers = rasterise(worlds.graph, self.scale / 2.0)
        self.marks: list[Mark] = []
        self.font = ImageFont.load_default(13)

    def reset(self) -> None:
        """Forget the infractions."""
        self.marks = []

    def look(self) -> None:
        """Note what has happened in the last control step."""
        world, actors = self.worlds.worlds[self.world], self.worlds.actors[self.world]
        for kind in MARKED:
            if int(world["events"]) >> EVENTS.index(kind) & 1:
                x, y = float(actors["x"][0]), float(actors["y"][0])
                if kind.startswith("collision") and world["contact"] >= 0:  # between the two
                    x = 0.5 * (x + float(actors["x"][world["contact"]]))
                    y = 0.5 * (y + float(actors["y"][world["contact"]]))
                self.marks.append(Mark(kind, float(world["time"]), x, y))

    def draw(self, verdict: str = "") -> NDArray[np.uint8]:
        """The world as it stands, ``uint8 [size + PANEL, size, 3]``, with a verdict in large letters if given."""
        side, ego = FINER * self.size, self.worlds.actors[self.world][0]
        frame = frame_of(ego, side, 0.3 * side, self.scale)
        image = Image.fromarray(self._ground(frame))
        pen = ImageDraw.Draw(image)
        self._draw_route(pen, frame)
        self._draw_stops(pen, frame)
        for actor in self.worlds.actors[self.world][::-1]:
            if actor["active"]:
                self._draw_actor(pen, frame, actor)
        image = image.reduce(FINER)
        pen = ImageDraw.Draw(image)
        for mark in self.marks:
            self._draw_mark(pen, frame, mark)
        if verdict:
            large = ImageFont.load_default(30)
            pen.text((self.size / 2, 0.22 * self.size), verdict, INK, large, "mm", stroke_width=3, stroke_fill=PAPER)
        page = Image.new("RGB", (self.size, self.size + PANEL), PAPER)
        page.paste(image, (0, PANEL))
        self._write(ImageDraw.Draw(page))
        return np.asarray(page)

    def _ground(self, frame: Frame) -> NDArray[np.uint8]:
        road, marks = (np.empty((frame.size, frame.size), np.uint8) for _ in range(2))
        draw_static(self.layers, frame, road, marks, 255, 127)
        palette = np.array([GRASS, ROAD, BROKEN, SOLID], np.uint8)
        return palette[np.where(marks == 255, 3, np.where(marks > 0, 2, np.where(road > 0, 1, 0)))]

    def _draw_route(self, pen: ImageDraw.ImageDraw, frame: Frame) -> None:
        world = self.worlds.worlds[self.world]
        count, reached = int(world["route_count"]), int(world["route_index"])
        route = self.worlds.routes[self.world, :count]
        places = [to_pixels(frame, float(point["x"]), float(point["y"])) for point in route]
        if count < 2:
            return
        covered = tuple((a + b) // 2 for a, b in zip(ROUTE, ROAD, strict=True))
        pen.line(places[: reached + 1], covered, round(0.5 * self.scale), "curve")
        pen.line(places[reached:], ROUTE, round(1.2 * self.scale), "curve")
        column, row = places[-1]
        radius = 1.6 * self.scale
        pen.ellipse((column - radius, row - radius, column + radius, row + radius), ROUTE, INK, round(0.4 * self.scale))

    def _draw_stops(self, pen: ImageDraw.ImageDraw, frame: Frame) -> None:
        lights, served = self.worlds.lights[self.world], self.worlds.actors[self.world]["served_stop"][0]
        for place, stop in enumerate(self.worlds.map.stops):
            wx, wy = -stop["sin"] * stop["half_width"], stop["cos"] * stop["half_width"]
            ends = [to_pixels(frame, stop["x"] + side * wx, stop["y"] + side * wy) for side in (1.0, -1.0)]
            colour = STOP_SIGN if stop["kind"] == STOP_SIGN_KIND else LIGHTS[int(lights[place])]
            if stop["kind"] != STOP_SIGN_KIND or place != served:
                pen.line(ends, colour, round(0.9 * self.scale))

    def _draw_actor(self, pen: ImageDraw.ImageDraw, frame: Frame, actor: Records) -> None:
        is_ego = actor["id"] == 1
        kind = int(actor["kind"])
        if kind == Kind.PEDESTRIAN:
            column, row = to_pixels(frame, float(actor["x"]), float(actor["y"]))
            radius = 0.7 * self.scale
            pen.ellipse((column - radius, row - radius, column + radius, row + radius), PEDESTRIAN, PAPER)
            return
        colour = EGO if is_ego else STEEL.get(kind, VEHICLE)
        pen.polygon(list(_corners(frame, actor, (-1.0, 1.0), (-1.0, 1.0))), colour, PAPER)
        if kind != Kind.OBSTACLE:
            pen.polygon(list(_corners(frame, actor, (0.15, 0.5), (-0.75, 0.75))), PANE)
        if int(actor["lamps"]) & BRAKE_LAMP or (is_ego and actor["brake"] > 0.05):
            pen.polygon(list(_corners(frame, actor, (-1.0, -0.85), (-0.9, 0.9))), RED)

    def _draw_mark(self, pen: ImageDraw.ImageDraw, frame: Frame, mark: Mark) -> None:
        column, row = (value / FINER for value in to_pixels(frame, mark.x, mark.y))
        if not (0 <= column < self.size and 0 <= row < self.size):
            return
        pen.ellipse((column - 11, row - 11, column + 11, row + 11), None, ALARM, 3)
        for side in (-1, 1):
            pen.line((column - 5, row - 5 * side, column + 5, row + 5 * side), ALARM, 3)
        at_left = column < 0.6 * self.size
        place = (column + 15 if at_left else column - 15, row)
        pen.text(place, mark.text, INK, self.font, "lm" if at_left else "rm", stroke_width=2, stroke_fill=PAPER)

    def _write(self, pen: ImageDraw.ImageDraw) -> None:
        records, which = self.worlds.worlds, slice(self.world, self.world + 1)
        world, ego = records[self.world], self.worlds.actors[self.world][0]
        speed, limit = 3.6 * float(ego["speed"]), 3.6 * float(world["speed_limit"])
        score, completion = float(driving_score(records[which])[0]), float(route_completion(records[which])[0])
        columns = (f"{world['time']:.1f} s", f"{speed:.0f} of {limit:.0f} km/h", f"route {completion:.0f} %",
                   f"score {score:.1f}")  # fmt: skip
        for text, share in zip(columns, (0.02, 0.21, 0.54, 0.77), strict=True):
            pen.text((share * self.size, 11), text, INK, self.font, "lm")
        told = ", ".join(mark.text for mark in self.marks[-2:]) or "no infraction"
        pen.text((0.02 * self.size, 30), told, ALARM if self.marks else PANE, self.font, "lm")


def _corners(
    frame: Frame, actor: Records, along: tuple[float, float], across: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    """Corners in pixels of a part of an actor's box; 1 is its front and its left side."""
    cos, sin = math.cos(actor["heading"]), math.sin(actor["heading"])
    for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)):
        a, b = along[i] * actor["half_length"], across[j] * actor["half_width"]
        yield to_pixels(frame, float(actor["x"] + a * cos - b * sin), float(actor["y"] + a * sin + b * cos))
