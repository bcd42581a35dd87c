"""Draw what the ego's front camera sees, as one PNG: a row per map, a picture per moment.

Example::

    .venv/bin/python tools/camera_picture.py docs/images/driving_camera.png --maps grid_town ring_road
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray
from PIL import Image

from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.views.camera import CameraView, FrontCamera
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.scenarios import scenario
from envs.driving.world.world import DrivingWorlds
from vlarl.cli import plain_description


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The PNG to write."""
    maps: tuple[str, ...] = ("grid_town",)
    """Shipped maps, one row each."""
    moments: tuple[int, ...] = (120, 210, 330)
    """Control steps (0.1 s) at which a picture is taken."""
    width: int = 320
    """Of a picture, pixels."""
    height: int = 200
    difficulty: float = 1.0
    actors: int = 61
    seed: int = 4


def look(name: str, options: Options) -> NDArray[np.uint8]:
    """``uint8 [H, W, 3]``: moments of a drive by rule, side by side."""
    graph = load_map(shipped_map(name))
    worlds = DrivingWorlds(graph, worlds=1, actors=options.actors)
    worlds.reset({0: scenario(options.seed, options.difficulty, options.actors)})
    driver = RouteDriver(worlds)
    camera = FrontCamera(graph, CameraView(width=options.width, height=options.height, finer=3))
    pictures = []
    for step in range(max(options.moments) + 1):
        if step in options.moments:
            pictures.append(camera.render(worlds)[0])
        worlds.step(driver.act())
    return np.concatenate(pictures, axis=1)


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=plain_description(__doc__ or ""))
    Image.fromarray(np.concatenate([look(name, options) for name in options.maps])).save(options.picture)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main()
