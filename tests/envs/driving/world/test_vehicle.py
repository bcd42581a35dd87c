"""The bicycle and the pedals against solutions by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.driving.world.parameters import WorldParameters
from envs.driving.world.records import ACTOR
from envs.driving.world.vehicle import VehicleModel, lagged, move, pedal_acceleration

PARAMETERS = WorldParameters().record()


def vehicle(speed=0.0, heading=0.0):
    actor = np.zeros(1, ACTOR)
    actor["speed"], actor["heading"] = speed, heading
    return actor[0]


def test_constant_wheel_angle_is_a_circle():
    """Centre between axles 1.2 m before and 1.5 m behind: the slip angle is atan(1.5/2.7 tan 0.2)."""
    actor = vehicle(speed=8.0)
    for _ in range(2000):
        move(actor, 0.0, 0.2, 1.2, 1.5, 0.005)
    slip = math.atan(1.5 / 2.7 * math.tan(0.2))
    radius = 1.5 / math.sin(slip)
    turned = 8.0 * 10.0 / radius
    assert actor["yaw_rate"] == pytest.approx(8.0 / radius)
    assert actor["lateral_acceleration"] == pytest.approx(64.0 / radius)
    assert math.cos(actor["heading"] - turned) == pytest.approx(1.0)
    centre = np.array([-radius * math.sin(slip), radius * math.cos(slip)])
    place = centre + radius * np.array([math.sin(turned + slip), -math.cos(turned + slip)])
    assert [actor["x"], actor["y"]] == pytest.approx(place, abs=1e-3)


def test_steering_left_goes_left():
    actor = vehicle(speed=5.0)
    move(actor, 0.0, 0.3, 1.2, 1.5, 0.1)
    assert actor["y"] > 0.0
    assert actor["yaw_rate"] > 0.0


@given(st.floats(0.5, 40.0), st.floats(0.5, 8.0), st.sampled_from([0.01, 0.05, 0.1]))
def test_braking_takes_the_distance_that_energy_says(speed, deceleration, seconds):
    """v^2 / 2a, and then it stands: however the time is cut."""
    actor = vehicle(speed=speed, heading=math.pi / 2)
    for _ in range(int(speed / deceleration / seconds) + 2):
        move(actor, -deceleration, 0.0, 1.2, 1.5, seconds)
    assert actor["speed"] == 0.0
    assert actor["y"] == pytest.approx(speed**2 / (2.0 * deceleration), rel=1e-9)
    assert actor["x"] == pytest.approx(0.0, abs=1e-9)


def test_pedals():
    """From standstill 3.5 m/s^2 less the rolling 0.1; braking at 20 m/s 4.952 + 0.1 + 0.0006 * 20^2."""
    assert pedal_acceleration(0.0, 1.0, 0.0, PARAMETERS) == pytest.approx(3.4)
    assert pedal_acceleration(22.5, 1.0, 0.0, PARAMETERS) == pytest.approx(1.75 - 0.1 - 0.0006 * 22.5**2)
    assert pedal_acceleration(20.0, 0.0, 1.0, PARAMETERS) == pytest.approx(-5.292)
    assert pedal_acceleration(0.0, 0.0, 1.0, PARAMETERS) == 0.0
    assert pedal_acceleration(0.0, 0.02, 0.0, PARAMETERS) == 0.0, "less throttle than rolling resistance"


def test_top_speed_is_where_drive_and_drag_meet():
    """3.5 (1 - v/45) = 0.1 + 0.0006 v^2: v = (-b + sqrt(b^2 + 4 * 0.0006 * 3.4)) / 0.0012 with b = 3.5/45."""
    b = 3.5 / 45.0
    top = (-b + math.sqrt(b * b + 4 * 0.0006 * 3.4)) / 0.0012
    assert pedal_acceleration(top, 1.0, 0.0, PARAMETERS) == pytest.approx(0.0, abs=1e-12)
    assert top < VehicleModel().top_speed


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 1.0), st.floats(0.01, 0.5))
def test_lag_is_exact_however_time_is_cut(value, command, lag, seconds):
    once = lagged(value, command, lag, seconds)
    assert once == pytest.approx(lagged(lagged(value, command, lag, seconds / 2), command, lag, seconds / 2), abs=1e-12)
    assert lagged(value, command, lag, lag) - command == pytest.approx((value - command) / math.e)
    assert lagged(value, command, 0.0, seconds) == command
