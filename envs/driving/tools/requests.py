"""What may be asked, and what is answered. The four kinds are those of DriveAgent-R1 (arXiv 2507.20879).

A language model's call, a name and parameters, becomes a typed request by :func:`parse_request`, or a
:class:`ToolError` whose text can be shown to the model.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlarl.errors import UserError, unknown_name

KINDS = ("car", "truck", "bicycle", "pedestrian", "obstacle", "traffic_light")


class ToolError(UserError):
    """A request that cannot be answered: what was asked, what is possible."""


@dataclass(frozen=True, kw_only=True)
class PastView:
    """What a camera saw."""

    camera: str = "front"
    seconds_ago: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of a view, drawn anew as large as the whole: what is small in the view is seen in detail."""

    left: int
    """Pixels of the view, as the other three."""
    top: int
    right: int
    """Beyond the last column."""
    bottom: int
    """Beyond the last row."""
    camera: str = "front"
    seconds_ago: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How far everything in a view is."""

    camera: str = "front"
    seconds_ago: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Who and what is around the ego, in whatever direction."""

    kinds: tuple[str, ...] = KINDS
    metres: float = 60.0
    """At most so far away."""
    seconds_ago: float = 0.0


Request = PastView | Region | Depth | Boxes
TOOLS: dict[str, type[Request]] = {
    "get_view_with_frame": PastView,
    "roi_inspection": Region,
    "depth_estimation": Depth,
    "detect_3d_objects": Boxes,
}
"""Name, as an agent calls it -> request."""


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """A picture."""

    image: NDArray[np.uint8]
    """``uint8 [H, W, 3]``."""


@dataclass(frozen=True, kw_only=True)
class DepthAnswer:
    """Distances."""

    metres: NDArray[np.float32]
    """``float32 [H, W]`` along the camera's axis; 1000 for the sky."""


@dataclass(frozen=True, kw_only=True)
class Box3D:
    """Something with its box, in the ego's frame: x ahead, y to the left, from the ego's centre on the ground."""

    kind: str
    x: float
    """Of its middle, metres."""
    y: float
    z: float
    """Of its bottom, metres above the ego's ground."""
    length: float
    width: float
    height: float
    heading: float
    """Radians, counter-clockwise from the ego's heading."""
    speed: float
    """m/s."""
    state: str = ""
    """Of a traffic light: red, yellow or green."""


@dataclass(frozen=True, kw_only=True)
class BoxesAnswer:
    """Boxes, the nearest first."""

    boxes: tuple[Box3D, ...]


Answer = ImageAnswer | DepthAnswer | BoxesAnswer


def parse_request(name: str, parameters: Mapping[str, Any]) -> Request:
    """The request that a call means.

    Args:
        name: of the tool, a key of :data:`TOOLS`.
        parameters: its arguments, as JSON gives them.

    Raises:
        ToolError: no such tool or parameter, one that lacks, or one of another type.
    """
    if name not in TOOLS:
        raise ToolError(unknown_name("tool", name, TOOLS))
    fields = {field.name: field for field in dataclasses.fields(TOOLS[name])}
    for key in parameters:
        if key not in fields:
            raise ToolError(unknown_name(f"parameter of {name}", key, fields))
    lacking = [key for key, field in fields.items() if key not in parameters and field.default is dataclasses.MISSING]
    if lacking:
        raise ToolError(f"{name} lacks {', '.join(lacking)}; it takes {', '.join(fields)}")
    values = {key: _typed(name, key, str(fields[key].type), value) for key, value in parameters.items()}
    return TOOLS[name](**values)


def describe_tools() -> list[dict[str, Any]]:
    """All tools with their parameters and defaults, to be told to a model."""
    return [
        {
            "tool_name": name,
            "description": (request.__doc__ or "").partition("\n")[0],
            "params": {
                field.name: {"type": field.type}
                | ({} if field.default is dataclasses.MISSING else {"default": field.default})
                for field in dataclasses.fields(request)
            },
        }
        for name, request in TOOLS.items()
    ]


def _typed(tool: str, key: str, wanted: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if wanted == "float" and number:
        return float(value)
    if wanted == "int" and number and float(value).is_integer():
        return int(value)
    if wanted == "str" and isinstance(value, str):
        return value
    if wanted.startswith("tuple") and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ToolError(f"{tool}: {key} is {value!r}; {wanted.replace('tuple[str, ...]', 'a list of texts')} is needed")
