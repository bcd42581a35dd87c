"""Read LIBERO and robomimic demonstration files (HDF5).

Layout: ``data/demo_<k>/{actions, rewards, dones, obs/...}`` with attributes on ``data``. Three writers are told
apart, because they disagree about two things that ruin training silently:

====================  ===========================  =====================================
written by            images are stored            ``obs[t]`` is seen
====================  ===========================  =====================================
LIBERO                upside-down (OpenGL)         *after* ``actions[t]`` (``scripts/create_dataset.py``)
OpenVLA's re-render   upside-down                  before ``actions[t]``
robomimic             upright                      before ``actions[t]``
====================  ===========================  =====================================

What comes out is always upright, and always the observation *before* the action.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vlarl.data.demonstration import DataError, DatasetSummary, Demonstration, TaskCount

SUFFIXES = (".hdf5", ".h5")
CONTROL_HZ = 20.0
"""LIBERO's and robomimic's control rate; the files do not say."""

_CAMERAS = {
    "agentview_rgb": "agentview",
    "eye_in_hand_rgb": "wrist",
    "agentview_image": "agentview",
    "robot0_eye_in_hand_image": "wrist",
}
"""Dataset name -> our camera name; any other ``*_rgb`` or ``*_image`` keeps its own name."""


@dataclass(frozen=True, slots=True)
class _Convention:
    upside_down: bool
    seen_after_action: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """One episode of one file."""

    path: Path
    demo: str
    steps: int
    instruction: str
    suite: str
    succeeded: bool


class Hdf5Demonstrations:
    """The demonstrations of one HDF5 file, or of all such files in a folder.

    Example::

        demonstrations = Hdf5Demonstrations("datasets/libero_object")
        print(demonstrations.summary())

    ``state`` is the end effector's position [m], its rotation as axis-angle [rad] and the two gripper joints,
    8 numbers, as the LIBERO environment gives them.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        instruction: str | None = None,
        suite: str | None = None,
        upside_down: bool | None = None,
        seen_after_action: bool | None = None,
    ) -> None:
        """Read the tables of contents; frames are read on demand.

        Args:
            path: a file, or a folder with ``*.hdf5`` files.
            instruction: for files that hold none.
            suite: for files that do not name theirs.
            upside_down: how images are stored, where the file's own signs are wrong.
            seen_after_action: whether ``obs[t]`` follows ``actions[t]``, where the file's own signs are wrong.

        Raises:
            DataError: no such file, not HDF5, or HDF5 of another layout.
        """
        self.path = Path(path)
        self._given = (instruction, suite, upside_down, seen_after_action)
        if self.path.is_dir():
            files = sorted(file for file in self.path.iterdir() if file.suffix in SUFFIXES)
        else:
            files = [self.path]
        if not files or not files[0].exists():
            raise DataError(f"{self.path} holds no {' or '.join('*' + suffix for suffix in SUFFIXES)} file")
        self._entries: list[_Entry] = []
        self._conventions: dict[Path, _Convention] = {}
        for file in files:
            self._index(file)
        if not self._entries:
            raise DataError(f"{self.path} holds no demonstration: there is no data/demo_<number> in it")
        names = sorted({(entry.suite, entry.instruction) for entry in self._entries})
        self._tasks = {name: index for index, name in enumerate(names)}

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self._entries)

    def __iter__(self) -> Iterator[Demonstration]:
        for episode in range(len(self)):
            yield self.read_episode(episode)

    def read_episode(self, episode: int, cameras: Sequence[str] | None = None) -> Demonstration:
        """One episode with the frames of all cameras, or of some; ``task`` and ``init_state`` are -1 (not recorded).

        Raises:
            IndexError: no such episode.
            DataError: a camera that is not there, or arrays that do not fit together.
        """
        if not 0 <= episode < len(self):
            raise IndexError(f"episode {episode} of {len(self)}: allowed are 0 to {len(self) - 1}")
        entry = self._entries[episode]
        convention = self._conventions[entry.path]
        with h5py.File(entry.path, "r") as file:
            demo: Any = file[f"data/{entry.demo}"]
            where = f"{entry.path}: data/{entry.demo}"
            found = _camera_datasets(demo["obs"])
            unknown = sorted(set(cameras or ()) - set(found))
            if unknown:
                raise DataError(f"{where} has no camera {unknown[0]!r}; it has {', '.join(found) or 'none'}")
            actions = np.asarray(demo["actions"], dtype=np.float32)
            state = _state(demo["obs"], where)
            images = {camera: np.asarray(demo["obs"][found[camera]]) for camera in cameras or found}
        if convention.upside_down:
            images = {camera: frames[:, ::-1] for camera, frames in images.items()}
        if convention.seen_after_action:
            # The first action has no observation before it, and after the last observation nothing was done.
            actions, state = actions[1:], state[:-1]
            images = {camera: frames[:-1] for camera, frames in images.items()}
        try:
            return Demonstration(
                images={camera: np.ascontiguousarray(frames) for camera, frames in images.items()},
                state=state,
                actions=actions,
                instruction=entry.instruction,
                suite=entry.suite,
                task=-1,
                init_state=-1,
                succeeded=entry.succeeded,
            )
        except ValueError as error:
            raise DataError(f"{where} cannot be used: {error}") from error

    def summary(self) -> DatasetSummary:
        """Counts by instruction, sizes and widths (of the first episode)."""
        first = self.read_episode(0)
        counts = []
        for (suite, instruction), index in self._tasks.items():
            own = [entry for entry in self._entries if (entry.suite, entry.instruction) == (suite, instruction)]
            counts.append(TaskCount(suite, index, instruction, len(own), sum(entry.succeeded for entry in own)))
        lost = {path: int(convention.seen_after_action) for path, convention in self._conventions.items()}
        return DatasetSummary(
            episodes=len(self),
            frames=sum(entry.steps - lost[entry.path] for entry in self._entries),
            fps=CONTROL_HZ,
            cameras={camera: (frames.shape[1], frames.shape[2]) for camera, frames in first.images.items()},
            state_width=first.state.shape[1],
            action_width=first.actions.shape[1],
            tasks=tuple(counts),
        )

    def _index(self, path: Path) -> None:
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path} is not an HDF5 file, or is cut off: {error}") from error
        with file:
            if "data" not in file:
                raise DataError(
                    f"{path} holds {', '.join(file) or 'nothing'}; LIBERO and robomimic files hold 'data/demo_0', ..."
                )
            data: Any = file["data"]
            demos = sorted((name for name in data if re.fullmatch(r"demo_\d+", name)), key=lambda n: int(n[5:]))
            for name in demos:
                _check_complete(path, name, data[name])
            if demos:
                self._conventions[path] = self._convention(data, data[demos[0]])
            given_instruction, given_suite = self._given[:2]
            for name in demos:
                self._entries.append(
                    _Entry(
                        path=path,
                        demo=name,
                        steps=len(data[name]["actions"]),
                        instruction=given_instruction or _instruction(data, data[name], path),
                        suite=given_suite or _suite(data, path),
                        succeeded=_succeeded(data[name]),
                    )
                )

    def _convention(self, data: Any, demo: Any) -> _Convention:
        """How this file stores images and aligns observations, from the signs that its writer left."""
        stated = data.attrs.get("macros_image_convention")
        if stated is not None:
            upside_down = _text(stated) == "opengl"
        else:
            upside_down = any(name.endswith("_rgb") for name in demo["obs"])
        # Only LIBERO's create_dataset.py writes this attribute, and it appends what env.step(action) returned.
        after = stated is not None
        given_upside_down, given_after = self._given[2:]
        return _Convention(
            upside_down=upside_down if given_upside_down is None else given_upside_down,
            seen_after_action=after if given_after is None else given_after,
        )


