"""From an upright camera image to the ``uint8`` square that the vision towers see.

Source: ``get_libero_image`` and ``center_crop_image`` of OpenVLA-OFT, done there with TensorFlow.
"""

from __future__ import annotations

import numpy as np

from vlarl.env_protocol import UInt8Image
from vlarl.policies.oft_config import ImageConfig


def prepare_image(image: UInt8Image, config: ImageConfig, size: int) -> UInt8Image:
    """Apply the chain to one image.

    Args:
        image: ``uint8 [H, W, 3]``, upright.
        config: which steps to take.
        size: side of the result.

    Returns:
        ``uint8 [size, size, 3]``, contiguous.

    Raises:
        ValueError: the image is not ``uint8 [H, W, 3]``, or has another size and the chain has no resize.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 [H, W, 3]")
    if config.mirror:
        image = image[:, ::-1]
    if image.shape[:2] != (size, size):
        raise ValueError(
            f"the camera delivers {image.shape[0]} x {image.shape[1]} pixels; this policy was trained on "
            f"{size} x {size} and its image chain has no resize. Render at {size} x {size}."
        )
    return np.ascontiguousarray(image)
