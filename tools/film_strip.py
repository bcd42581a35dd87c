"""A picture of a rollout: evenly spaced frames of a video side by side, as one PNG.

Example::

    .venv/bin/python tools/film_strip.py runs/quickstart/videos/success.mp4 docs/images/rollout.png --frames 6
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from vlarl.cli import plain_description
from vlarl.media import read_video


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    video: Annotated[Path, tyro.conf.Positional]
    """The mp4."""
    picture: Annotated[Path, tyro.conf.Positional]
    """The PNG to write."""
    frames: int = 6
    """How many frames, the first and the last among them."""
    gap: int = 4
    """White space between frames [pixels]."""


def film_strip(frames: np.ndarray, count: int, gap: int) -> np.ndarray:
    """``count`` evenly spaced frames of ``uint8 [T, H, W, 3]`` side by side, ``gap`` white pixels between them."""
    chosen = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    white = np.full((frames.shape[1], gap, 3), 255, dtype=np.uint8)
    parts = [part for frame in chosen for part in (white, frame)][1:]
    return np.concatenate(parts, axis=1)


if __name__ == "__main__":
    options = tyro.cli(Options, description=plain_description(__doc__ or ""))
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(film_strip(read_video(options.video), options.frames, options.gap)).save(options.picture)
    print(f"written: {options.picture}")
