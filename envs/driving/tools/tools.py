"""Answers to an agent's questions about one driving world.

Example::

    slot = DriveConfig(resolution=0).make()
    slot.reset(spec)
    tools = DrivingTools(slot.worlds)
    tools.look()                                            # once per control step that is to be remembered
    tools.answer(PastView(camera="back", seconds_ago=0.0))  # uint8 [H, W, 3]
    tools.call("detect_3d_objects", {"kinds": ["pedestrian"], "metres": 40})

What a moment looked like is drawn when somebody asks: a moment that is remembered costs a copy of who was where.
Pictures are flat-shaded boxes on the painted ground (:mod:`envs.driving.pinhole`); the answers are true, not estimated.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.driving.maps.map_arrays import Records
from envs.driving.pinhole import BOX, axes, render
from envs.driving.tools.requests import (
    KINDS,
    Answer,
    Box3D,
    Boxes,
    BoxesAnswer,
    Depth,
    DepthAnswer,
    ImageAnswer,
    PastView,
    Region,
    Request,
    ToolError,
    parse_request,
)
from envs.driving.views.static_layers import rasterise
from envs.driving.world.records import Kind, Light
from envs.driving.world.world import DrivingWorlds
from vlarl.errors import unknown_name

PIXELS_PER_METRE = 4.0
"""Of the ground."""
COLOURS = {
    Kind.CAR: (60, 90, 170),
    Kind.TRUCK: (150, 110, 60),
    Kind.BICYCLE: (120, 60, 140),
    Kind.PEDESTRIAN: (250, 210, 40),
    Kind.OBSTACLE: (200, 90, 30),
}
LAMPS = {Light.RED: (230, 30, 30), Light.YELLOW: (250, 190, 30), Light.GREEN: (40, 200, 70)}
LAMP_LEVEL, LAMP_LENGTH, LAMP_WIDTH, LAMP_HEIGHT = 4.0, 0.4, 0.4, 1.0
"""Traffic lights hang so high over their stop lines, metres; their sizes."""
SMALLEST = 4
"""A region has at least so many pixels per side."""


@dataclass(frozen=True, kw_only=True)
class CameraPlace:
    """A camera on the ego."""

    yaw: float
    """Degrees to the right of straight ahead."""
    field_of_view: float
    """Horizontal, degrees."""
    height: float = 1.6
    """Above the ground, metres."""
    pitch: float = 0.0
    """Degrees; positive looks up."""


CAMERAS = {
    "front": CameraPlace(yaw=0.0, field_of_view=70.0),
    "front_left": CameraPlace(yaw=-55.0, field_of_view=70.0),
    "front_right": CameraPlace(yaw=55.0, field_of_view=70.0),
    "back": CameraPlace(yaw=180.0, field_of_view=110.0),
    "back_left": CameraPlace(yaw=-110.0, field_of_view=70.0),
    "back_right": CameraPlace(yaw=110.0, field_of_view=70.0),
}
"""Six views around the ego, as in nuScenes (its angles, rounded)."""


@dataclass(frozen=True)
class Moment:
    """What is remembered of a control step."""

    step: int
    actors: Records
    """``[A]``."""
    lights: NDArray[np.int8]
    """``[K]``."""


class DrivingTools:
    """See the module.

    Args:
        worlds: a batch.
        world: which of them is asked about.
        width: pixels of views.
        height: pixels of views.
        keep_seconds: how far back one can look.
        cameras: by name.
    """

    def __init__(
        self,
        worlds: DrivingWorlds,
        world: int = 0,
        *,
        width: int = 320,
        height: int = 180,
        keep_seconds: float = 5.0,
        cameras: Mapping[str, CameraPlace] = CAMERAS,
    ) -> None:
        self.worlds, self.world, self.width, self.height, self.cameras = worlds, world, width, height, cameras
        self.seconds = worlds.settings.control_seconds
        self.moments: collections.deque[Moment] = collections.deque(maxlen=round(keep_seconds / self.seconds) + 1)
        self.layers = rasterise(worlds.graph, PIXELS_PER_METRE)

    def look(self) -> None:
        """Remember how things stand; what was before a reset is forgotten."""
        step = int(self.worlds.worlds["step"][self.world])
        if self.moments and step <= self.moments[-1].step:
            self.moments.clear()
        actors, lights = self.worlds.actors[self.world], self.worlds.lights[self.world]
        self.moments.append(Moment(step, actors.copy(), lights.copy()))

    def call(self, name: str, parameters: Mapping[str, Any]) -> Answer:
        """Answer a model's call.

        Raises:
            ToolError: see :func:`envs.driving.tools.requests.parse_request` and :meth:`answer`.
        """
        return self.answer(parse_request(name, parameters))

    def answer(self, request: Request) -> Answer:
        """Answer a request.

        Raises:
            ToolError: a camera, kind, time or region that there is not.
        """
        moment = self._moment(request.seconds_ago)
        if isinstance(request, Boxes):
            return BoxesAnswer(boxes=self._boxes_around(moment, request))
        if request.camera not in self.cameras:
            raise ToolError(unknown_name("camera", request.camera, self.cameras))
        window = (0, 0, self.width, self.height)
        if isinstance(request, Region):
            window = self._window(request)
        image, depth = self._draw(moment, self.cameras[request.camera], window)
        if isinstance(request, Depth):
            return DepthAnswer(metres=depth)
        assert isinstance(request, PastView | Region)
        return ImageAnswer(image=image)

    def _moment(self, seconds_ago: float) -> Moment:
        if not self.moments:
            raise ToolError("nothing is remembered yet; call look() after reset and after every step")
        newest, oldest = self.moments[-1].step, self.moments[0].step
        if not 0.0 <= seconds_ago <= (newest - oldest) * self.seconds + 1e-6:
            raise ToolError(
                f"seconds_ago is {seconds_ago:g}; 0 to {(newest - oldest) * self.seconds:g} s are remembered"
            )
        wanted = newest - seconds_ago / self.seconds
        return min(self.moments, key=lambda moment: abs(moment.step - wanted))

    def _window(self, region: Region) -> tuple[int, int, int, int]:
        outside = min(region.left, region.top) < 0 or region.right > self.width or region.bottom > self.height
        if outside or min(region.right - region.left, region.bottom - region.top) < SMALLEST:
            raise ToolError(
                f"the region is columns {region.left} to {region.right} and rows {region.top} to {region.bottom}; it "
                f"has to lie within {self.width} x {self.height} pixels and be at least {SMALLEST} pixels wide and high"
            )
        return region.left, region.top, region.right, region.bottom

    def _draw(
        self, moment: Moment, camera: CameraPlace, window: tuple[int, int, int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw a window of a camera's view as large as fits into the size of views."""
        left, top, right, bottom = window
        finer = min(self.width / (right - left), self.height / (bottom - top))
        shape = (max(round((bottom - top) * finer), 1), max(round((right - left) * finer), 1))
        image, depth = np.empty((*shape, 4), np.uint8), np.empty(shape, np.float32)
        labels, actors = np.empty(shape, np.uint8), np.empty(shape, np.int32)
        ego = moment.actors[0]
        place = np.array([ego["x"], -ego["y"], ego["z"] + camera.height])
        view = axes(camera.pitch, -math.degrees(ego["heading"]) + camera.yaw, 0.0)
        focal = finer * self.width / (2.0 * math.tan(math.radians(camera.field_of_view) / 2.0))
        axis = (finer * (0.5 * self.width - left), finer * (0.5 * self.height - top))
        level = float(ego["z"])
        render(self.layers, self._scene(moment), place, view, focal, axis, level, image, depth, labels, actors)
        return np.ascontiguousarray(image[:, :, 2::-1]), depth

    def _scene(self, moment: Moment) -> Records:
        """Everybody but the ego, and the lights, as boxes in CARLA's frame."""
        there = [actor for actor in moment.actors[1:] if actor["active"]]
        boxes = np.zeros(len(there) + len(self.worlds.map.signal_stops), BOX)
        for box, actor in zip(boxes, there, strict=False):
            box["x"], box["y"], box["z"] = actor["x"], -actor["y"], actor["z"]
            box["cos"], box["sin"] = math.cos(actor["heading"]), -math.sin(actor["heading"])
            for name in ("half_length", "half_width", "height"):
                box[name] = actor[name]
            box["red"], box["green"], box["blue"] = COLOURS[Kind(int(actor["kind"]))]
        for box, line in zip(boxes[len(there) :], self.worlds.map.signal_stops, strict=True):
            stop = self.worlds.map.stops[line]
            box["x"], box["y"], box["z"] = stop["x"], -stop["y"], float(moment.actors["z"][0]) + LAMP_LEVEL
            box["cos"], box["sin"], box["height"] = stop["cos"], -stop["sin"], LAMP_HEIGHT
            box["half_length"], box["half_width"] = 0.5 * LAMP_LENGTH, 0.5 * LAMP_WIDTH
            box["red"], box["green"], box["blue"] = LAMPS[Light(int(moment.lights[line]))]
        return boxes

    def _boxes_around(self, moment: Moment, request: Boxes) -> tuple[Box3D, ...]:
        for kind in request.kinds:
            if kind not in KINDS:
                raise ToolError(unknown_name("kind", kind, KINDS))
        if not request.metres > 0.0:
            raise ToolError(f"metres is {request.metres:g}; more than 0 is needed")
        ego = moment.actors[0]
        found = [
            _seen_from(
                ego, Kind(int(actor["kind"])).name.lower(), actor["x"], actor["y"], float(actor["z"]), actor["heading"],
                2.0 * actor["half_length"], 2.0 * actor["half_width"], actor["height"], abs(actor["speed"]),
            )
            for actor in moment.actors[1:]
            if actor["active"]
        ]  # fmt: skip
        for line in self.worlds.map.signal_stops:
            stop, level = self.worlds.map.stops[line], float(ego["z"]) + LAMP_LEVEL
            heading, state = math.atan2(stop["sin"], stop["cos"]), Light(int(moment.lights[line])).name.lower()
            size = (LAMP_LENGTH, LAMP_WIDTH, LAMP_HEIGHT)
            found.append(_seen_from(ego, "traffic_light", stop["x"], stop["y"], level, heading, *size, 0.0, state))
        found = [box for box in found if box.kind in request.kinds and math.hypot(box.x, box.y) <= request.metres]
        return tuple(sorted(found, key=lambda box: math.hypot(box.x, box.y)))


def _seen_from(
    ego: Records, kind: str, x: float, y: float, z: float, heading: float, length: float, width: float, height: float,
    speed: float, state: str = "",
) -> Box3D:  # fmt: skip
    cos, sin = math.cos(ego["heading"]), math.sin(ego["heading"])
    dx, dy = x - ego["x"], y - ego["y"]
    return Box3D(
        kind=kind,
        x=float(dx * cos + dy * sin),
        y=float(dy * cos - dx * sin),
        z=z - float(ego["z"]),
        length=float(length),
        width=float(width),
        height=float(height),
        heading=math.remainder(heading - float(ego["heading"]), 2.0 * math.pi),
        speed=float(speed),
        state=state,
    )
