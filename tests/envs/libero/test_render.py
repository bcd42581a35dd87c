"""What the render profiles preserve: physics fields, hidden things, pixels (exactly or within bounds)."""

import os

import mujoco
import numpy as np
import pytest

from envs.libero import culling, render
from envs.libero.render_assets import applied, corners_within, halve_until
from envs.libero.simulator import get_task_simulator
from tests.envs.libero.stock import noisy_actions
from vlarl.env_protocol import EnvError

pytestmark = [pytest.mark.libero, pytest.mark.xdist_group("libero_object_0")]

CAMERAS = ("agentview", "wrist")


@pytest.fixture(scope="module")
def task():
    return get_task_simulator("libero_object", 0)


@pytest.fixture(scope="module")
def slot(task):
    slot = task.make_slot("compiled")
    slot.reset(2)
    return slot


def test_assets_touch_nothing_but_what_is_drawn_and_are_taken_back(task):
    model = task.model
    upload_only = {"mesh_vert", "mesh_face", "mesh_normal", "mesh_facenormal", "mesh_texcoord", "mesh_facetexcoord"}
    upload_only |= {"mesh_facenum", "mesh_graphadr"}
    upload_only |= {"tex_data", "tex_height", "tex_width"}
    fields = [name for name in dir(model) if isinstance(getattr(model, name), np.ndarray) and name != "tex_data"]
    before = {name: getattr(model, name).copy() for name in fields}
    texels = hash(model.tex_data.tobytes())
    assets = render.get_assets(task, render.PROFILES["fast"])
    with applied(model, assets):
        changed = {name for name in fields if not np.array_equal(before[name], getattr(model, name))}
        drawn = int(model.mesh_facenum.sum())
    assert changed <= upload_only and "mesh_facenum" in changed and "tex_width" in changed
    assert drawn < before["mesh_facenum"].sum() / 5
    assert all(np.array_equal(before[name], getattr(model, name)) for name in fields)
    assert hash(model.tex_data.tobytes()) == texels


def test_fast_pixels_stay_near_the_reference(task, slot):
    reference = render.get_renderer(task, "reference", 128, CAMERAS).render(slot)
    fast = render.get_renderer(task, "fast", 128, CAMERAS).render(slot)
    for name in CAMERAS:
        difference = np.abs(reference[name].astype(int) - fast[name].astype(int))
        assert 0 < difference.mean() < 4.5, name  # grey levels of 255
        assert (difference.max(axis=-1) > 40).mean() < 0.04, name


@pytest.mark.parametrize("profile", ["fast", "reference"])
def test_culling_changes_no_pixel(task, profile):
    slot = task.make_slot("compiled")
    slot.reset(0)
    culled = render.get_renderer(task, profile, 128, CAMERAS)
    complete = render.TaskRenderer(task, render.PROFILES[profile], 128, CAMERAS)
    complete._cullable = complete._cullable[:0]
    hidden = 0
    for action in noisy_actions(12, seed=11):
        for _ in range(4 if profile == "fast" else 1):
            slot.step(action)
        with_all, without = complete.render(slot), culled.render(slot)
        hidden += int(culled._outside.sum())
        for name in CAMERAS:
            np.testing.assert_array_equal(without[name], with_all[name])
    assert hidden > 100, "nothing was culled, so nothing was tested"
    complete.close()


def test_culling_is_left_alone_where_it_could_show():
    mirror = """<mujoco><asset><material name="m" reflectance="{r}"/></asset><worldbody><light castshadow="{s}"/>
      <geom type="plane" size="1 1 1" material="m" group="1"/></worldbody></mujoco>"""

    def allowed(r, s):
        return culling.can_cull(mujoco.MjModel.from_xml_string(mirror.format(r=r, s=s)))

    assert allowed(0, "false") and not allowed(0.5, "false") and not allowed(0, "true")


def test_outside_frustum_against_hand_placed_boxes():
    """A camera at the origin looking along -z with a 90 degree field of view; boxes of half size 0.1."""
    centres = np.array([[0, 0, -2], [0, 0, 2], [2.05, 0, -2], [2.3, 0, -2], [0, -2.3, -2], [0, 2.05, -2.0]])
    box = np.tile([0, 0, 0, 0.1, 0.1, 0.1], (6, 1)).astype(float)
    axes = np.eye(3).ravel()
    outside = np.zeros(6, dtype=bool)
    rotations = np.tile(axes, (6, 1))
    culling.outside_frustum(np.arange(6), box, centres, rotations, np.zeros(3), axes, 1.0, outside)
    assert outside.tolist() == [False, True, False, True, True, False]


def test_renderers_of_one_process_do_not_disturb_each_other(task, slot):
    """They share one OpenGL context; whoever rendered last leaves its framebuffer bound."""
    first = render.get_renderer(task, "fast", 128, CAMERAS)
    expected = first.render(slot)
    other = render.get_renderer(task, "fast", 64, CAMERAS)
    for _ in range(2):
        assert other.render(slot)["wrist"].shape == (64, 64, 3)
        for name, image in first.render(slot).items():
            np.testing.assert_array_equal(image, expected[name])


def test_memory_budget_closes_the_renderer_used_longest_ago(task, slot, monkeypatch):
    monkeypatch.setattr(render, "RENDERER_MEMORY", 1.0)
    old = render.get_renderer(task, "fast", 32, CAMERAS)
    new = render.get_renderer(task, "fast", 40, CAMERAS)
    assert old.is_closed and not new.is_closed
    again = render.get_renderer(task, "fast", 32, CAMERAS)
    assert again is not old and new.is_closed
    assert again.render(slot)["agentview"].std() > 10


def test_rendering_after_a_fork_is_refused(task, slot):
    render.get_renderer(task, "fast", 64, CAMERAS).render(slot)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            render.get_renderer(task, "fast", 64, CAMERAS)
        except EnvError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    assert "forked" in os.read(reader, 1000).decode()
    os.close(reader)


def test_bad_requests_name_what_is_allowed(task):
    with pytest.raises(ValueError, match="reference, fast"):
        render.get_renderer(task, "pretty", 64, CAMERAS)
    with pytest.raises(ValueError, match="resolution"):
        render.get_renderer(task, "fast", 4096, CAMERAS)


def test_corners_are_rounded_as_coarsely_as_their_room_needs():
    values = np.array([[[0.123456, 0.0], [0.123461, 0.0], [0.5, 1.0]]])
    fine = corners_within(values, 3)
    np.testing.assert_allclose(fine.values[fine.index], values, atol=1e-6)
    coarse = corners_within(values, 2)
    assert len(coarse.values) == 2
    np.testing.assert_allclose(coarse.values[coarse.index], values, atol=1e-4)
    with pytest.raises(ValueError, match="2 distinct corners do not fit into 1"):
        corners_within(values, 1)


def test_halving_averages_blocks():
    pixels = np.array([[[0], [4]], [[8], [12]]], dtype=np.uint8)
    assert halve_until(pixels, 1).tolist() == [[[6]]]
    assert halve_until(np.zeros((5, 8, 3), np.uint8), 4).shape == (2, 4, 3)
    assert halve_until(pixels, 2) is pixels
