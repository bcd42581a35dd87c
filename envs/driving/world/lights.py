"""Traffic lights: every signalled junction runs through its phase groups, each green, yellow, then all red."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from envs.driving.compiled import kernel
from envs.driving.maps.map_arrays import MapArrays, Records
from envs.driving.world.counter_random import uniform
from envs.driving.world.records import Light

RED, YELLOW, GREEN = int(Light.RED), int(Light.YELLOW), int(Light.GREEN)
PHASE_OFFSET = 11
"""Purpose of the random number that shifts a junction's cycle."""


@kernel
def set_lights(
    world_map: MapArrays, world: Records, parameters: Records, state: NDArray[np.int8], left: NDArray[np.float32]
) -> None:
    """Set ``state [K]`` and the seconds ``left [K]`` in it from the world's time; stop signs stay green."""
    slot = parameters.green_seconds + parameters.yellow_seconds + parameters.red_seconds
    for place in world_map.signal_stops:
        stop = world_map.stops[place]
        groups = world_map.signal_groups[stop.signal]
        cycle = groups * slot
        shifted = world.time + uniform(world.seed, 0, stop.signal, PHASE_OFFSET) * cycle
        since = (shifted - stop.group * slot) % cycle
        if since < parameters.green_seconds:
            state[place] = GREEN
            left[place] = parameters.green_seconds - since
        elif since < parameters.green_seconds + parameters.yellow_seconds:
            state[place] = YELLOW
            left[place] = parameters.green_seconds + parameters.yellow_seconds - since
        else:
            state[place] = RED
            left[place] = cycle - since
