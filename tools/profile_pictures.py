"""Show what the ``fast`` render profile changes: reference, fast and their difference, one task per suite.

Example::

    .venv/bin/python tools/profile_pictures.py --out docs/images/profiles.png

Prints, per task and camera, the mean difference in grey levels (of 255) and the share of pixels that differ by more
than 40 in any channel: the figures that tests/envs/libero/test_render.py bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image

from envs.libero.render import close_renderers, get_renderer
from envs.libero.simulator import forget_tasks, get_task_simulator
from vlarl.cli import plain_description

SCENES = (("libero_spatial", 4), ("libero_object", 0), ("libero_goal", 3), ("libero_10", 2))
CAMERAS = ("agentview", "wrist")
AMPLIFIED = 3
"""Differences are shown this many times larger."""


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    out: Path = Path("docs/images/profiles.png")
    """PNG to write."""
    resolution: int = 128
    """Image side [pixels]."""


def row_of(suite: str, task: int, resolution: int) -> np.ndarray:
    """``uint8 [resolution, 6 resolution, 3]``: reference, fast, difference of both cameras side by side."""
    simulator = get_task_simulator(suite, task)
    slot = simulator.make_slot("compiled")
    slot.reset(0)
    images = {name: get_renderer(simulator, name, resolution, CAMERAS).render(slot) for name in ("reference", "fast")}
    panels = []
    for camera in CAMERAS:
        reference, fast = (images[name][camera].astype(int) for name in ("reference", "fast"))
        difference = np.abs(reference - fast)
        share = (difference.max(axis=-1) > 40).mean()
        print(f"| {suite} {task} | {camera} | {difference.mean():.2f} | {share:.1%} |")
        panels += [reference, fast, np.minimum(AMPLIFIED * difference, 255)]
    return np.concatenate(panels, axis=1).astype(np.uint8)


def main(options: Options) -> None:
    rows = []
    for suite, task in SCENES:
        rows.append(row_of(suite, task, options.resolution))
        close_renderers()
        forget_tasks()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(options.out, optimize=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=plain_description(__doc__ or "")))
