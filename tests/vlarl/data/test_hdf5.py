"""LIBERO and robomimic HDF5: upright, aligned, clear errors. The files are made here."""

import json

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vlarl.data import DataError, open_demonstrations
from vlarl.data.hdf5 import Hdf5Demonstrations, axis_angle


def images(steps, seed):
    return np.random.default_rng(seed).integers(0, 256, (steps, 6, 4, 3), dtype=np.uint8)


def write_demo(data, name, steps, rewards=True):
    """One LIBERO episode whose arrays count their rows."""
    demo = data.create_group(name)
    rows = np.arange(steps, dtype=np.float64)[:, None]
    demo["actions"] = rows + np.arange(7) / 10
    if rewards:
        demo["rewards"] = np.eye(steps, dtype=np.uint8)[-1]
    obs = demo.create_group("obs")
    obs["agentview_rgb"], obs["eye_in_hand_rgb"] = images(steps, 1), images(steps, 2)
    obs["ee_states"], obs["gripper_states"] = rows + np.arange(6), rows - 0.5 + np.zeros(2)
    obs["joint_states"] = np.zeros((steps, 7))
    return demo


@pytest.fixture
def libero_file(tmp_path):
    """Two episodes as LIBERO's create_dataset.py writes them."""
    path = tmp_path / "pick_up_the_soup_demo.hdf5"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["problem_info"] = json.dumps({"language_instruction": "pick up the soup"})
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["bddl_file_name"] = "libero/bddl_files/libero_object/pick_up_the_soup.bddl"
        for number in (10, 2):
            write_demo(data, f"demo_{number}", number + 3)
    return path


def test_libero_is_upright_and_aligned(libero_file):
    source = open_demonstrations(libero_file)
    assert isinstance(source, Hdf5Demonstrations)
    assert len(source) == 2
    first = source.read_episode(0)  # demo_2 comes before demo_10
    assert len(first) == 4  # 5 steps recorded; the first action has no observation before it
    np.testing.assert_array_equal(first.images["agentview"], images(5, 1)[:-1, ::-1])
    np.testing.assert_array_equal(first.images["wrist"], images(5, 2)[:-1, ::-1])
    np.testing.assert_allclose(first.state[2], [2, 3, 4, 5, 6, 7, 1.5, 1.5])  # seen after action 2, so before action 3
    np.testing.assert_allclose(first.actions[2], 3 + np.arange(7) / 10, rtol=1e-6)
    assert (first.instruction, first.suite, first.task, first.init_state) == (
        "pick up the soup",
        "libero_object",
        -1,
        -1,
    )
    assert first.succeeded
    summary = source.summary()
    assert (summary.episodes, summary.frames, summary.state_width, summary.fps) == (2, 4 + 12, 8, 20)
    assert [(t.suite, t.instruction, t.episodes) for t in summary.tasks] == [("libero_object", "pick up the soup", 2)]


def test_openvla_rerender_is_flipped_but_not_shifted(tmp_path):
    """Its files carry no attributes: the instruction comes from the name, and images are stored as rendered."""
    path = tmp_path / "libero_10" / "KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        write_demo(file.create_group("data"), "demo_0", 5, rewards=False)
    found = open_demonstrations(path.parent).read_episode(0)
    assert (found.instruction, found.suite, len(found)) == ("turn on the stove", "libero_10", 5)
    np.testing.assert_array_equal(found.images["agentview"], images(5, 1)[:, ::-1])
    np.testing.assert_allclose(found.state[2, 0], found.actions[2, 0])


def test_robomimic(tmp_path):
    path = tmp_path / "can.hdf5"
    quaternions = Rotation.random(5, random_state=0).as_quat()
    with h5py.File(path, "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"], demo["rewards"] = np.zeros((5, 7)), np.zeros(5)
        obs = demo.create_group("obs")
        obs["agentview_image"], obs["robot0_eye_in_hand_image"] = images(5, 1), images(5, 2)
        obs["robot0_eef_pos"], obs["robot0_eef_quat"] = np.ones((5, 3)), quaternions
        obs["robot0_gripper_qpos"] = np.zeros((5, 2))
    with pytest.raises(DataError, match="names no instruction"):
        open_demonstrations(path)
    found = Hdf5Demonstrations(path, instruction="move the can").read_episode(0, cameras=["wrist"])
    np.testing.assert_array_equal(found.images["wrist"], images(5, 2))
    assert list(found.images) == ["wrist"]
    assert not found.succeeded  # no reward was ever given
    turned = Rotation.from_rotvec(found.state[:, 3:6].astype(np.float64))
    assert (turned.inv() * Rotation.from_quat(quaternions)).magnitude().max() < 1e-5


def test_axis_angle_keeps_the_branch_of_its_source():
    """Half-turns by hand; q and -q are one rotation but two vectors, as in robosuite."""
    quaternions = np.array([[0, 0, 0, 1.0], [1, 0, 0, 0], [0, 0, np.sin(0.5), np.cos(0.5)], [0, 0, 0, -1]])
    expected = [[0, 0, 0], [np.pi, 0, 0], [0, 0, 1.0], [0, 0, 0]]
    np.testing.assert_allclose(axis_angle(quaternions), expected, atol=1e-12)
    np.testing.assert_allclose(axis_angle(-quaternions[2:3]), [[0, 0, -(2 * np.pi - 1)]], atol=1e-12)


def test_conventions_can_be_overridden(libero_file):
    found = Hdf5Demonstrations(libero_file, upside_down=False, seen_after_action=False, suite="mine").read_episode(0)
    np.testing.assert_array_equal(found.images["agentview"], images(5, 1))
    assert (len(found), found.suite) == (5, "mine")


def test_damage_and_foreign_layouts_are_named(tmp_path, libero_file):
    cut = tmp_path / "cut.hdf5"
    cut.write_bytes(libero_file.read_bytes()[:700])
    with pytest.raises(DataError, match=r"cut.hdf5 is not an HDF5 file, or is cut off"):
        open_demonstrations(cut)
    foreign = tmp_path / "foreign.hdf5"
    with h5py.File(foreign, "w") as file:
        file["observations/qpos"] = np.zeros(3)
    with pytest.raises(DataError, match="holds observations; LIBERO and robomimic files hold"):
        open_demonstrations(foreign)
    with h5py.File(foreign, "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
        file["data/demo_0/states"] = np.zeros((3, 7))
    with pytest.raises(DataError, match=r"demo_0 has no 'obs'; it has actions, states.*dataset_states_to_obs"):
        open_demonstrations(foreign)
    with h5py.File(libero_file, "a") as file:
        del file["data/demo_2/obs/ee_states"]
    source = open_demonstrations(libero_file)
    with pytest.raises(DataError, match="has neither ee_states and gripper_states"):
        source.read_episode(0)
    with pytest.raises(DataError, match="no camera 'front'; it has agentview, wrist"):
        source.read_episode(1, cameras=["front"])
