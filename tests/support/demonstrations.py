"""Small made-up demonstrations."""

import numpy as np

from vlarl.data import Demonstration


def demonstration(number: int, steps: int = 5, cameras: tuple[str, ...] = ("agentview", "wrist"), **changes: object):
    """The ``number``-th of a family: equal numbers give equal episodes, noise images compress badly on purpose."""
    random = np.random.default_rng(number)
    sizes = {camera: (16 + 2 * index, 20 - 2 * index) for index, camera in enumerate(cameras)}
    content = {
        "images": {c: random.integers(0, 256, (steps, *size, 3), dtype=np.uint8) for c, size in sizes.items()},
        "state": random.normal(size=(steps, 8)).astype(np.float32),
        "actions": random.uniform(-1, 1, (steps, 7)).astype(np.float32),
        "instruction": f"move object {number % 3} to the basket",
        "suite": "libero_object",
        "task": number % 3,
        "init_state": number,
        "succeeded": number % 4 != 3,
    }
    return Demonstration(**(content | changes))


def assert_same(found: Demonstration, expected: Demonstration, pixel_bound: int = 0) -> None:
    """Equal in everything; pixels within ``pixel_bound`` levels."""
    for name in ("instruction", "suite", "task", "init_state", "succeeded"):
        assert getattr(found, name) == getattr(expected, name), name
    np.testing.assert_array_equal(found.state, expected.state)
    np.testing.assert_array_equal(found.actions, expected.actions)
    assert found.images.keys() == expected.images.keys()
    for camera, frames in expected.images.items():
        assert found.images[camera].shape == frames.shape
        difference = np.abs(found.images[camera].astype(int) - frames.astype(int))
        assert difference.max() <= pixel_bound, camera
