"""Where traffic must halt: traffic lights and stop signs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.world.car_following import pressure
from envs.driving.world.lights import GREEN, RED, YELLOW

STOP_SIGN = 1
LINE_MARGIN = 0.5
"""Traffic halts this far before a stop line, metres."""


@kernel
def must_stop_for_light(state: int, distance: float, speed: float) -> bool:
    """Whether a light in ``state``, its line ``distance`` metres ahead of the bumper, means halt."""
    if state == GREEN or distance < -1.0:
        return False
    if state == YELLOW:
        return speed * speed < 2.0 * 3.0 * max(distance, 0.1)  # what 3 m/s^2 can stop
    return True


@kernel
def line_pressure(
    world_map: MapArrays,
    actor: Records,
    lane_number: int,
    travelled: float,
    lights: NDArray[np.int8],
    parameters: Records,
) -> float:
    """The strongest pressure of the stop lines of one lane, ``travelled`` metres from the centre to its start."""
    lane, strongest = world_map.lanes[lane_number], 0.0
    for place in range(lane.stop_start, lane.stop_stop):
        stop = world_map.stops[place]
        distance = travelled + stop.arc - actor.half_length
        if stop.kind == STOP_SIGN:
            halt = distance > -1.0 and actor.served_stop != place
        else:
            halt = actor.obeys_lights != 0 and must_stop_for_light(lights[place], distance, actor.speed)
        if halt:
            gap = distance - LINE_MARGIN + parameters.standstill_gap
            strongest = max(strongest, pressure(actor.speed, gap, 0.0, parameters))
            actor.gap = min(actor.gap, max(distance, 0.0))
    return strongest


@kernel
def serve_stop_signs(world_map: MapArrays, actor: Records, parameters: Records) -> None:
    """Note that a vehicle has stood long enough before the stop sign of its lane."""
    lane = world_map.lanes[actor.lane]
    for place in range(lane.stop_start, lane.stop_stop):
        stop = world_map.stops[place]
        distance = stop.arc - actor.arc - actor.half_length
        if stop.kind == STOP_SIGN and actor.served_stop != place and -1.0 < distance < 3.0 and actor.speed < 0.3:
            actor.wait += parameters.control_seconds
            if actor.wait >= parameters.stop_seconds:
                actor.served_stop, actor.wait = place, 0.0


@kernel
def is_red(world_map: MapArrays, lane_number: int, lights: NDArray[np.int8]) -> bool:
    """Whether a lane has a light that shows red."""
    lane = world_map.lanes[lane_number]
    for place in range(lane.stop_start, lane.stop_stop):
        if world_map.stops[place].kind != STOP_SIGN and lights[place] == RED:
            return True
    return False
