"""MuJoCo tasks whose bodies and world differ from episode to episode: for training and testing robust policies.

A parameter multiplies or replaces part of the compiled model::

    mass          all body masses                    friction   sliding friction of all geoms
    gravity       size of gravity [m/s^2]            actuator   gear of all actuators
    wind          head wind [m/s], with the density and viscosity of air
    torso, foot   length of a Hopper's or Walker2d's torso and foot [m]: geometry, not inertia of the other bodies
    delay         control steps by which actions arrive late

``sampler`` says how the parameters of an episode follow from its number: ``nominal``, ``uniform`` (each parameter in its
range, scaled about its nominal value by ``radius``), or ``sinusoid`` (``centre + amplitude sin(rate i)``, which is what
AdaRL, arXiv 2510.11899, runs as "sampling the Wasserstein ball"; amplitudes from OMPO's and its text). An episode's number
is ``spec.init_state``, so equal specs still start and go on equal.

How far a range reaches is measured: ``transition_distance`` is the Wasserstein distance between next-state distributions of
two models over a fixed set of probe transitions. MuJoCo is deterministic given state and action, so per probe it is the
distance of two points, and ``calibrate_radius`` finds by bisection the radius at which no sampled model is farther than asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import mujoco
import numpy as np

from envs.mujoco import GymnasiumSlot, MujocoConfig
from vlarl.env_protocol import EpisodeSpec, Float32Array, Observation, StepResult, UnknownTaskError

NOMINAL = {"mass": 1.0, "friction": 1.0, "actuator": 1.0, "gravity": 9.81, "wind": 0.0, "delay": 0.0}
LENGTHS = {"Hopper": {"torso": 0.4, "foot": 0.39}, "Walker2d": {"torso": 0.4, "foot": 0.2}}
"""Nominal lengths [m] by environment family: distance between the ends of the capsules."""
SINUSOIDS = {
    "Hopper": {"torso": (0.4, 0.2, 0.2), "foot": (0.39, 0.2, 0.2)},
    "Walker2d": {"torso": (0.2, 0.1, 0.3), "foot": (0.1, 0.05, 0.3)},
    "Ant": {"gravity": (14.715, 4.905, 0.5), "wind": (1.0, 0.2, 0.5)},
    "Humanoid": {"gravity": (14.715, 4.905, 0.5), "wind": (1.0, 0.5, 0.5)},
}
"""AdaRL's text: parameter -> (centre, amplitude, rate)."""


def sinusoid(family: str, episode: int) -> dict[str, float]:
    """Parameters of episode i under the paper's schedule.

    Raises:
        UnknownTaskError: the paper has none for this environment.
    """
    if family not in SINUSOIDS:
        raise UnknownTaskError(f"no sinusoid for {family!r}; there are: {', '.join(SINUSOIDS)}")
    return {name: c + a * float(np.sin(w * episode)) for name, (c, a, w) in SINUSOIDS[family].items()}
