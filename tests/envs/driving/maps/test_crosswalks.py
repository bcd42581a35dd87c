"""Outlines of crosswalks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.maps import compiled, road


@given(st.floats(-200, 200), st.floats(-50, 50), st.floats(-np.pi, np.pi), st.floats(2.0, 6.0))
def test_crosswalk_corners_turn_with_road_and_object(s_shift, t, turn, length):
    s = 50.0 + s_shift / 10
    thing = f'<object id="1" type="crosswalk" s="{s}" t="{t}" hdg="{turn}" length="{length}" width="3"/>'
    graph = compiled(road(1, 100.0, start=(5.0, -3.0, np.pi / 2), extra=f"<objects>{thing}</objects>"))
    corners = graph.crosswalk(0)
    np.testing.assert_allclose(corners.mean(axis=0), [5.0 - t, -3.0 + s], atol=1e-9)
    sides = np.diff(np.vstack([corners, corners[:1]]), axis=0)
    np.testing.assert_allclose(np.hypot(*sides.T), [length, 3, length, 3], atol=1e-9)
    along = np.array([np.cos(np.pi / 2 + turn), np.sin(np.pi / 2 + turn)])
    np.testing.assert_allclose(np.abs(sides[0] @ along), length, atol=1e-9)


def test_crosswalk_outlines_along_a_bend_and_closed_ones():
    """Corners given as s, t on a quarter circle of radius 20; a repeated first corner is dropped."""
    corners = "".join(f'<cornerRoad s="{s}" t="{t}"/>' for s, t in ((0, 2), (0, -2), (10 * np.pi, -2), (0, 2)))
    thing = f'<objects><object id="1" type="crosswalk" s="0" t="0"><outline>{corners}</outline></object></objects>'
    graph = compiled(road(1, 10 * np.pi, geometry='<arc curvature="0.05"/>', extra=thing))
    np.testing.assert_allclose(graph.crosswalk(0), [[0, 2], [0, -2], [22, 20]], atol=1e-9)
