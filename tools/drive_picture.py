"""Draw what a driving policy sees: CaRL's ten bird's-eye channels as one colour picture per world.

Example::

    .venv/bin/python tools/drive_picture.py docs/images/driving.png --maps grid_town roundabout ring_road winding_road
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
from envs.driving.views.birds_eye import BirdsEye
from envs.driving.world.route_driver import RouteDriver
from envs.driving.world.scenarios import scenario
from envs.driving.world.world import DrivingWorlds
from vlarl.cli import plain_description

COLOURS = (
    (70, 72, 78),
    (70, 105, 140),
    (225, 225, 215),
    (255, 190, 60),
    (235, 90, 200),
    (230, 60, 50),
    (200, 40, 40),
    (150, 150, 90),
    (140, 90, 60),
    (60, 90, 60),
)
"""Of the channels in their order: road, route, markings, vehicles, pedestrians, lights, stop signs, limits, obstacles,
shoulders."""
EGO = (90, 220, 120)


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    picture: Annotated[Path, tyro.conf.Positional]
    """The PNG to write."""
    maps: tuple[str, ...] = ("grid_town", "roundabout", "ring_road", "winding_road")
    """Shipped maps, one view each."""
    steps: int = 150
    """Control steps (0.1 s) before the picture is taken."""
    difficulty: float = 0.3
    actors: int = 41
    seed: int = 3


def look(name: str, options: Options) -> NDArray[np.uint8]:
    """``uint8 [H, W, 3]``: one map after a drive by rule."""
    graph = load_map(shipped_map(name))
    worlds = DrivingWorlds(graph, worlds=1, actors=options.actors)
    worlds.reset({0: scenario(options.seed, options.difficulty, options.actors)})
    driver = RouteDriver(worlds)
    for _ in range(options.steps):
        worlds.step(driver.act())
    channels = BirdsEye(graph).render(worlds)[0]
    picture = np.full((*channels.shape[1:], 3), 25, np.uint8)
    for channel, colour in zip(channels, COLOURS, strict=True):
        picture[channel > 0] = colour
    middle, from_bottom = channels.shape[2] // 2, 100  # where CaRL's view puts the ego, 2 px per metre
    bottom = channels.shape[1] - from_bottom
    picture[bottom - 5 : bottom + 5, middle - 2 : middle + 2] = EGO
    return picture


def main() -> None:
    """Command line."""
    options = tyro.cli(Options, description=plain_description(__doc__ or ""))
    views = [look(name, options) for name in options.maps]
    gap = np.full((views[0].shape[0], 6, 3), 255, np.uint8)
    row = [piece for view in views for piece in (view, gap)][:-1]
    Image.fromarray(np.concatenate(row, axis=1)).save(options.picture)
    print(f"written: {options.picture}")


if __name__ == "__main__":
    main()
