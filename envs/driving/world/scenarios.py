"""Starts of rising difficulty: more traffic and people, and more of them misbehaving."""

from __future__ import annotations

from envs.driving.world.start import Start


def scenario(seed: int, difficulty: float, actors: int, route_metres: float = 500.0) -> Start:
    """A start for worlds with so many actor slots.

    Args:
        seed: of the world; the route, places and characters depend on it.
        difficulty: 0 is an empty road. From there on traffic and people grow in proportion and fill the slots at 1;
            above 0.3 there are obstacles and occluded crossings on the route, cut-ins, jaywalkers and red-light
            runners. At 1 there are three obstacles and two occluded crossings, every second vehicle beside the ego
            cuts in each second, half of the people jaywalk, every fifth vehicle runs red lights.
        actors: slots per world, the ego's included.
        route_metres: length of the ego's random route.

    Raises:
        ValueError: a difficulty outside [0, 1].
    """
    if not 0.0 <= difficulty <= 1.0:
        raise ValueError(f"difficulty is {difficulty}; it ranges from 0 to 1")
    misbehaviour = max(0.0, (difficulty - 0.3) / 0.7)
    room = actors - 1
    obstacles = min(round(3 * misbehaviour), room)
    occluded = min(round(2 * misbehaviour), (room - obstacles) // 2)
    others = round(difficulty * (room - obstacles - 2 * occluded))
    pedestrians = round(0.25 * others)
    return Start(
        seed=seed,
        route_metres=route_metres,
        traffic=others - pedestrians,
        pedestrians=pedestrians,
        obstacles=obstacles,
        occluded=occluded,
        cut_ins=0.5 * misbehaviour,
        jaywalkers=0.5 * misbehaviour,
        red_runners=0.2 * misbehaviour,
    )
