"""The controller against sums done by hand."""

from __future__ import annotations

import pytest

from envs.carla.pid import REMEMBERED, Pid


def test_the_three_terms():
    pid = Pid(K_P=2.0, K_I=0.5, K_D=0.1, low=-10.0, high=10.0)
    assert pid.step(1.0, 0.5) == pytest.approx(2.0 * 1.0 + 0.5 * 1.0 * 0.5)
    assert pid.step(2.0, 0.5) == pytest.approx(2.0 * 2.0 + 0.5 * 3.0 * 0.5 + 0.1 * 2.0)


def test_it_is_bounded_and_does_not_wind_up():
    pid = Pid(K_P=1.0, K_I=1.0, low=-0.3, high=0.7)
    assert [pid.step(5.0, 0.1) for _ in range(1000)] == [0.7] * 1000
    left = [pid.step(0.0, 0.1) for _ in range(REMEMBERED)]
    assert left[-1] == 0.0, "an error that is over is forgotten"
    assert pid.step(-5.0, 0.1) == -0.3


def test_reset_forgets():
    pid = Pid(K_P=0.0, K_I=1.0, K_D=1.0, low=-10.0, high=10.0)
    pid.step(3.0, 0.1)
    pid.reset()
    assert pid.step(1.0, 0.1) == pytest.approx(0.1)


def test_time_has_to_pass():
    with pytest.raises(ValueError, match="more than 0"):
        Pid().step(1.0, 0.0)
