"""Suites, tasks and recorded initial states, read without building a simulator."""

import os
import subprocess
import sys

import pytest

from envs.libero import LiberoConfig, suites
from vlarl.env_protocol import EnvError, UnknownTaskError


def test_standard_suites_have_their_tasks_states_and_horizons():
    expected = {"libero_spatial": (10, 220), "libero_object": (10, 280), "libero_goal": (10, 300)}
    expected |= {"libero_10": (10, 520), "libero_90": (90, 400)}
    for suite, (count, horizon) in expected.items():
        infos = suites.task_infos(suite)
        assert [info.task for info in infos] == list(range(count))
        assert {info.num_init_states for info in infos} == {50}
        assert {info.horizon for info in infos} == {horizon}


def test_task_order_and_sentences_are_liberos_own():
    from libero.libero import benchmark

    with suites.silence():
        tasks = benchmark.get_benchmark_dict()["libero_goal"]().tasks
    infos = suites.task_infos("libero_goal")
    assert [info.name for info in infos] == [task.name for task in tasks]
    assert [info.instruction for info in infos] == [task.language for task in tasks]
    assert infos[0].instruction == "open the middle drawer of the cabinet"


def test_perturbed_suites_use_the_base_suites_horizon_and_perturbed_sentences():
    assert suites.suite_horizon("libero_10_swap") == 520
    assert suites.suite_horizon("libero_object_lan") == 280
    plain, reworded = suites.task_info("libero_object", 0), suites.task_info("libero_object_lan", 0)
    assert reworded.instruction != plain.instruction
    assert "alphabet soup" in reworded.instruction
    assert suites.task_info("libero_object_swap", 0).instruction == plain.instruction


def test_horizon_can_be_simplevlas_or_a_number():
    assert LiberoConfig(horizon="simplevla").task_specs("libero_object")[0].horizon == 512
    assert LiberoConfig(horizon=77).task_specs("libero_object")[0].horizon == 77
    with pytest.raises(ValueError, match="positive"):
        LiberoConfig(horizon=0).task_specs("libero_object")


def test_unknown_names_get_the_nearest_and_the_list():
    with pytest.raises(UnknownTaskError, match="did you mean 'libero_object'.*libero_spatial"):
        suites.task_infos("libero_objct")
    with pytest.raises(UnknownTaskError, match="tasks 0..9, not 10; the nearest is 9.*alphabet_soup"):
        suites.task_info("libero_object", 10)
    with pytest.raises(UnknownTaskError, match="states 0..49, not 50"):
        suites.check_init_state("libero_object", 0, 50)


def test_registered_but_incomplete_suites_say_so():
    with pytest.raises(EnvError, match="libero_goal_env task 0 .* incomplete: .* lacks task definition"):
        suites.task_infos("libero_goal_env")
    assert suites.missing_parts("libero_goal_env", 0) == ["task definition", "initial states"]


def test_initial_states_cannot_be_changed_by_accident():
    states = suites.init_states("libero_object", 0)
    assert states.shape == (50, 110)
    with pytest.raises(ValueError, match="read-only"):
        states[0, 0] = 1.0


def test_listing_tasks_loads_no_simulator_and_prints_nothing():
    code = (
        "import sys; from envs.libero import LiberoConfig; LiberoConfig().task_specs('libero_90');"
        "assert not {'mujoco', 'robosuite', 'torch'} & set(sys.modules), 'too much was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("module", ["render", "simulator", "build"])
def test_whatever_is_imported_first_mujoco_draws_without_a_screen(module, tmp_path):
    words = f"import envs.libero.{module}, mujoco; print(mujoco.GLContext.__module__)"
    variables = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", words],
        capture_output=True,
        text=True,
        check=True,
        env=variables | {"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert done.stdout.split()[-1] == "mujoco.osmesa"
