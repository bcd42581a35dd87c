"""Leaderboard scores by hand."""

import numpy as np
import pytest

from envs.driving.scores.scores import driving_score, infraction_penalty, infractions_per_km, route_completion
from envs.driving.world.records import EVENTS, WORLD


def worlds(**counts):
    records = np.zeros(2, WORLD)
    records["route_length"], records["route_arc"], records["distance"] = 400.0, 300.0, 250.0
    for name, value in counts.items():
        records["counts"][0, EVENTS.index(name)] = value
    return records


def test_completion_leaves_out_what_was_driven_outside():
    records = worlds()
    records["outside_arc"] = [0.0, 100.0]
    assert route_completion(records) == pytest.approx([75.0, 50.0])


def test_arrival_completes_the_route():
    records = worlds(route_completed=1)
    records["route_arc"] = 399.2
    assert route_completion(records) == pytest.approx([100.0, 99.8])


def test_score_is_completion_times_every_penalty():
    """Two vehicles, one pedestrian, one red light: 0.6^2 * 0.5 * 0.7."""
    records = worlds(collision_vehicle=2, collision_pedestrian=1, red_light=1, lane_invasion=9)
    assert infraction_penalty(records) == pytest.approx([0.126, 1.0])
    assert driving_score(records) == pytest.approx([75 * 0.126, 75.0])
    both = infraction_penalty(worlds(collision_static=1, stop_sign=1))
    assert both[0] == pytest.approx(0.65 * 0.8)


def test_infractions_per_kilometre():
    rates = infractions_per_km(worlds(red_light=1, lane_invasion=3, route_completed=1))
    assert rates["red_light"] == pytest.approx(2.0)
    assert rates["lane_invasion"] == pytest.approx(6.0)
    assert rates["blocked"] == 0.0
    assert "route_completed" not in rates
    assert infractions_per_km(np.zeros(1, WORLD))["red_light"] == 0.0


def test_worlds_that_were_never_started_score_nothing():
    assert driving_score(np.zeros(1, WORLD)).tolist() == [0.0]
