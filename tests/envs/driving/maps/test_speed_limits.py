"""Speed limits of lanes, roads and signs, and of lanes without any."""

import numpy as np
import pytest

from tests.support.junction_map import junction_with
from tests.support.maps import compiled, lane, road, section


def test_limits_pass_through_junctions():
    speed = '<type s="0"><speed max="36" unit="km/h"/></type>'
    graph = junction_with(road1=speed)
    np.testing.assert_allclose(graph.speed_limit, 10.0, rtol=1e-6)
    np.testing.assert_allclose(junction_with().speed_limit, 50 / 3.6, rtol=1e-6)
    # Backwards where nothing lies ahead of it: only the connecting road has a limit.
    graph = junction_with(road4=speed)
    limits = {int(key[0]): float(limit) for key, limit in zip(graph.lane_key, graph.speed_limit)}
    assert limits[1] == limits[2] == limits[4] == 10.0
    assert limits[5] == limits[3] == 10.0, "from the lane they come from, which got it backwards"


def test_speed_signs_hold_for_their_lanes_and_behind_them():
    """A sign at s = 20 for lane -1 and one at s = 50 for who comes the other way, on a road of 50 km/h."""
    signs = (
        '<signals><signal id="a" type="274" s="20" t="0" orientation="-" value="30">'
        '<validity fromLane="-1" toLane="-1"/></signal>'
        '<signal id="b" type="274" s="50" t="0" orientation="-" value="20" unit="mph"/></signals>'
    )
    kind = '<type s="0"><speed max="50" unit="km/h"/></type>'
    lanes = "".join(section(lane(-1), lane(1), s=s) for s in (0.0, 30.0, 60.0))
    graph = compiled(road(1, 90.0, lanes, extra=kind + signs))
    limits = {tuple(key[1:]): float(limit) for key, limit in zip(graph.lane_key.tolist(), graph.speed_limit * 3.6)}
    assert [limits[n, -1] for n in range(3)] == pytest.approx([50, 30, 30])
    assert [limits[n, 1] for n in range(3)] == pytest.approx([20 * 1.609344, 20 * 1.609344, 50], rel=1e-5)


def test_a_lanes_own_limit_counts_first():
    own = lane(-1).replace("</lane>", '<speed sOffset="0" max="36" unit="km/h"/></lane>')
    sign = '<signals><signal id="a" type="274" s="0" t="0" orientation="+" value="30"/></signals>'
    assert compiled(road(1, 20.0, section(own), extra=sign)).speed_limit.tolist() == [10.0]
