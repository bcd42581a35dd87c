"""The cache of kernels: dropped for what changed and for whatever uses it, kept for the rest."""

from envs.driving.compiled import drop_stale_cache


def test_only_what_depends_on_a_change_is_dropped(tmp_path):
    for name, text in {
        "a": "x = 1\n",
        "b": "from envs.driving.a import x\n",
        "c": "from envs.driving.b import x\n",
        "d": "y = 2\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert sorted(drop_stale_cache(tmp_path)) == ["a", "b", "c", "d"]
    cache = tmp_path / "__pycache__"
    for name in "abcd":
        (cache / f"{name}.kernel-3.py311.nbi").write_text("")
        (cache / f"{name}.kernel-3.py311.1.nbc").write_text("")
    assert drop_stale_cache(tmp_path) == []
    (tmp_path / "a.py").write_text("x = 3\n")
    assert sorted(drop_stale_cache(tmp_path)) == ["a", "b", "c"]
    assert sorted(path.name for path in cache.glob("*.nb?")) == ["d.kernel-3.py311.1.nbc", "d.kernel-3.py311.nbi"]
    assert drop_stale_cache(tmp_path) == []


def test_modules_in_folders_and_imported_as_such_count_too(tmp_path):
    (tmp_path / "inner").mkdir()
    for name, text in {
        "inner/a": "x = 1\n",
        "inner/b": "from envs.driving.inner import a\n",
        "c": "from envs.driving.inner.b import (\n    x,\n    y,\n)\n",
        "d": "from envs.driving import e as other\n",
        "e": "z = 1\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert len(drop_stale_cache(tmp_path)) == 5
    cache = tmp_path / "inner" / "__pycache__"
    cache.mkdir()
    (cache / "b.kernel-3.py311.nbi").write_text("")
    (tmp_path / "e.py").write_text("z = 2\n")
    assert sorted(drop_stale_cache(tmp_path)) == ["d", "e"]
    assert len(list(cache.iterdir())) == 1
    (tmp_path / "inner" / "a.py").write_text("x = 2\n")
    assert sorted(drop_stale_cache(tmp_path)) == ["c", "inner/a", "inner/b"]
    assert not list(cache.iterdir())
