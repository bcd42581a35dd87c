"""Our own maps: shipped as generated, whole, and with what each is for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from envs.driving.maps.generated_grid import grid_town
from envs.driving.maps.lane_graph import EDGE_SOLID
from envs.driving.maps.map_compiler import compile_map
from envs.driving.maps.map_generator import FOLDER, MAPS, make_maps, shipped_map
from envs.driving.maps.map_pen import Pen, Pose
from envs.driving.maps.opendrive import parse_opendrive, read_opendrive
from tests.support.maps import seams
from vlarl.errors import NameNotFoundError

GRAPHS = {name: compile_map(read_opendrive(shipped_map(name))) for name in MAPS}


def test_the_shipped_maps_are_the_generated_ones_byte_for_byte(tmp_path):
    paths = make_maps(tmp_path)
    assert {path.name for path in FOLDER.glob("*.xodr")} == {path.name for path in paths}
    for path in paths:
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), f"{path.name}: run tools/make_maps.py"


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_seamless_and_no_lane_is_cut_off(name):
    graph = GRAPHS[name]
    gap, turn = seams(graph)
    assert gap.max() < 1e-5
    assert turn.max() < 0.02  # a lane whose width begins to change turns by half its slope
    source = np.repeat(np.arange(graph.lanes), np.diff(graph.successor_start))
    ways = np.zeros((graph.lanes, graph.lanes))
    ways[source, graph.successors] = 1
    for lane in range(graph.lanes):
        for side, other in enumerate((graph.left[lane], graph.right[lane])):
            if other >= 0 and np.any(graph.edge_kind[graph.lane_points(lane), side] != EDGE_SOLID):
                ways[lane, other] = 1
    # Nowhere on the winding road can one turn round.
    assert connected_components(csr_matrix(ways), connection="strong")[0] == (2 if name == "winding_road" else 1)
    assert np.all(np.diff(graph.successor_start) > 0), "no lane ends"


@pytest.mark.parametrize("name", MAPS)
def test_bends_can_be_driven(name):
    """No lane is bent tighter than a car turns: 6 m."""
    graph = GRAPHS[name]
    for lane in range(graph.lanes):
        part = graph.lane_points(lane)
        bend = np.diff(np.unwrap(graph.heading[part])) / np.diff(graph.arc[part])
        assert np.max(np.abs(bend)) < 1 / 6.0


@pytest.mark.parametrize("name", MAPS)
def test_neighbours_and_conflicts_go_both_ways(name):
    graph = GRAPHS[name]
    for lane in range(graph.lanes):
        for there, back in ((graph.left, graph.right), (graph.right, graph.left), (graph.opposite, graph.opposite)):
            assert there[lane] < 0 or back[there[lane]] == lane
        for other in graph.conflicts_of(lane):
            assert lane in graph.conflicts_of(other)
            assert other != lane
            assert graph.junction[other] == graph.junction[lane] >= 0


def test_the_grid_town_has_lights_stop_signs_and_crosswalks():
    """4 x 3 junctions: 4 with lights, 4 with signs for their north-south streets, 4 corners with neither."""
    graph = GRAPHS["grid_town"]
    lights = graph.stop_kind == 0
    phases = {
        int(j): sorted(graph.stop_group[lights & (graph.stop_junction == j)]) for j in graph.stop_junction[lights]
    }
    approaches = [len(set(groups)) for groups in phases.values()]
    assert sorted(approaches) == [3, 3, 3, 4]
    assert all(set(groups) == set(range(max(groups) + 1)) for groups in phases.values())
    assert np.count_nonzero(~lights) == 2 + 2 + 1 + 1
    assert np.all(graph.junction[graph.stop_lane] == -1)
    left = graph.length[graph.stop_lane] - graph.stop_arc
    np.testing.assert_allclose(left, 5.0, atol=1e-4)
    assert len(graph.crosswalk_start) - 1 == 6 * 3 + 2 * 4
    # Four-lane avenue: a crosswalk reaches from one sidewalk's far edge to the other's.
    spans = [np.ptp(graph.crosswalk(number), axis=0).max() for number in range(len(graph.crosswalk_start) - 1)]
    assert sorted({round(span, 3) for span in spans}) == [2 * (3.5 + 2), 2 * (7 + 2)]


def test_left_turns_conflict_with_oncoming_traffic_and_right_turns_with_who_they_merge_with():
    graph = GRAPHS["grid_town"]
    inside = np.flatnonzero(graph.junction >= 0)
    sharp = [lane for lane in inside if abs(np.ptp(np.unwrap(graph.heading[graph.lane_points(lane)]))) > 1.5]
    for lane in sharp:
        merging = [o for o in inside if o != lane and set(graph.successors_of(o)) & set(graph.successors_of(lane))]
        assert set(merging) <= set(graph.conflicts_of(lane).tolist())


def test_who_is_in_whose_way_at_a_crossing():
    """At the town's four-way crossings: crossing streets conflict, oncoming straight traffic does not."""
    graph = GRAPHS["grid_town"]
    inside = np.flatnonzero(graph.junction >= 0)
    straight = [lane for lane in inside if np.ptp(graph.heading[graph.lane_points(lane)]) < 1e-6]
    crossings = 0
    for lane in straight:
        for other in straight:
            if other == lane or graph.junction[lane] != graph.junction[other]:
                continue
            turn = graph.heading[graph.lane_start[other]] - graph.heading[graph.lane_start[lane]]
            across = abs(np.sin(turn)) > 0.5
            assert (other in graph.conflicts_of(lane)) == across
            crossings += across
    # Two four-way crossings: two street lanes across four avenue lanes, counted from both sides.
    assert crossings == 2 * 2 * 2 * 4


