"""Compiling whole maps: damaged ones, the cache, CARLA's towns."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.driving.errors import MapError
from envs.driving.maps import map_compiler
from envs.driving.maps.map_compiler import compile_map, load_map
from envs.driving.maps.map_generator import shipped_map
from envs.driving.maps.opendrive import parse_opendrive, read_opendrive
from tests.support.maps import compiled, lane, opendrive, road, seams, section, town

ROUNDABOUT = shipped_map("roundabout").read_text().splitlines()


ATTRIBUTES = [
    (number, match.span(1)) for number, line in enumerate(ROUNDABOUT) for match in re.finditer(r'\w="([^"]*)"', line)
]


VALUES = ["", "x", "-1", "0", "1e308", "-1e308", "nan", "999999", "1e-300", "0.5", "road", "9" * 20]


@settings(max_examples=150)
@given(st.sampled_from(ATTRIBUTES), st.sampled_from(VALUES))
def test_a_file_with_any_value_damaged_compiles_or_is_refused_with_its_place(place, value):
    number, (start, end) = place
    line = ROUNDABOUT[number]
    lines = [*ROUNDABOUT[:number], line[:start] + value + line[end:], *ROUNDABOUT[number + 1 :]]
    try:
        graph = compile_map(parse_opendrive("\n".join(lines).encode(), "damaged.xodr"))
    except MapError as error:
        assert "damaged.xodr, line " in str(error)
    else:
        for name in ("points", "heading", "arc", "width", "elevation", "speed_limit", "left_edge", "right_edge"):
            assert np.all(np.isfinite(getattr(graph, name))), name


def test_a_map_without_drivable_lanes_is_refused():
    with pytest.raises(MapError, match=r"no drivable lane; lane types found: none, sidewalk"):
        compiled(road(lanes=section(lane(-1, kind="sidewalk"))))


def test_ids_that_are_no_numbers_become_places_in_the_file():
    graph = compiled(road("north"), road("south"))
    assert graph.lane_key[:, 0].tolist() == [0, 1]


def test_the_cache_knows_every_module_of_the_compiler():
    """All that ``map_compiler`` imports from its folder, directly or not, except the classes of errors."""
    folder = Path(map_compiler.__file__).parent
    found, waiting = set(), ["map_compiler"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            pattern = rf"^from {re.escape(map_compiler.__package__)}\.(\w+) import"
            waiting += re.findall(pattern, (folder / f"{name}.py").read_text(), re.MULTILINE)
    assert found - {"errors"} == set(map_compiler.COMPILER)


def test_compiled_maps_are_kept_by_content(tmp_path, monkeypatch):
    path, cache = tmp_path / "a.xodr", tmp_path / "cache"
    path.write_bytes(opendrive(road(1, 10.0)))
    first = load_map(path, cache)
    (kept,) = cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(map_compiler, "compile_map", lambda _: pytest.fail("compiled again"))
        assert load_map(path, cache).points.tolist() == first.points.tolist()
    path.write_bytes(opendrive(road(1, 20.0)))
    assert load_map(path, cache).length.tolist() == [20.0]
    assert len(list(cache.iterdir())) == 2
    path.write_bytes(opendrive(road(1, 10.0)))
    kept.write_bytes(kept.read_bytes()[:100])
    assert load_map(path, cache).length.tolist() == [10.0], "a damaged one is made anew"
    assert load_map(path, tmp_path / "a.xodr" / "no folder").length.tolist() == [10.0], "nowhere to write"


@pytest.mark.parametrize(
    ("name", "lights", "crosswalks", "ends"),
    [
        ("Town01", 36, 0, 0),
        ("Town02", 24, 0, 0),
        ("Town03-nosignals", 0, 0, 2),
        ("Town05-nosignals", 0, 0, 0),
        ("Town06", 66, 14, 1),
        ("Town10HD", 32, 16, 0),
    ],
)
def test_a_carla_town_is_whole(name, lights, crosswalks, ends):
    """Lanes lead on seamlessly and straight, slivers or not; every light has a phase of a junction."""
    graph = compile_map(read_opendrive(town(name)))
    assert np.count_nonzero(np.diff(graph.successor_start) == 0) == ends
    gap, turn = seams(graph)
    assert gap.max() < 0.002
    assert turn.max() < 0.001
    assert np.max(np.diff(graph.arc)[np.diff(graph.arc) > 0]) <= 1.0
    assert np.count_nonzero(graph.stop_kind == 0) == lights
    assert np.all(graph.junction[graph.stop_lane] == -1)
    assert np.all(graph.stop_junction >= 0)
    assert np.all((graph.stop_group >= 0) == (graph.stop_kind == 0))
    assert len(graph.crosswalk_start) - 1 == crosswalks
