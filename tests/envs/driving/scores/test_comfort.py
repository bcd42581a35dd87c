"""Comfort: the filters by hand, which bounds a drive breaks, and for how much of its time."""

import numpy as np
import pytest
from scipy.signal import savgol_filter

from envs.driving.scores.comfort import BOUNDS, HISTORY, LEAST_HISTORY, Comfort, last_value_weights
from envs.driving.world.route_driver import pedal_for
from envs.driving.world.start import Start
from envs.driving.world.world import DrivingWorlds
from tests.envs.driving.small_maps import straight_road


@pytest.mark.parametrize("count", [8, 11, HISTORY])
def test_filters_are_exact_for_what_they_fit(count):
    """A parabola is its own smoothed value; slopes and bends come out at the newest sample.

    The smoothing window is even, as in the release, which shifts all but the last samples by half a step: the slope of
    the smoothed series is compared with the filters applied one after the other.
    """
    time = 0.1 * np.arange(HISTORY)
    weights = last_value_weights(count, 0.1)
    assert weights[:, : HISTORY - count] == pytest.approx(0.0)
    series = 3.0 - 2.0 * time + 0.7 * time**2
    last = time[-1]
    assert weights[0] @ series == pytest.approx(series[-1])
    smooth = savgol_filter(series[HISTORY - count :], 8, 2)
    assert weights[1] @ series == pytest.approx(savgol_filter(smooth, count, 2, deriv=1, delta=0.1)[-1])
    assert weights[2] @ series == pytest.approx(-2.0 + 1.4 * last)
    assert weights[3] @ (series + time**3) == pytest.approx(1.4 + 6.0 * last)


def judged_worlds():
    worlds = DrivingWorlds(straight_road(), worlds=2, actors=1)
    worlds.reset({w: Start(seed=w, route=(0,), first_arc=10.0, last_arc=390.0, speed=12.0) for w in range(2)})
    return worlds, Comfort(worlds)


def test_shares_of_time_within_the_bounds():
    """World 0 cruises; world 1 brakes with all it has from step 11 to 15 and then stands."""
    worlds, comfort = judged_worlds()
    broken = []
    for step in range(60):
        pedals = [pedal_for(0.0, float(worlds.actors["speed"][0, 0]), worlds.parameters)]
        pedals.append(pedals[0] if step < 10 else -1.0)
        worlds.step(np.column_stack([np.zeros(2), pedals]))
        broken.append(comfort.broken())
    assert comfort.judged.tolist() == [61 - LEAST_HISTORY] * 2
    assert not np.array(broken)[: LEAST_HISTORY - 1].any()
    shares = comfort.shares()
    assert list(shares) == [*BOUNDS, "all"]
    assert {name: share[0] for name, share in shares.items()} == dict.fromkeys(shares, 1.0)
    for bound, name in enumerate(BOUNDS):
        assert shares[name][1] == pytest.approx(1.0 - np.array(broken)[:, 1, bound].sum() / comfort.judged[1])
    assert shares["longitudinal_acceleration"][1] < 1.0
    assert shares["longitudinal_jerk"][1] < 1.0
    assert shares["lateral_acceleration"][1] == shares["yaw_rate"][1] == 1.0
    assert shares["all"][1] <= min(shares[name][1] for name in BOUNDS)


def test_a_world_that_is_reset_begins_anew():
    worlds, comfort = judged_worlds()
    for _ in range(20):
        worlds.step(np.array([[0.0, 0.0], [0.0, -1.0]]))
        comfort.broken()
    kept = comfort.kept.copy()
    comfort.reset([1])
    assert comfort.judged.tolist() == [21 - LEAST_HISTORY, 0]
    assert comfort.kept[0].tolist() == kept[0].tolist()
    assert [share[1] for share in comfort.shares().values()] == [1.0] * 7


def test_a_failed_world_is_not_judged():
    worlds, comfort = judged_worlds()
    for step in range(20):
        worlds.step(np.array([[0.0, 0.0], [np.nan if step == 9 else 0.0, 0.0]]))
        comfort.broken()
    assert comfort.judged.tolist() == [21 - LEAST_HISTORY, 10 - LEAST_HISTORY]
