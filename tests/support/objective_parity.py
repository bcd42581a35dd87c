"""What ``tests/parity/test_objective_golden.py`` compares, and how far apart it was, for ``tools/parity_table.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RELATIVE, ABSOLUTE = 2e-6, 1e-6


@dataclass(frozen=True)
class Compared:
    """One array of ours beside the recorded one."""

    quantity: str
    """What it is, ``verl loss`` for example."""
    entries: int
    tolerance: float
    """Absolute part of it."""
    error: float
    """Largest difference, as a share of what was allowed there."""


SEEN: list[Compared] = []
"""Everything compared in this process so far."""


def same(quantity: str, found: Any, expected: Any, *, rtol: float = RELATIVE, atol: float = ABSOLUTE) -> None:
    """Assert that entries differ by at most ``atol + rtol * |expected|``, and remember by how much."""
    ours, theirs = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    shares = np.abs(ours - theirs) / (atol + rtol * np.abs(theirs))
    SEEN.append(Compared(quantity, theirs.size, atol, float(shares.max())))
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
