"""Saving, loading and checking compiled maps; places on lanes."""

import dataclasses

import numpy as np
import pytest

from envs.driving.errors import MapError
from envs.driving.maps.lane_graph import LaneGraph, check, from_file, ragged, to_bytes
from envs.driving.maps.map_compiler import load_map
from envs.driving.maps.map_generator import shipped_map
from tests.support.maps import compiled, lane, road, section


@pytest.fixture(scope="module")
def town(tmp_path_factory) -> LaneGraph:
    return load_map(shipped_map("grid_town"), tmp_path_factory.mktemp("cache"))


def test_saving_and_loading_keeps_every_bit(town, tmp_path):
    path = tmp_path / "town.npz"
    path.write_bytes(to_bytes(town))
    loaded = from_file(path)
    for field in dataclasses.fields(LaneGraph):
        before, after = getattr(town, field.name), getattr(loaded, field.name)
        assert before.dtype == after.dtype, field.name
        np.testing.assert_array_equal(before, after, err_msg=field.name)


def test_what_is_no_compiled_map_is_refused(tmp_path, town):
    path = tmp_path / "town.npz"
    for content in (b"", b"PK\x03\x04 nothing", to_bytes(town)[:5000]):
        path.write_bytes(content)
        with pytest.raises(MapError, match="is no compiled map"):
            from_file(path)
    np.savez(path, points=np.zeros((2, 2)))
    with pytest.raises(MapError, match="is no compiled map"):
        from_file(path)
    with path.open("wb") as stream:
        np.savez(stream, **{f.name: np.array([object()]) for f in dataclasses.fields(LaneGraph)}, allow_pickle=True)
    with pytest.raises(MapError, match="is no compiled map"):
        from_file(path)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("points", lambda a: a.astype(np.float32)),
        ("heading", lambda a: a[:-1]),
        ("junction", lambda a: a[:-1]),
        ("stop_arc", lambda a: a[:-1]),
        ("lane_start", lambda a: a + 1),
        ("lane_start", lambda a: np.concatenate([a[:1], a[:1], a[2:]])),
        ("successor_start", lambda a: a[:-1]),
        ("crosswalk_start", lambda a: a[:-1]),
        ("successors", lambda a: a + 1000),
        ("left", lambda a: a - 2),
        ("stop_lane", lambda a: a - 1000),
    ],
)
def test_arrays_that_do_not_fit_are_refused(town, field, change):
    with pytest.raises(MapError, match=f"damaged '{field}'"):
        check(dataclasses.replace(town, **{field: change(getattr(town, field))}), "town")


def test_places_on_a_lane():
    graph = compiled(road(1, 10.0, section("", lane(1))))
    assert graph.place(0, 2.5) == pytest.approx((7.5, 1.75, np.pi))
    assert graph.place(0, 99.0) == pytest.approx((0.0, 1.75, np.pi))


def test_a_key_that_is_not_there_gets_those_that_are():
    graph = compiled(road(1, 10.0))
    with pytest.raises(MapError, match=r"road 1, section 0, lane 1; \(section, lane\) on that road: \[\(0, -1\)\]"):
        graph.lane_by_key(1, 0, 1)


def test_ragged_lists():
    start, values = ragged([[3, 1], [], [2]])
    assert start.tolist() == [0, 2, 2, 3]
    assert values.tolist() == [3, 1, 2]
    assert start.dtype == values.dtype == np.int32
