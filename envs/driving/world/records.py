"""What a world is made of: one record per actor, one per world, one of parameters.

The arrays are numpy record arrays ``[worlds, actors]`` and ``[worlds]``: ``actors["x"]`` is the ``[worlds, actors]``
array of one field, and ``actors[w]`` lies in one piece, so a world is copied, restored and stepped by itself.
Frame: right-handed, x and y in metres, headings in radians counter-clockwise from x. Angles of steering are positive to
the left. (CARLA's frame is left-handed: its server face negates y, headings and steering.)
"""

from __future__ import annotations

import enum

import numpy as np


class Kind(enum.IntEnum):
    """What an actor is."""

    NONE = 0
    CAR = 1
    TRUCK = 2
    BICYCLE = 3
    PEDESTRIAN = 4
    OBSTACLE = 5


class Controller(enum.IntEnum):
    """Who moves an actor."""

    STILL = 0
    EXTERNAL = 1
    """Steering, throttle and brake come from outside: the ego, and whatever a CARLA client drives."""
    TRAFFIC = 2
    WALKER = 3


class Status(enum.IntEnum):
    """How a world stands."""

    EMPTY = 0
    """Not reset yet, or parked: it stands still and is not looked at."""
    RUNNING = 1
    FAILED = 2
    """Something went wrong in this world (see its error text); it stands still until it is reset."""


class Light(enum.IntEnum):
    """State of a traffic light."""

    RED = 0
    YELLOW = 1
    GREEN = 2


class Lamp(enum.IntFlag):
    """Lamps of a vehicle; the bits are those of ``carla.VehicleLightState``."""

    BRAKE = 0x8
    RIGHT_BLINKER = 0x10
    LEFT_BLINKER = 0x20


ACTOR = np.dtype(
    [
        ("id", np.int32),  # 1-based number within the world, as a CARLA client would see it
        ("kind", np.int8),
        ("controller", np.int8),
        ("active", np.int8),  # 0: not in the world (a free slot, or waiting to enter again)
        ("obeys_lights", np.int8),
        ("ambush", np.int8),  # pedestrians: hidden, steps out as the ego comes
        ("lamps", np.int32),
        ("x", np.float64),
        ("y", np.float64),
        ("z", np.float64),
        ("heading", np.float64),
        ("speed", np.float64),  # along the body, m/s; below 0 backwards
        ("velocity_x", np.float64),
        ("velocity_y", np.float64),
        ("yaw_rate", np.float64),  # rad/s
        ("acceleration", np.float64),  # along the body, m/s^2, over the last control step
        ("lateral_acceleration", np.float64),  # to the left, m/s^2
        ("steer_command", np.float64),  # -1 (right) ... 1 (left)
        ("throttle_command", np.float64),  # -1 (full throttle backwards) ... 1
        ("brake_command", np.float64),  # 0 ... 1
        ("steer", np.float64),  # what the lagging actuators have reached
        ("throttle", np.float64),
        ("brake", np.float64),
        ("half_length", np.float64),  # metres
        ("half_width", np.float64),
        ("height", np.float64),
        ("lane", np.int32),  # -1: on none
        ("previous", np.int32),  # the lane before that, -1
        ("leg", np.int32),  # how many lanes were entered: with the seed it decides every turn
        ("arc", np.float64),  # of the centre along the lane, metres
        ("offset", np.float64),  # of the centre to the left of the lane's centre, metres
        ("speed_factor", np.float64),  # wanted speed relative to the limit
        ("granted", np.int32),  # junction lane that this vehicle may enter, -1: none
        ("served_stop", np.int32),  # stop sign where it has halted, -1: none
        ("touching", np.int32),  # actor whose box overlaps this one's, -1: none
        ("gap", np.float64),  # free metres to whatever it follows or stops for
        ("drive", np.float64),  # acceleration decided for this control step, m/s^2 (not of external actors)
        ("wheel", np.float64),  # angle of the front wheels, radians
        ("wait", np.float64),  # seconds: of standing before a stop sign, of a pedestrian at the kerb, out of the world
        ("goal_x", np.float64),  # pedestrians: where to
        ("goal_y", np.float64),
        ("home_x", np.float64),  # pedestrians: where from
        ("home_y", np.float64),
    ],
    align=True,
)

EVENTS = (
    "collision_vehicle",
    "collision_pedestrian",
    "collision_static",
    "red_light",
    "stop_sign",
    "off_road",
    "wrong_way",
    "lane_invasion",
    "route_deviation",
    "blocked",
    "route_completed",
)
"""Names of the events of the ego; event e has the bit ``1 << e`` in ``world["events"]``."""

WORLD = np.dtype(
    [
        ("seed", np.uint64),
        ("status", np.int32),
        ("step", np.int32),  # control steps since the reset
        ("time", np.float64),  # seconds since the reset
        ("route_count", np.int32),  # points of the route
        ("route_index", np.int32),  # last point of the route that was reached
        ("route_length", np.float64),  # metres
        ("route_arc", np.float64),  # furthest arc reached, metres; never falls
        ("route_offset", np.float64),  # of the ego to the left of the route, metres
        ("route_angle", np.float64),  # of the ego's heading to the route's, radians
        ("outside_arc", np.float64),  # metres of the route covered while outside its lanes
        ("distance", np.float64),  # metres driven
        ("blocked_time", np.float64),  # seconds for which the ego has stood still
        ("off_road_fraction", np.float64),  # part of the ego's box that is off the road
        ("outside_lanes", np.int8),  # the ego is off the road or on a lane against its direction
        ("imminent_collision", np.int8),  # boxes moved at constant velocity overlap within the forecast
        ("events", np.int64),  # bits of EVENTS, of the last control step
        ("conditions", np.int64),  # bits of the events that hold on, to tell when they begin
        ("counts", np.int64, (len(EVENTS),)),  # how often each has begun since the reset
        ("contact", np.int32),  # actor that the ego touches, -1
        ("lane", np.int32),  # of the ego, along its direction, -1
        ("speed_limit", np.float64),  # at the ego, m/s
        ("lane_half_width", np.float64),  # at the ego, metres
        ("cut_ins", np.float64),  # how likely a vehicle cuts in front of the ego, per chance
    ],
    align=True,
)

ROUTE_POINT = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("heading", np.float64),
        ("arc", np.float64),  # metres along the route
        ("lane", np.int32),
    ],
    align=True,
)
PAST = np.dtype(
    [
        ("x", np.float64),
        ("y", np.float64),
        ("heading", np.float64),
        ("half_length", np.float64),
        ("half_width", np.float64),
        ("vehicle", np.int8),  # whether there was a vehicle
    ],
    align=True,
)
