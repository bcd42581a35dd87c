"""From an upright camera image to the ``uint8`` square that the vision towers see.

Source: ``get_libero_image``, ``resize_image_for_policy`` and ``center_crop_image`` of OpenVLA-OFT, which use
TensorFlow. The same steps are done here without it: Pillow encodes the same JPEG bytes, simplejpeg decodes with the
fast inverse transform that TensorFlow uses, and the two resamplings follow TensorFlow's order of operations in
single precision, because their results are rounded to 8 bits.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vlarl.env_protocol import Float32Array, UInt8Image
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
    image = before_resize(image, config)
    if config.lanczos_resize:
        image = lanczos_resize(image, size)
    elif config.bicubic_resize:
        image = bicubic_resize(image, size)
    if image.shape[:2] != (size, size):
        raise ValueError(
            f"the camera delivers {image.shape[0]} x {image.shape[1]} pixels; this policy was trained on "
            f"{size} x {size} and its image chain has no resize. Render at {size} x {size}."
        )
    if config.crop_area < 1.0:
        image = center_crop(image, config.crop_area)
    return np.ascontiguousarray(image)


def before_resize(image: UInt8Image, config: ImageConfig) -> UInt8Image:
    """The steps that keep an image's size: checks, mirror, JPEG.

    Raises:
        ValueError: the image is not ``uint8 [H, W, 3]``, or not of the size the policy was trained on.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.dtype} {image.shape}; expected uint8 [H, W, 3]")
    if config.camera_size and image.shape[:2] != (config.camera_size, config.camera_size):
        raise ValueError(
            f"the camera delivers {image.shape[0]} x {image.shape[1]} pixels; this policy was trained on images of "
            f"{config.camera_size} x {config.camera_size}: add --env.resolution {config.camera_size}"
        )
    if config.mirror:
        image = image[:, ::-1]
    if config.jpeg_quality:
        image = jpeg_round_trip(image, config.jpeg_quality)
    return image


def jpeg_round_trip(image: UInt8Image, quality: int) -> UInt8Image:
    """Encode as JPEG (4:2:0) and decode, as TensorFlow's defaults do.

    Raises:
        MissingExtraError: simplejpeg is not installed.
    """
    from PIL import Image

    try:
        import simplejpeg
    except ModuleNotFoundError as error:
        from vlarl.extras import missing_extra

        raise missing_extra("simplejpeg", needed_by="the image chain of published OpenVLA checkpoints") from error
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, "JPEG", quality=quality, subsampling=2)
    return simplejpeg.decode_jpeg(buffer.getvalue(), fastdct=True, fastupsample=False)


def lanczos_resize(image: UInt8Image, size: int) -> UInt8Image:
    """``tf.image.resize(..., "lanczos3", antialias=True)``, clipped and rounded half to even."""
    rows = _resample(image.astype(np.float32), size)
    both = _resample(rows.transpose(1, 0, 2), size).transpose(1, 0, 2)
    return np.clip(np.rint(both), 0, 255).astype(np.uint8)


def bicubic_resize(image: UInt8Image, size: int) -> UInt8Image:
    """Pillow's bicubic resize to a square, aspect ratio ignored: "resize-naive" of OpenVLA's processor."""
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.Resampling.BICUBIC))


def center_crop(image: UInt8Image, area: float) -> UInt8Image:
    """Crop the central ``area`` and scale it back, as ``tf.image.crop_and_resize`` and ``convert_image_dtype`` do.

    Args:
        image: ``uint8 [H, W, 3]``.
        area: share of the area kept; the side shrinks by its square root.
    """
    single = np.float32
    pixels = image.astype(single) / single(255)

    top, bottom, y = crop_taps(image.shape[0], area)
    left, right, x = crop_taps(image.shape[1], area)
    x = x[None, :, None]
    above = pixels[top][:, left] + (pixels[top][:, right] - pixels[top][:, left]) * x
    below = pixels[bottom][:, left] + (pixels[bottom][:, right] - pixels[bottom][:, left]) * x
    result = np.clip(above + (below - above) * y[:, None, None], 0, 1)
    return (result * single(255.5)).astype(np.uint8)


def crop_taps(length: int, area: float) -> tuple[NDArray[np.intp], NDArray[np.intp], Float32Array]:
    """The two source indices of each output along one side, and the share of the second, in single precision."""
    single = np.float32
    side = single(np.sqrt(single(area)))
    first = (single(1) - side) / single(2)
    last = first + side
    step = (last - first) * single(length - 1) / single(length - 1)
    position = first * single(length - 1) + np.arange(length, dtype=single) * step
    low = np.floor(position).astype(np.intp)
    high = np.minimum(np.ceil(position).astype(np.intp), length - 1)
    return low, high, (position - low.astype(single)).astype(single)


def _resample(image: Float32Array, size: int) -> Float32Array:
    """Resample the first axis, accumulating tap by tap in single precision."""
    starts, weights = lanczos_taps(image.shape[0], size)
    result = np.zeros((size, *image.shape[1:]), dtype=np.float32)
    for tap in range(weights.shape[1]):
        source = np.minimum(starts + tap, image.shape[0] - 1)
        result += weights[:, tap, None, None] * image[source]
    return result


@lru_cache(maxsize=16)
def lanczos_taps(length: int, size: int) -> tuple[NDArray[np.intp], Float32Array]:
    """First source index of each output and its normalised weights ``float32 [size, taps]`` (zero-padded)."""
    single, radius = np.float32, np.float32(3)
    inverse_scale = single(1) / (single(size) / single(length))
    kernel_scale = max(inverse_scale, single(1))
    center = (np.arange(size, dtype=single) + single(0.5)) * inverse_scale
    first = np.clip(np.ceil(center - radius * kernel_scale - single(0.5)), 0, length - 1).astype(np.intp)
    last = np.clip(np.floor(center + radius * kernel_scale - single(0.5)), 0, length - 1).astype(np.intp)
    count = int((last - first).max()) + 1
    index = first[:, None] + np.arange(count)
    distance = np.abs((index.astype(single) + single(0.5) - center[:, None]) * (single(1) / kernel_scale))
    weights = _lanczos_kernel(distance.astype(single), radius)
    weights[index > last[:, None]] = 0
    total = np.zeros(size, dtype=single)
    for tap in range(count):
        total += weights[:, tap]
    return first, weights * (single(1) / total)[:, None]


def _lanczos_kernel(distance: Float32Array, radius: np.float32) -> Float32Array:
    """``radius sin(pi x) sin(pi x / radius) / (pi x)^2``, 1 near 0, 0 beyond the radius; single precision."""
    pi = np.float32(np.pi)
    safe = np.maximum(distance, np.float32(1e-3))
    value = radius * np.sin(pi * safe) * np.sin(pi * safe / radius) / (pi * pi * safe * safe)
    value = np.where(distance <= np.float32(1e-3), np.float32(1), value)
    return np.where(distance > radius, np.float32(0), value).astype(np.float32)
