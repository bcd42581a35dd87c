"""Optional dependencies: which extra of ours installs what."""

from __future__ import annotations

from vlarl.errors import MissingExtraError

EXTRAS = {
    "libero": "libero",
    "robosuite": "libero",
    "bddl": "libero",
    "mujoco": "mujoco",
    "numba": "drive",
    "gymnasium": "mujoco",
    "stable_baselines3": "bench",
    "carla": "carla-client",
    "sapien": "robotwin",
    "ray": "ray",
    "diffusers": "diffusion",
    "rerun": "viz",
    "tensorboard": "viz",
    "websockets": "robot",
    "msgpack": "robot",
    "zenoh": "robot",
    "cyclonedds": "robot",
}
"""Top-level import name -> the extra of ours that installs it."""


def missing_extra(module: str, needed_by: str, extra: str | None = None) -> MissingExtraError:
    """The error for an optional dependency that is not installed, with the command that installs it.

    ``extra`` is for modules that several extras install.
    """
    extra = extra or EXTRAS.get(module.partition(".")[0])
    fix = f"pip install -c constraints.txt -e '.[{extra}]'" if extra else f"pip install {module}"
    return MissingExtraError(f"{needed_by} needs {module!r}, which is not installed. Install it with: {fix}")
