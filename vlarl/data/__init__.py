"""Demonstrations: the record, the LeRobotDataset v3 folder, and readers of other people's files."""

from __future__ import annotations

from vlarl.data.demonstration import Demonstration

__all__ = ["Demonstration"]
