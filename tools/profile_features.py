"""How far apart a policy sees the two render profiles: the features of the same states in stock and in fast pixels.

Example::

    .venv/bin/python tools/profile_features.py assets/openvla_oft_compact_object

Plays the same random actions from the same held-out states in both profiles (the states are then equal, which is
checked) and prints the mean squared distance of the policy's image features between the profiles, as a share of
their variance over states.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from envs.libero import LiberoConfig
from vlarl.cli import plain_description
from vlarl.policy import load_policy
from vlarl.specs import evaluation_specs


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    policy: Annotated[Path, tyro.conf.Positional]
    """A policy of the OpenVLA-OFT class."""
    suite: str = "libero_object"
    tasks: tuple[int, ...] = (0, 8)
    episodes: int = 3
    """Per task."""
    chunks: int = 12
    """Of 8 random actions each."""


def observe(options: Options, profile: str) -> list[Any]:
    """The observations of all episodes in one profile."""
    config = LiberoConfig(profile=profile, controller="compiled", horizon=8 * options.chunks + 1)  # type: ignore
    known = config.task_specs(options.suite)
    specs = evaluation_specs(
        [known[task] for task in options.tasks], split="heldout", episodes_per_task=options.episodes, seed=1
    )
    random = np.random.default_rng(0)
    actions = random.uniform(-0.7, 0.7, (options.chunks, 8, 7)).astype(np.float32)
    env, seen = config.make(), []
    for spec in specs:
        seen.append(env.reset(spec))
        seen += [env.step_chunk(chunk).observation for chunk in actions]
    env.close()
    return seen


def main(options: Options) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    policy: Any = load_policy(str(options.policy))
    features = {}
    states = {}
    for profile in ("reference", "fast"):
        seen = observe(options, profile)
        states[profile] = np.stack([observation.state for observation in seen])
        features[profile] = torch.stack([row["features"] for row in policy.prepare(seen)]).float()
    np.testing.assert_array_equal(states["fast"], states["reference"])
    fast, reference = features["fast"], features["reference"]
    gap = (fast - reference).square().sum(-1).mean()
    variance = (reference - reference.mean(0)).square().sum(-1).mean()
    print(f"{len(fast)} states: {100 * float(gap / variance):.1f} % of the variance over states")


if __name__ == "__main__":
    main(tyro.cli(Options, description=plain_description(__doc__ or "")))