def _check_complete(path: Path, name: str, demo: Any) -> None:
    missing = [key for key in ("actions", "obs") if key not in demo]
    if missing:
        fix = " Render observations into it first (robomimic: dataset_states_to_obs.py)." if "obs" in missing else ""
        raise DataError(f"{path}: data/{name} has no {missing[0]!r}; it has {', '.join(demo)}.{fix}")


def _camera_datasets(obs: Any) -> dict[str, str]:
    """Our camera name -> dataset name."""
    names = [name for name in obs if name.endswith(("_rgb", "_image"))]
    return {_CAMERAS.get(name, re.sub(r"_(rgb|image)$", "", name)): name for name in sorted(names)}


def _state(obs: Any, where: str) -> NDArray[np.float32]:
    """``float32 [T, 8]``: position, axis-angle, gripper joints."""
    if "ee_states" in obs and "gripper_states" in obs:
        parts = [np.asarray(obs["ee_states"]), np.asarray(obs["gripper_states"])]
    elif "robot0_eef_pos" in obs and "robot0_eef_quat" in obs and "robot0_gripper_qpos" in obs:
        rotation = axis_angle(np.asarray(obs["robot0_eef_quat"], dtype=np.float64))
        parts = [np.asarray(obs["robot0_eef_pos"]), rotation, np.asarray(obs["robot0_gripper_qpos"])]
    else:
        raise DataError(
            f"{where}/obs has neither ee_states and gripper_states (LIBERO) nor robot0_eef_pos, robot0_eef_quat and "
            f"robot0_gripper_qpos (robomimic); it has {', '.join(obs)}"
        )
    return np.concatenate(parts, axis=1).astype(np.float32)


