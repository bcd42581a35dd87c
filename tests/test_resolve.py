"""Names to objects: every way to name one, and what a wrong name is answered with."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from vlarl.errors import MissingExtraError, NameNotFoundError, UserError, nearest, unknown_name
from vlarl.extras import missing_extra
from vlarl.file_modules import load_file
from vlarl.resolve import (
    docstring_summary,
    find_config_class,
    get_attribute,
    list_modules,
    list_names,
    resolve,
)


def test_a_module_a_path_and_a_bare_name_give_the_same_object():
    by_name = resolve("toy", "envs", "ToyConfig")
    assert by_name is resolve("envs.toy:ToyConfig", "envs")
    assert by_name.__name__ == "ToyConfig"
    assert resolve("envs.toy:ToyConfig.make", "envs") is by_name.make
    assert resolve("toy", "envs").__name__ == "envs.toy"


def test_a_file_anywhere_on_disk(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text('"""Mine."""\nclass Outer:\n    class Inner:\n        value = 7\n')
    assert resolve(f"{file}:Outer.Inner", "rewards").value == 7
    assert load_file(file) is load_file(str(file))


def test_objects_of_a_file_reach_other_processes(tmp_path):
    """What the worker pool does with an environment that a user keeps outside the tree."""
    file = tmp_path / "my_env.py"
    file.write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass MyConfig:\n    speed: float = 1.0\n"
    )
    payload = pickle.dumps(load_file(file).MyConfig(speed=2.5)).hex()
    script = f"import pickle, vlarl.file_modules; print(pickle.loads(bytes.fromhex('{payload}')).speed)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2.5", done.stderr


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("toi", "envs", "Did you mean 'toy'?"),
        ("toy:ToyConfg", "envs", "Did you mean 'ToyConfig'?"),
        ("vlarl.fils:x", "envs", "Did you mean 'vlarl.files'?"),
        ("nowhere/env.py:X", "envs", "no file"),
        ("toy", "env", "Did you mean 'envs'?"),
        ("grpp", "objectives", "Did you mean 'grpo'?"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name, kind, says):
    with pytest.raises(NameNotFoundError) as caught:
        resolve(name, kind)
    assert says in str(caught.value)


def test_a_wrong_file_name_gets_the_nearest(tmp_path):
    (tmp_path / "robot.py").write_text("")
    with pytest.raises(NameNotFoundError, match=r"Did you mean .*robot\.py"):
        load_file(tmp_path / "robt.py")


def test_a_missing_extra_is_named_with_its_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "carla", None)  # as where it is not installed
    file = tmp_path / "needs_carla.py"
    file.write_text("import carla\n")
    with pytest.raises(MissingExtraError, match=r"pip install .*\[carla-client\]"):
        load_file(file)
    assert "[ray]" in str(missing_extra("ray.util", "x"))


def test_an_error_inside_a_users_file_is_not_hidden(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import a_module_that_nobody_has\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        load_file(file)


def test_listing_shows_things_and_not_their_helpers():
    names = {kind: [item.name for item in list_names(kind)] for kind in ("policies", "rewards", "objectives", "envs")}
    assert "openvla_oft" in names["policies"]
    assert "action_tokens" not in names["policies"]
    assert {"toy", "libero"} <= set(names["envs"])
    assert "success" in names["rewards"]
    assert "grpo" in names["objectives"]
    assert all(item.summary for item in list_names("configs"))


def test_listing_imports_nothing():
    script = (
        "import sys; from vlarl.resolve import PACKAGES, list_names\n"
        "for kind in PACKAGES: list_names(kind)\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in {'torch', 'numpy', 'mujoco', 'envs', 'configs'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_new_file_is_a_new_name(tmp_path, monkeypatch):
    package = tmp_path / "configs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text('"""My experiment."""\n\n\ndef config():\n    return 1\n')
    (package / "_hidden.py").write_text("def config(): ...")
    (package / "helper.py").write_text("def other(): ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [(item.name, item.summary) for item in list_names("configs")] == [("mine", "My experiment.")]
    assert [item.name for item in list_modules("configs")] == ["helper", "mine"]


def test_docstring_of_a_broken_file_is_empty(tmp_path):
    (tmp_path / "x.py").write_text("def broken(:")
    assert docstring_summary(tmp_path / "x.py") == ""
    assert docstring_summary(tmp_path / "missing.py") == ""


def test_config_class_is_found_by_what_it_does():
    assert find_config_class(resolve("toy", "envs"), "make").__name__ == "ToyConfig"
    with pytest.raises(NameNotFoundError, match="found none"):
        find_config_class(resolve("grpo", "objectives"), "make")


def test_nearest_ignores_case_and_dashes():
    assert nearest("Libero-Object", ["libero_object", "libero_goal"]) == "libero_object"
    assert nearest("zzz", ["libero_object"]) is None
    assert "There are none." in unknown_name("thing", "x", [])


def test_attribute_errors_list_what_a_module_defines(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("import os\nfrom pathlib import Path\nclass Policy: ...\n")
    with pytest.raises(UserError) as caught:
        get_attribute(load_file(file), "Polcy")
    assert "There are: Policy." in str(caught.value)
