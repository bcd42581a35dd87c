"""Render one frame with MuJoCo and say on standard output, as JSON, whether it is right.

Run in a process of its own (``python -m vlarl.doctor.gl_probe`` with ``MUJOCO_GL`` set): a broken driver can abort
or hang the process that loads it, and the choice of back end holds for a process's whole life.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

SIZE = 128
_BALLS = "".join(
    f'<geom type="sphere" size=".09" pos="{x + dx * 0.2:.1f} {-x + dy * 0.2:.1f} .05" rgba="{rgba}"/>'
    for x, rgba in ((-0.8, "1 0 0 1"), (0.8, "0 0 1 1"))
    for dx in (-2, -1, 0, 1, 2)
    for dy in (-2, -1, 0, 1, 2)
)
"""About as many triangles as a scene of the fast render profile, in the colour of the square they lie on."""
_SCENE = f"""
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/><global offwidth="256" offheight="256"/>
    <quality offsamples="0"/></visual>
  <worldbody>
    <camera name="eye" pos="0 0 3" xyaxes="1 0 0 0 1 0" fovy="60"/>
    <geom type="box" size=".5 .5 .01" pos="-.8 .8 0" rgba="1 0 0 1"/>
    <geom type="box" size=".5 .5 .01" pos=".8 -.8 0" rgba="0 0 1 1"/>
    {_BALLS}
  </worldbody>
</mujoco>
"""
"""Seen from above: a red square at the upper left, a blue one at the lower right, black elsewhere."""


def judge(image: Any) -> str:
    """What is wrong with the frame ``uint8 [H, W, 3]``; nothing ("") where it shows the scene."""
    half = image.shape[0] // 2
    means = {
        "upper left": image[:half, :half].mean((0, 1)),
        "upper right": image[:half, half:].mean((0, 1)),
        "lower left": image[half:, :half].mean((0, 1)),
        "lower right": image[half:, half:].mean((0, 1)),
    }
    wanted = {"upper left": 0, "lower right": 2}
    for place, mean in means.items():
        channel = wanted.get(place)
        others = [value for index, value in enumerate(mean) if index != channel]
        if channel is not None and (mean[channel] < 40 or max(others) > mean[channel] / 4):
            colour = "red" if channel == 0 else "blue"
            return f"the {place} of the test frame should show {colour}, its mean is {mean.round()}"
        if channel is None and max(mean) > 40:
            return f"the {place} of the test frame should be black, its mean is {mean.round()}"
    return ""


def main() -> None:
    """Render, judge, report."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, SIZE, SIZE) as renderer:
        renderer.update_scene(data, camera="eye")
        image = renderer.render().copy()
        started = time.perf_counter()
        for _ in range(10):
            renderer.update_scene(data, camera="eye")
            renderer.render()
        milliseconds = (time.perf_counter() - started) * 100
        driver = GL.glGetString(GL.GL_RENDERER)
    report = {
        "driver": driver.decode() if isinstance(driver, bytes) else str(driver),
        "milliseconds": milliseconds,
        "wrong": judge(image),
    }
    sys.stdout.write("\n" + json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
