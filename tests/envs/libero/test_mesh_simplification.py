"""Simplified meshes: shapes, normals and colours against what is known by hand, and the cache on disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.libero import mesh_cache
from envs.libero.mesh_simplification import (
    Surface,
    draw_samples,
    face_areas,
    face_normals,
    mean_distance,
    simplify_positions,
    weld,
)
from envs.libero.surface_transfer import chart_numbers, look_up, simplify

pytestmark = pytest.mark.libero


def sphere(rows: int = 60, radius: float = 0.05) -> Surface:
    """Loose triangles of a sphere [m] with exact normals; textured by its longitude and latitude."""
    latitude, longitude = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, 2 * rows), indexing="ij")
    normals = np.stack(
        [np.sin(latitude) * np.cos(longitude), np.sin(latitude) * np.sin(longitude), np.cos(latitude)], axis=-1
    ).reshape(-1, 3)
    coordinates = np.stack([longitude / (2 * np.pi), latitude / np.pi], axis=-1).reshape(-1, 2)
    number = np.arange(2 * rows * rows).reshape(rows, 2 * rows)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    faces = faces[face_areas(radius * normals[faces]) > 1e-12]
    return Surface(
        points=radius * normals[faces], normals=normals[faces], texture_coordinates=coordinates[faces] * 0.999
    )


def square(faces_per_side: int = 20, side: float = 0.1) -> Surface:
    """A flat square whose left half is textured from the texture's lower half and whose right half from its upper."""
    ticks = np.linspace(0.0, 1.0, faces_per_side + 1)
    x, y = (v[:-1, :-1].reshape(-1) for v in np.meshgrid(ticks, ticks, indexing="ij"))
    step = 1.0 / faces_per_side
    lower = np.stack([np.stack([x, y], -1), np.stack([x + step, y], -1), np.stack([x + step, y + step], -1)], axis=1)
    upper = np.stack([np.stack([x, y], -1), np.stack([x + step, y + step], -1), np.stack([x, y + step], -1)], axis=1)
    plane = np.concatenate([lower, upper])
    right = plane[:, :, 0].mean(axis=1) > 0.5
    coordinates = plane.copy()
    coordinates[~right, :, 1] *= 0.4
    coordinates[right, :, 1] = 0.6 + 0.4 * coordinates[right, :, 1]
    points = np.concatenate([plane * side, np.zeros((*plane.shape[:2], 1))], axis=2)
    normals = np.zeros_like(points)
    normals[..., 2] = 1.0
    return Surface(points=points, normals=normals, texture_coordinates=coordinates)


def test_sphere_keeps_its_shape_and_shading_within_the_tolerance():
    original = sphere()
    for tolerance in (0.002, 0.0005):
        found = simplify(original, tolerance, most_faces=5000)
        assert found is not None
        assert len(found.points) < len(original.points) / 5
        assert mean_distance(original.points, found.points) <= tolerance
        radii = np.linalg.norm(found.points, axis=2)
        assert np.abs(radii - 0.05).max() < 6 * tolerance
        exact = found.points / radii[..., None]
        aligned = np.einsum("fck,fck->fc", found.normals, exact).mean(axis=1)
        assert np.average(aligned, weights=face_areas(found.points)) > np.cos(np.deg2rad(15))


def test_a_finer_tolerance_takes_more_faces_and_the_limit_holds():
    points = sphere().points
    sizes = [len(simplify_positions(points, tolerance, 5000)) for tolerance in (0.003, 0.001, 0.0003)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    assert len(simplify_positions(points, 1e-7, 500)) <= 500


def test_a_lost_border_counts_as_distance():
    whole = square().points
    inner = whole[(whole[:, :, :2].min(axis=(1, 2)) > 0.019) & (whole[:, :, :2].max(axis=(1, 2)) < 0.081)]
    assert mean_distance(whole, whole) < 1e-9
    # 64 % of the square are border, on average about 9 mm from what is left.
    assert 0.004 < mean_distance(whole, inner) < 0.008


def test_what_cannot_be_simplified_is_left_alone():
    assert simplify(sphere(rows=5), 1e-7, most_faces=5000) is None


def test_flat_square_of_two_charts_shows_the_right_colours():
    texture = np.zeros((100, 100, 3), dtype=np.uint8)
    texture[:40, :, 0] = 200  # lower chart red, upper chart blue, black in between
    texture[60:, :, 2] = 200
    original = square()
    plain = simplify(original, 0.0005, most_faces=600)
    found = simplify(original, 0.0005, most_faces=600, texture=texture)
    assert plain is not None and found is not None
    assert len(plain.points) < len(found.points) <= 600

    def wrong_share(surface: Surface) -> float:
        face, weights = draw_samples(surface.points, 5000)
        where = np.einsum("nc,nck->nk", weights, surface.points[face])
        coordinates = np.einsum("nc,nck->nk", weights, surface.texture_coordinates[face])
        colour = look_up(texture, coordinates)
        expected = np.where(where[:, :1] < 0.05, [200, 0, 0], [0, 0, 200])
        return float((np.abs(colour - expected).max(axis=1) > 10).mean())

    assert wrong_share(plain) > 0.1
    assert wrong_share(found) < 0.05
    assert face_areas(found.points).sum() == pytest.approx(0.01, rel=0.12)  # halves cover their whole
    assert set(np.sign(face_normals(found.points)[:, 2])) == {1.0}


def test_charts_are_counted_by_hand():
    surface = square(faces_per_side=4)
    chart = chart_numbers(surface.points, surface.texture_coordinates)
    assert len(set(chart)) == 2
    right = surface.points[:, :, 0].mean(axis=1) > 0.05
    assert len(set(chart[right])) == 1 and len(set(chart[~right])) == 1


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30))
def test_welding_undoes_itself(values):
    rows = np.array(values, dtype=float)[:, None] * 1e-3
    distinct, index = weld(rows)
    np.testing.assert_allclose(distinct[index], rows, atol=1e-9)
    assert len(distinct) == len(set(values))


def test_cache_returns_the_same_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []
    monkeypatch.setattr(mesh_cache, "simplify", lambda *a: (calls.append(1), simplify(*a))[1])
    original, texture = square(), np.full((4, 4, 3), 7, dtype=np.uint8)
    first = mesh_cache.simplify_once(original, 0.001, 500, texture)
    again = mesh_cache.simplify_once(original, 0.001, 500, texture)
    assert len(calls) == 1
    for name in ("points", "normals", "texture_coordinates"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    mesh_cache.simplify_once(original, 0.002, 500, texture)
    mesh_cache.simplify_once(original, 0.001, 500, texture + np.uint8(1))
    assert len(calls) == 3  # another tolerance, another texture
    (path, *_) = sorted((tmp_path / "vlarl" / "meshes").iterdir())
    for damage in (b"", path.read_bytes()[:-30], b"not a zip file"):
        for file in (tmp_path / "vlarl" / "meshes").iterdir():
            file.write_bytes(damage)
        np.testing.assert_array_equal(mesh_cache.simplify_once(original, 0.001, 500, texture).points, first.points)
    assert len(calls) == 6
    unchanged = sphere(rows=5)
    for _ in range(2):
        assert mesh_cache.simplify_once(unchanged, 1e-7, 5000, None) is None
    assert len(calls) == 7  # that nothing is gained is remembered too


def test_cache_that_cannot_be_written_does_without(tmp_path, monkeypatch):
    (tmp_path / "vlarl").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mesh_cache.simplify_once(square(), 0.001, 500, None) is not None