def test_the_motorway_opens_an_exit_lane_and_merges_the_entry():
    graph = GRAPHS["ring_road"]
    opening = [lane for lane in range(graph.lanes) if graph.width[graph.lane_start[lane]] == 0]
    assert len(opening) == 2
    for lane in opening:
        assert graph.width[graph.lane_start[lane + 1] - 1] == pytest.approx(3.6)
        assert len(graph.predecessors_of(lane)) == 0
        assert graph.left[lane] >= 0
    assert np.unique(np.round(graph.speed_limit * 3.6)).tolist() == [50, 60, 100]


def test_the_winding_road_climbs_and_bends():
    graph = GRAPHS["winding_road"]
    assert np.ptp(graph.elevation) == pytest.approx(12.0, abs=0.1)
    slope = np.concatenate(
        [np.diff(graph.elevation[p]) / np.diff(graph.arc[p]) for p in map(graph.lane_points, range(graph.lanes))]
    )
    assert 0.02 < np.abs(slope).max() < 0.12
    assert np.all(graph.junction == -1)
    assert {tuple(pair) for pair in graph.edge_kind.tolist()} == {(1, 2), (2, 2)}


def test_a_town_of_another_size():
    graph = compile_map(parse_opendrive(grid_town(2, 2, block=60.0).encode(), "small.xodr"))
    assert seams(graph)[0].max() < 1e-5
    assert len(graph.stop_lane) == 0, "four corners, nothing to regulate"


def test_a_misspelt_map_gets_the_nearest_name():
    with pytest.raises(NameNotFoundError, match=r"Did you mean 'roundabout'\?"):
        shipped_map("rounabout")


poses = st.builds(Pose, st.floats(-50, 50), st.floats(-50, 50), st.floats(-3, 3))


@given(poses, st.floats(5, 60), st.floats(5, 60), st.floats(0.2, 2.8), st.sampled_from([-1, 1]))
def test_a_turn_ends_at_its_target(start, before, after, angle, side):
    """From ``start`` straight on to a corner, there turn, straight on: the target of a line, an arc and a line."""
    target = start.ahead(before).turned(side * angle).ahead(after)
    end = Pen(start).turn_to(target).pose
    assert math.dist((end.x, end.y), (target.x, target.y)) < 1e-6
    assert math.cos(end.heading - target.heading) > 1 - 1e-12


@given(poses, st.floats(10, 60), st.floats(-20, 20), st.floats(-1, 1))
def test_a_cubic_ends_at_its_target(start, ahead, aside, turn):
    target = start.ahead(ahead).left(aside).turned(turn)
    end = Pen(start).curve_to(target).pose
    assert math.dist((end.x, end.y), (target.x, target.y)) < 1e-6
    assert math.cos(end.heading - target.heading) > 1 - 1e-12


@pytest.mark.parametrize(("target", "told"), [(Pose(9, 3, 0), "parallel"), (Pose(-9, -9, 1.5), "behind")])
def test_turns_that_cannot_be_drawn_are_refused(target, told):
    with pytest.raises(ValueError, match=told):
        Pen(Pose(0, 0, 0)).turn_to(target)
