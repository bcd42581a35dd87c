"""Pedestrians: they wait at the kerb, look whether a vehicle comes, and walk across."""

from __future__ import annotations

import math

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import Records
from envs.driving.world.counter_random import uniform
from envs.driving.world.records import Controller, Kind

WALKER, PEDESTRIAN = int(Controller.WALKER), int(Kind.PEDESTRIAN)
WAIT = 31
"""Purpose of the random number of how long a pedestrian waits."""
LOOK_SECONDS = 4.0
"""A careful pedestrian does not step in front of a vehicle that gets there within this time."""
LOOKS = 20
"""At so many moments of these; a vehicle at 40 m/s covers 8 m between two."""
PATIENCE = 3.0
"""Seconds after which a pedestrian turns back before a vehicle that stands in the way."""
CLEAR = 3.0
"""Metres that such a vehicle must keep from the way across."""
AMBUSH_METRES, AMBUSH_SECONDS = 8.0, 2.0
"""A hidden pedestrian steps out when the ego is so near: at 50 km/h that is twice what full braking takes."""
NEAR = 8.0
"""Nor does it in front of a moving vehicle that is so near already, wherever it heads."""


@kernel
def vehicle_comes(actors: Records, walker: Records) -> bool:
    """Whether a moving vehicle will be near the way across within ``LOOK_SECONDS``."""
    ax, ay = walker.goal_x - walker.home_x, walker.goal_y - walker.home_y
    way = max(math.hypot(ax, ay), 1e-6)
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0 or actor.kind >= PEDESTRIAN or actor.speed < 0.5:
            continue
        for tick in range(LOOKS + 1):
            seconds = LOOK_SECONDS * tick / LOOKS
            dx = actor.x + seconds * actor.velocity_x - walker.home_x
            dy = actor.y + seconds * actor.velocity_y - walker.home_y
            along = (dx * ax + dy * ay) / way
            across = abs(dy * ax - dx * ay) / way
            clear = NEAR if tick == 0 else CLEAR  # whatever is near may turn
            if -clear < along < way + clear and across < clear + actor.half_length:
                return True
    return False


@kernel
def vehicle_in_the_way(actors: Records, walker: Records) -> bool:
    """Whether the next metre of a pedestrian's way is taken by a vehicle."""
    dx, dy = walker.goal_x - walker.x, walker.goal_y - walker.y
    left = max(math.hypot(dx, dy), 1e-6)
    x, y = walker.x + dx / left, walker.y + dy / left
    for index in range(len(actors)):
        actor = actors[index]
        if actor.active == 0 or actor.kind >= PEDESTRIAN:
            continue
        cos, sin = math.cos(actor.heading), math.sin(actor.heading)
        along = (x - actor.x) * cos + (y - actor.y) * sin
        across = (y - actor.y) * cos - (x - actor.x) * sin
        if abs(along) < actor.half_length + 0.5 and abs(across) < actor.half_width + 0.5:
            return True
    return False


@kernel
def ego_comes(ego: Records, walker: Records) -> bool:
    """Whether the ego will be at a hidden pedestrian so soon that it has to brake, but still can."""
    dx, dy = walker.x - ego.x, walker.y - ego.y
    ahead = dx * math.cos(ego.heading) + dy * math.sin(ego.heading)
    beside = dy * math.cos(ego.heading) - dx * math.sin(ego.heading)
    near = AMBUSH_METRES + AMBUSH_SECONDS * ego.speed
    return ego.active != 0 and ego.speed > 1.0 and 0.0 < ahead < near and abs(beside) < AMBUSH_METRES


@kernel
def turn_back(walker: Records) -> None:
    """Walk to where the way began."""
    walker.goal_x, walker.home_x = walker.home_x, walker.goal_x
    walker.goal_y, walker.home_y = walker.home_y, walker.goal_y
    walker.wait = 0.0


@kernel
def decide_walk(actors: Records, index: int, world: Records, parameters: Records) -> None:
    """Set heading and speed of one pedestrian for the coming control step; a hidden one waits for the ego.

    ``speed_factor`` is its walking speed; careful ones (``obeys_lights``) look before they step out, and wait again.
    """
    walker = actors[index]
    walker.speed = 0.0
    if walker.ambush != 0:
        if ego_comes(actors[0], walker):
            walker.ambush = 0
    elif walker.wait > 0.0:
        walker.wait -= parameters.control_seconds
    elif vehicle_in_the_way(actors, walker):
        walker.wait -= parameters.control_seconds
        if walker.wait < -PATIENCE:  # the vehicle may be waiting for this very pedestrian
            turn_back(walker)
    elif walker.lane >= 0 or walker.obeys_lights == 0 or not vehicle_comes(actors, walker):
        walker.lane = 0  # on its way
        dx, dy = walker.goal_x - walker.x, walker.goal_y - walker.y
        left = math.hypot(dx, dy)
        walker.heading = math.atan2(dy, dx)
        walker.speed = min(walker.speed_factor, left / parameters.control_seconds)
        walker.wait = 0.0
        if left < 1e-6:
            walker.lane = -1
            turn_back(walker)
            walker.wait = 2.0 + 10.0 * uniform(world.seed, world.step, walker.id, WAIT)
    walker.velocity_x = walker.speed * math.cos(walker.heading)
    walker.velocity_y = walker.speed * math.sin(walker.heading)


@kernel
def walk(walker: Records, seconds: float) -> None:
    """Move one pedestrian."""
    walker.x += walker.velocity_x * seconds
    walker.y += walker.velocity_y * seconds
