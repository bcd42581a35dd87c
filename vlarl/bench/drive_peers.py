"""What ``vlarl bench drive`` compares with, where it is installed: highway-env (Leurent 2018, MIT licence).

Its motorway with as many vehicles stands for a world without observations, its occupancy grid for a view from above.
It plays one world of a far simpler kind: straight lanes, no junctions, lights or pedestrians.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module, metadata, util
from typing import Any

NAME = "highway-env"
CELLS = 32
"""Cells per side of the occupancy grid."""
FOREVER = 10**6


@dataclass(frozen=True)
class Peer:
    """One environment to step."""

    name: str
    unit: str
    per_step: int
    """Of the unit, per control step."""
    env: Any
    action: Sequence[float] = (0.0, 0.0)

    def spend(self, steps: int) -> tuple[float, float]:
        """Wall-clock and CPU seconds of so many control steps of 0.1 s; resets after a crash are not counted."""
        seconds = cpu = 0.0
        for step in range(steps):
            started, before = time.perf_counter(), time.process_time()
            *_, terminated, truncated, _ = self.env.step(list(self.action))
            seconds += time.perf_counter() - started
            cpu += time.process_time() - before
            if terminated or truncated:
                self.env.reset(seed=step)
        return seconds, cpu


def make_peers(others: int) -> tuple[list[Peer], str]:
    """What is installed, with so many other vehicles, and a line that says what was found.

    Returns:
        The environments (none without the package) and the line.
    """
    if util.find_spec("highway_env") is None or util.find_spec("gymnasium") is None:
        return [], f"{NAME}: not installed, so there is nothing to compare with here (pip install {NAME})"

    import gymnasium

    gymnasium.register_envs(import_module("highway_env"))
    grid = {
        "type": "OccupancyGrid",
        "features": ["presence", "vx", "vy", "on_road"],
        "grid_size": [[-CELLS, CELLS], [-CELLS, CELLS]],
        "grid_step": [2, 2],
    }
    kinds = (
        ("state only", "actor-steps/s", others + 1, {"type": "Kinematics"}),
        (f"grid of {CELLS}", "steps/s", 1, grid),
    )
    peers = []
    for what, unit, per_step, observation in kinds:
        env = gymnasium.make(
            "highway-v0",
            config={
                "vehicles_count": others,
                "simulation_frequency": 10,
                "policy_frequency": 10,
                "duration": FOREVER,
                "action": {"type": "ContinuousAction"},
                "observation": observation,
            },
        )
        env.reset(seed=0)
        peers.append(Peer(f"{NAME}, {others} others, {what}", unit, per_step, env))
    return peers, f"{NAME} {metadata.version(NAME)}: one world of straight lanes per process, control steps of 0.1 s"
