"""Shared by all tests: one thread per process, rendering without a screen, reproducible property tests."""

from __future__ import annotations

import os
from pathlib import Path

for name, value in {
    "OMP_NUM_THREADS": "1",
    "LP_NUM_THREADS": "0",
    "MUJOCO_GL": "osmesa",
    "PYOPENGL_PLATFORM": "osmesa",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}.items():
    os.environ.setdefault(name, value)

import hypothesis  # noqa: E402  (after the variables above: libraries read them when they are imported)
import pytest  # noqa: E402

ENVS = Path(__file__).parent / "envs"

# No time limit per example and the same examples every time: a test neither fails nor passes by luck or load.
hypothesis.settings.register_profile("vlarl", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("vlarl")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of the driving world to one process: it compiles the kernels, the others find them."""
    for item in items:
        if item.path.is_relative_to(ENVS / "driving") or item.path.is_relative_to(ENVS / "carla"):
            item.add_marker(pytest.mark.xdist_group("driving"))
