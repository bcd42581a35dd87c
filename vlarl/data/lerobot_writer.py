"""Write demonstrations as a LeRobotDataset v3 folder that survives a kill at any moment.

Every episode is first *staged*: encoded and checked in a folder of its own, which is renamed into
``staging/`` when it is complete. Staged episodes are joined into the format's large files when a file is
full and on ``close``; the episode table, written last, is what makes them count. So after a kill the reader
opens every complete episode, and ``LeRobotWriter(folder, resume=True)`` goes on from there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from vlarl.data import lerobot_format as layout
from vlarl.data.demonstration import DataError, Demonstration
from vlarl.data.lerobot_episode import join_episodes, stage_episode, write_quantiles, write_table
from vlarl.files import TEMPORARY_PREFIX, atomic_write_json, fsync_tree, writing
from vlarl.media import ENCODINGS, Quality


class LeRobotWriter:
    """Writes one dataset folder.

    Example::

        with LeRobotWriter("demos/libero_object") as writer:
            for demonstration in expert_episodes:
                writer.add_episode(demonstration)

    Beyond the format's own columns every episode row holds ``suite``, ``task``, ``init_state``, ``succeeded``
    and the measured ``codec_max_error`` and ``codec_mean_error`` of its frames (levels of 0..255).
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fps: float = 20,
        robot_type: str = "panda",
        quality: Quality = "near_lossless",
        state_names: Sequence[str] | None = None,
        action_names: Sequence[str] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        data_file_megabytes: float = layout.DATA_FILE_MEGABYTES,
        video_file_megabytes: float = layout.VIDEO_FILE_MEGABYTES,
    ) -> None:
        """Open ``folder`` for writing.

        Args:
            folder: made where missing; one that holds anything is refused without ``overwrite`` or ``resume``.
            fps: control steps per second.
            robot_type: recorded in ``info.json``.
            quality: how frames are encoded; see ``vlarl.media.ENCODINGS``.
            state_names: one name per state entry; numbered where not given.
            action_names: the same for actions.
            overwrite: delete the dataset that is there (only if it is one).
            resume: keep the complete episodes that are there and add to them.
            data_file_megabytes: a data file is closed before it grows past this.
            video_file_megabytes: the same for videos.

        Raises:
            DataError: the folder holds something, or another writer has it open.
            DiskError: nothing could be written there.
        """
        if quality not in ENCODINGS:
            raise ValueError(f"unknown video quality {quality!r}; there are: {', '.join(ENCODINGS)}")
        self.folder, self.fps, self.robot_type, self.quality = Path(folder), fps, robot_type, quality
        self._names = {layout.STATE: state_names, layout.ACTION: action_names}
        self._limits = {"data": data_file_megabytes * 2**20, "video": video_file_megabytes * 2**20}
        self._info: dict[str, Any] = {}
        self._tasks: list[str] = []
        self._committed: list[dict[str, Any]] = []
        self._staged: list[dict[str, Any]] = []
        self._sizes: dict[int, dict[str, int]] = {}
        self._lock: int | None = None
        self._closed = False
        self._prepare_folder(overwrite=overwrite, resume=resume)

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:  # keep the complete episodes, but show the first error
            with contextlib.suppress(Exception):
                self.close()
            self._release()

    def __len__(self) -> int:
        """Complete episodes so far."""
        return len(self._committed) + len(self._staged)

    def add_episode(self, demonstration: Demonstration) -> int:
        """Append one episode; when this returns (its index), it survives a kill.

        Raises:
            DataError: cameras, image sizes or vector widths differ from those of the first episode.
            DiskError: nothing could be written.
        """
        if self._closed:
            raise RuntimeError(f"the writer of {self.folder} is closed")
        shape = self._check_fits(demonstration)
        episode, name = len(self), f"episode-{len(self):06d}"
        unfinished = self.folder / layout.STAGING / f"{TEMPORARY_PREFIX}{name}"
        with writing(self.folder):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            if not self._info:
                self._start_info(*shape)
            if demonstration.instruction not in self._tasks:
                self._tasks.append(demonstration.instruction)
                write_table(self.folder / layout.TASKS, [layout.tasks_table(self._tasks)])
            task_index = self._tasks.index(demonstration.instruction)
            first = self._next_index()
            row = stage_episode(unfinished, demonstration, episode, first, task_index, self.fps, self.quality)
            fsync_tree(unfinished)
            os.replace(unfinished, self.folder / layout.STAGING / name)
            row[layout.STAGED_FOLDER] = f"{layout.STAGING}/{name}"
        if self._staged and self._would_overflow(row):
            self._commit_staged()
        self._staged.append(row)
        return episode

    def close(self) -> None:
        """Join what is staged into the format's files and finish the statistics; calling it twice is allowed."""
        if self._closed:
            return
        self._commit_staged()
        if self._committed:
            self._write_totals()  # a writer that was killed may have joined episodes without counting them
            write_quantiles(self.folder)
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder / layout.STAGING)
            self.folder.rmdir()  # succeeds only where no episode was ever added
        self._closed = True
        self._release()

    def _prepare_folder(self, *, overwrite: bool, resume: bool) -> None:
        held = sorted(entry.name for entry in self.folder.iterdir()) if self.folder.is_dir() else []
        is_dataset = (self.folder / layout.INFO).is_file() or layout.STAGING in held
        if held and not (overwrite or resume):
            raise DataError(
                f"{self.folder} is not empty (it holds {', '.join(held[:4])}). Choose another folder, or pass "
                "overwrite=True to delete the dataset in it, or resume=True to add to it."
            )
        if held and not is_dataset:
            raise DataError(f"{self.folder} holds {', '.join(held[:4])}, not a dataset: it is left alone")
        with writing(self.folder):
            (self.folder / layout.STAGING).mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder / layout.STAGING, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._release()
            raise DataError(f"another process is writing to {self.folder}") from None
        try:
            if held and overwrite:
                self._delete(held)
            elif held:
                self._resume()
        except BaseException:
            with contextlib.suppress(OSError):
                (self.folder / layout.STAGING).rmdir()  # only where nothing is staged
            self._release()
            raise

    def _delete(self, held: list[str]) -> None:
        """Empty the folder; the locked staging folder itself stays."""
        staging = self.folder / layout.STAGING
        with writing(self.folder):
            entries = [self.folder / name for name in held if name != layout.STAGING]
            for entry in [*entries, *staging.iterdir()]:
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    def _resume(self) -> None:
        from vlarl.data.lerobot import LeRobotDataset

        for leftover in list(self.folder.rglob(f"{TEMPORARY_PREFIX}*")):  # of the writer that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        if not (self.folder / layout.INFO).is_file():
            return  # killed before the first episode was complete
        found = LeRobotDataset(self.folder, allow_empty=True)
        if found.fps != self.fps:
            raise DataError(f"{self.folder} was written at {found.fps} frames per second, not {self.fps}")
        self._info, self._tasks = found.info, found.tasks
        rows = found.full_rows()
        self._committed = [row for row in rows if layout.STAGED_FOLDER not in row]
        self._staged = [row for row in rows if layout.STAGED_FOLDER in row]

    def _check_fits(self, demonstration: Demonstration) -> tuple[dict[str, tuple[int, int]], int, int]:
        """Cameras with (height, width), state width and action width; they must equal those of the dataset."""
        cameras = {name: (frames.shape[1], frames.shape[2]) for name, frames in demonstration.images.items()}
        shape = cameras, demonstration.state.shape[1], demonstration.actions.shape[1]
        if not self._info:
            if self.quality == "playable" and any(side % 2 for size in cameras.values() for side in size):
                raise DataError(f"quality 'playable' needs even image sizes; got {cameras}. Use 'near_lossless'.")
            return shape
        known = self._info["features"]
        wanted = {
            key.removeprefix(layout.CAMERA_PREFIX): tuple(feature["shape"][:2])
            for key, feature in known.items()
            if feature["dtype"] == "video"
        }
        for what, found, expected in (
            ("cameras (height, width)", cameras, wanted),
            ("state width", shape[1], known[layout.STATE]["shape"][0]),
            ("action width", shape[2], known[layout.ACTION]["shape"][0]),
        ):
            if found != expected:
                raise DataError(f"episode {len(self)} has {what} {found}; the dataset {self.folder} has {expected}")
        return shape

    def _start_info(self, cameras: dict[str, tuple[int, int]], state_width: int, action_width: int) -> None:
        names = {}
        for feature, width in ((layout.STATE, state_width), (layout.ACTION, action_width)):
            given = self._names[feature]
            names[feature] = (
                list(given) if given is not None else [f"{feature.split('.')[-1]}_{i}" for i in range(width)]
            )
            if len(names[feature]) != width:
                raise ValueError(f"{feature} has width {width} but {len(names[feature])} names: {names[feature]}")
        pixel_format = {"rgb24": "gbrp"}.get(ENCODINGS[self.quality].pixel_format, ENCODINGS[self.quality].pixel_format)
        features = layout.features(cameras, names[layout.STATE], names[layout.ACTION], self.fps, pixel_format)
        self._info = layout.new_info(features, self.fps, self.robot_type)
        atomic_write_json(self.folder / layout.INFO, self._info)

    def _next_index(self) -> int:
        """Global index of the next frame."""
        rows = self._staged or self._committed
        return int(rows[-1]["dataset_to_index"]) if rows else 0

    def _would_overflow(self, row: dict[str, Any]) -> bool:
        """Whether joining ``row`` with what is staged would make a file larger than its limit."""
        total: Counter[str] = Counter()
        for staged in [*self._staged, row]:
            total.update(self._sizes_of(staged))
        return any(
            size > self._limits["data" if name == layout.STAGED_FRAMES else "video"] for name, size in total.items()
        )

    def _sizes_of(self, row: dict[str, Any]) -> dict[str, int]:
        """File name -> bytes of a staged episode."""
        episode = int(row["episode_index"])
        if episode not in self._sizes:
            files = (self.folder / row[layout.STAGED_FOLDER]).iterdir()
            self._sizes[episode] = {path.name: path.stat().st_size for path in files if path.name != layout.STAGED_ROW}
        return self._sizes[episode]

    def _commit_staged(self) -> None:
        """Join what is staged into one file each and update info and statistics."""
        if not self._staged:
            return
        used = [
            row["meta/episodes/chunk_index"] * layout.FILES_PER_CHUNK + row["meta/episodes/file_index"]
            for row in self._committed
        ]
        rows = join_episodes(self.folder, self._info["features"], self._staged, max(used, default=-1) + 1)
        obsolete = [self.folder / row[layout.STAGED_FOLDER] for row in self._staged]
        self._committed += rows
        self._staged, self._sizes = [], {}
        self._write_totals()
        for folder in obsolete:
            shutil.rmtree(folder, ignore_errors=True)

    def _write_totals(self) -> None:
        """Bring ``info.json`` and ``stats.json`` up to the episodes that are joined."""
        self._info |= {
            "total_episodes": len(self._committed),
            "total_frames": self._next_index(),
            "total_tasks": len(self._tasks),
            "splits": {"train": f"0:{len(self._committed)}"},
        }
        atomic_write_json(self.folder / layout.INFO, self._info)
        atomic_write_json(self.folder / layout.STATS, layout.merge_stats([row["stats"] for row in self._committed]))

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