def axis_angle(quaternions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternions ``[T, 4]`` (x, y, z, w) as rotation vectors ``[T, 3]`` [rad], the angle in [0, 2 pi].

    The branch is that of robosuite's ``quat2axisangle``, which OpenVLA-OFT uses too: no sign is flipped.
    """
    w = np.clip(quaternions[:, 3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    # Near the identity the axis is undefined and the rotation vector is 0.
    scale = np.divide(2.0 * np.arccos(w), sine, out=np.zeros_like(w), where=sine > 1e-12)
    return quaternions[:, :3] * scale[:, None]


def _instruction(data: Any, demo: Any, path: Path) -> str:
    """The task's sentence, from the attributes or else from LIBERO's file name."""
    for attributes in (demo.attrs, data.attrs):
        for key in ("language_instruction", "language"):
            if key in attributes:
                return _text(attributes[key]).strip().strip('"')
        if "problem_info" in attributes:
            value = json.loads(_text(attributes["problem_info"])).get("language_instruction", "")
            # Some LIBERO files hold a list of words' letters instead of a sentence.
            sentence = ("".join(value) if isinstance(value, list) else str(value)).strip().strip('"')
            if sentence:
                return sentence
    stem = re.sub(r"^[A-Z_]+_SCENE\d+_", "", re.sub(r"_demo$", "", path.stem))
    if "_" in stem and path.stem.endswith("_demo"):
        return stem.replace("_", " ")
    raise DataError(f"{path} names no instruction (no problem_info or language attribute): pass instruction='...'")


def _suite(data: Any, path: Path) -> str:
    """LIBERO's suite, from the BDDL path that the file holds, or from the folder's name; "" if neither says."""
    bddl = Path(_text(data.attrs.get("bddl_file_name", "")))
    for name in (bddl.parent.name, path.parent.name):
        if name.startswith("libero_"):
            return name
    return ""


def _succeeded(demo: Any) -> bool:
    """Whether a reward or, where none is recorded, ``dones`` says so; without either, published ones succeeded."""
    for key in ("rewards", "dones"):
        if key in demo:
            return bool(np.any(np.asarray(demo[key]) > 0))
    return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
