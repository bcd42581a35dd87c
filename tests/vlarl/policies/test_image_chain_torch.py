"""The batched image chain beside the one it follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlarl.policies import image_chain
from vlarl.policies.image_chain_torch import center_crop, lanczos_resize, prepare_images
from vlarl.policies.oft_config import ImageConfig

PUBLISHED = ImageConfig(mirror=True, jpeg_quality=95, lanczos_resize=True, crop_area=0.9)


def images(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise and a gradient: every value, sharp edges and flat areas."""
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, (count, height, width, 3))
    ramp = np.linspace(0, 255, width)[None, None, :, None]
    return np.where(np.arange(height)[None, :, None, None] % 2 == 0, noise, ramp).astype(np.uint8)


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 80), st.integers(20, 80), st.integers(8, 60), st.integers(0, 2**16))
def test_resize_has_the_same_bits_on_the_cpu(height: int, width: int, size: int, seed: int):
    batch = images(2, height, width, seed)
    expected = np.stack([image_chain.lanczos_resize(image, size) for image in batch])
    np.testing.assert_array_equal(lanczos_resize(torch.from_numpy(batch), size).numpy(), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 80), st.integers(8, 80), st.floats(0.3, 0.99), st.integers(0, 2**16))
def test_crop_has_the_same_bits_on_the_cpu(height: int, width: int, area: float, seed: int):
    batch = images(2, height, width, seed)
    expected = np.stack([image_chain.center_crop(image, area) for image in batch])
    np.testing.assert_array_equal(center_crop(torch.from_numpy(batch), area).numpy(), expected)


@pytest.mark.parametrize("config", [PUBLISHED, ImageConfig(), ImageConfig(bicubic_resize=True)])
def test_whole_chain(config: ImageConfig):
    batch = list(images(3, 224, 224))
    expected = np.stack([image_chain.prepare_image(image, config, 224) for image in batch])
    np.testing.assert_array_equal(prepare_images(batch, config, 224, torch.device("cpu")).numpy(), expected)


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match=r"expected uint8"):
        prepare_images([np.zeros((8, 8, 3), np.float32)], PUBLISHED, 224, torch.device("cpu"))  # pyrefly: ignore
