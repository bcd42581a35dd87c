"""The image chain against TensorFlow's output, stage by stage, as OpenVLA-OFT uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vlarl.policies.image_chain import center_crop, jpeg_round_trip, lanczos_resize, prepare_image
from vlarl.policies.oft_config import ImageConfig

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "openvla"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"golden data not found at {GOLDEN}")


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "03_images.npz") as data:
        return {name: data[name] for name in ("raw", "jpeg_decoded", "resized_224", "cropped_224")}


def assert_nearly_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    """At most one level off on fewer than one in 100,000 samples."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-5


def test_jpeg(golden: dict[str, np.ndarray]):
    pytest.importorskip("simplejpeg")
    for raw, expected in zip(golden["raw"], golden["jpeg_decoded"], strict=True):
        np.testing.assert_array_equal(jpeg_round_trip(raw[::-1, ::-1], 95), expected)


def test_lanczos(golden: dict[str, np.ndarray]):
    ours = np.stack([lanczos_resize(image, 224) for image in golden["jpeg_decoded"]])
    assert_nearly_equal(ours, golden["resized_224"])


def test_center_crop(golden: dict[str, np.ndarray]):
    ours = np.stack([center_crop(image, 0.9) for image in golden["resized_224"]])
    assert_nearly_equal(ours, golden["cropped_224"])


def test_whole_chain_from_an_upright_image(golden: dict[str, np.ndarray]):
    """Our observations are upright; upstream turns the simulator's image by 180 degrees: its mirror image."""
    pytest.importorskip("simplejpeg")
    chain = ImageConfig(mirror=True, jpeg_quality=95, lanczos_resize=True, crop_area=0.9)
    ours = np.stack([prepare_image(raw[::-1], chain, 224) for raw in golden["raw"]])
    assert_nearly_equal(ours, golden["cropped_224"])


def test_no_step_leaves_the_image_alone():
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_image(image, ImageConfig(), 128), image)
    np.testing.assert_array_equal(prepare_image(image, ImageConfig(mirror=True), 128), image[:, ::-1])
