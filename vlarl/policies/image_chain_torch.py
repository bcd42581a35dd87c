"""The image chain for a whole batch on the policy's device; ``image_chain`` is what it is tested against.

JPEG is done image by image on the CPU (its bits are what the checkpoint was trained on); resize and crop follow the
same order of operations in single precision, so on the CPU the result has the same bits, and on a GPU it may differ by
a level where a value falls on the edge between two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vlarl.env_protocol import UInt8Image
from vlarl.policies.image_chain import before_resize, crop_taps, lanczos_taps, prepare_image
from vlarl.policies.oft_config import ImageConfig


def prepare_images(images: Sequence[UInt8Image], config: ImageConfig, size: int, device: torch.device) -> Tensor:
    """Apply the chain to images of one size.

    Args:
        images: ``uint8 [H, W, 3]`` each, upright.
        config: which steps to take.
        size: side of the result.
        device: where resize and crop are computed.

    Returns:
        ``uint8 [N, size, size, 3]`` on ``device``.

    Raises:
        ValueError: as ``prepare_image``.
    """
    if not config.lanczos_resize:
        return torch.from_numpy(np.stack([prepare_image(image, config, size) for image in images])).to(device)
    batch = torch.from_numpy(np.stack([before_resize(image, config) for image in images])).to(device)
    batch = lanczos_resize(batch, size)
    return center_crop(batch, config.crop_area) if config.crop_area < 1.0 else batch


def lanczos_resize(images: Tensor, size: int) -> Tensor:
    """``uint8 [N, H, W, 3]`` to ``uint8 [N, size, size, 3]``; see ``image_chain.lanczos_resize``."""
    rows = _resample(images.float(), size)
    both = _resample(rows.transpose(1, 2), size).transpose(1, 2)
    return both.round().clamp(0, 255).to(torch.uint8)


def center_crop(images: Tensor, area: float) -> Tensor:
    """``uint8 [N, H, W, 3]``, the central ``area`` scaled back; see ``image_chain.center_crop``."""
    pixels = images.float() / 255.0
    (top, bottom, y), (left, right, x) = (
        tuple(torch.from_numpy(part).to(images.device) for part in crop_taps(length, area))
        for length in images.shape[1:3]
    )
    x = x[None, None, :, None]
    above, below = pixels[:, top], pixels[:, bottom]
    upper = above[:, :, left] + (above[:, :, right] - above[:, :, left]) * x
    lower = below[:, :, left] + (below[:, :, right] - below[:, :, left]) * x
    result = (upper + (lower - upper) * y[None, :, None, None]).clamp(0, 1)
    return (result * 255.5).to(torch.uint8)


def _resample(images: Tensor, size: int) -> Tensor:
    """Resample the second dimension, accumulating tap by tap in single precision."""
    length = images.shape[1]
    first, weights = (torch.from_numpy(part).to(images.device) for part in lanczos_taps(length, size))
    result = torch.zeros(images.shape[0], size, *images.shape[2:], device=images.device)
    for tap in range(weights.shape[1]):
        source = (first + tap).clamp(max=length - 1)
        result += weights[:, tap, None, None] * images[:, source]
    return result
