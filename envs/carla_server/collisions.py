"""What happens when bodies touch: whoever moved stops where it was, and both are told.

The driving world lets boxes overlap, since an episode of training ends there. Here a contact is perfectly inelastic and
nothing is pushed away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.carla_server.actors import Body


@dataclass(frozen=True)
class Contact:
    """A vehicle or walker that ran into another one, or was run into."""

    body: Body
    other: Body
    impulse: tuple[float, float, float]
    """On the body, N s, in CARLA's frame."""


def resolve(actors: Any, before: Any, slots: Any, bodies: Mapping[int, Body]) -> list[Contact]:
    """Stop those who have just begun to touch, and say who they are.

    Args:
        actors: the world's, after the step; changed.
        before: of those who are there, before it.
        slots: theirs.
        bodies: by slot.
    """
    touching = actors["touching"][slots]
    if touching.max(initial=-1) < 0:
        return []
    began = slots[(touching >= 0) & (before["touching"] < 0)]
    earlier = dict(zip(slots.tolist(), before, strict=True))
    contacts = []
    for slot in began:
        other = int(actors["touching"][slot])
        if other not in bodies:
            continue
        pushed = []
        for place in (int(slot), other):
            mass = bodies[place].blueprint.mass
            pushed.append(mass * np.array([earlier[place]["velocity_x"], earlier[place]["velocity_y"]]))
        impulse = (pushed[1] - pushed[0]) / 2.0
        contacts.append(Contact(bodies[int(slot)], bodies[other], (float(impulse[0]), -float(impulse[1]), 0.0)))
    for contact in contacts:
        for body in (contact.body, contact.other):
            for name in ("x", "y", "heading"):
                actors[name][body.slot] = earlier[body.slot][name]
            for name in ("speed", "velocity_x", "velocity_y", "yaw_rate"):
                actors[name][body.slot] = 0.0
            actors["touching"][body.slot] = -1
    return contacts
