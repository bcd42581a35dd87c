"""Read and write LeRobotDataset v3 folders, without torch and without lerobot.

Example::

    dataset = LeRobotDataset("demos/libero_object")
    print(dataset.summary())
    for demonstration in dataset:
        ...
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlarl.data import lerobot_format as layout
from vlarl.data.demonstration import DataError, DatasetSummary, Demonstration, TaskCount
from vlarl.data.lerobot_writer import LeRobotWriter
from vlarl.files import read_json
from vlarl.media import read_video

__all__ = ["DataError", "DatasetSummary", "LeRobotDataset", "LeRobotWriter", "TaskCount"]


class LeRobotDataset:
    """The complete episodes of a folder. Nothing is ever written to it."""

    def __init__(self, folder: str | Path, *, allow_empty: bool = False) -> None:
        """Read the metadata; frames are read on demand.

        Args:
            folder: the one that holds ``meta/info.json``.
            allow_empty: accept a folder without a complete episode.

        Raises:
            DataError: not such a folder, another version of the format, or files that are damaged or missing.
        """
        self.folder = Path(folder)
        self.info: dict[str, Any] = self._read_info()
        self.fps: float = self.info["fps"]
        self.tasks: list[str] = self._read_tasks()
        """Instruction by ``task_index``."""
        self._rows = self._read_rows()
        if not self._rows and not allow_empty:
            raise DataError(f"{self.folder} holds no complete episode: its writer was stopped during the first one")

    def __len__(self) -> int:
        """Number of complete episodes."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Demonstration]:
        for episode in range(len(self)):
            yield self.read_episode(episode)

    @property
    def cameras(self) -> dict[str, tuple[int, int]]:
        """Camera name -> (height, width)."""
        return {
            key.removeprefix(layout.CAMERA_PREFIX): (int(feature["shape"][0]), int(feature["shape"][1]))
            for key, feature in self.info["features"].items()
            if feature["dtype"] in ("video", "image")
        }

    def row(self, episode: int) -> dict[str, Any]:
        """What the episode table says of an episode, without its statistics.

        Raises:
            IndexError: no such episode.
        """
        if not 0 <= episode < len(self):
            raise IndexError(f"episode {episode} of {len(self)}: allowed are 0 to {len(self) - 1}")
        return {key: value for key, value in self._rows[episode].items() if key != "stats"}

    def full_rows(self) -> list[dict[str, Any]]:
        """Every episode's row with its statistics nested under ``stats``, read from the disk anew."""
        joined: list[dict[str, Any]] = []
        for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet")):
            joined += [layout.nest_stats(row) for row in _read_table(path).to_pylist()]
        joined.sort(key=lambda row: row["episode_index"])
        return joined + [row for row in self._rows[len(joined) :] if layout.STAGED_FOLDER in row]

    def read_episode(self, episode: int, cameras: Sequence[str] | None = None) -> Demonstration:
        """One episode with the frames of all cameras, or of some.

        Where the dataset's episode rows lack our own columns (it was written by another program), ``suite`` is
        "", ``task`` the ``task_index``, ``init_state`` -1 and ``succeeded`` True.

        Raises:
            IndexError: no such episode.
            DataError: a camera that is not there, or a damaged file.
        """
        row = self.row(episode)
        unknown = sorted(set(cameras or ()) - set(self.cameras))
        if unknown:
            raise DataError(f"{self.folder} has no camera {unknown[0]!r}; it has {', '.join(self.cameras) or 'none'}")
        wanted = {camera: self._feature_of(camera) for camera in cameras or self.cameras}
        stored = [key for key in wanted.values() if self.info["features"][key]["dtype"] == "image"]
        frames = self._read_frames(row, stored)
        images = {
            camera: _decode_images(frames[key], self.folder) if key in stored else self._read_video(row, key)
            for camera, key in wanted.items()
        }
        task_index = int(frames["task_index"][0].as_py())
        try:
            return Demonstration(
                images=images,
                state=layout.matrix(frames[layout.STATE]),
                actions=layout.matrix(frames[layout.ACTION]),
                instruction=self.tasks[task_index],
                suite=row.get("suite") or "",
                task=_or(row.get("task"), task_index),
                init_state=_or(row.get("init_state"), -1),
                succeeded=bool(_or(row.get("succeeded"), True)),
            )
        except (KeyError, IndexError, ValueError) as error:
            raise DataError(f"episode {episode} of {self.folder} cannot be used: {error}") from error

    def codec_error_bound(self, episode: int) -> int | None:
        """Largest difference, in levels of 0..255, between a frame as recorded and as read; None if unknown."""
        return self.row(episode).get("codec_max_error")

    def stats(self) -> layout.Stats:
        """Statistics per feature over the complete episodes, without quantiles where the writer was not closed."""
        if self._closed and (self.folder / layout.STATS).is_file():
            return read_json(self.folder / layout.STATS)
        return layout.merge_stats([row["stats"] for row in self.full_rows()])

    def summary(self) -> DatasetSummary:
        """Counts by task, sizes and widths."""
        counts: dict[tuple[str, int, str], list[int]] = {}
        for row in self._rows:
            instruction = row["tasks"][0]
            task = _or(row.get("task"), self.tasks.index(instruction))
            count = counts.setdefault((row.get("suite") or "", task, instruction), [0, 0])
            count[0] += 1
            count[1] += bool(_or(row.get("succeeded"), True))
        return DatasetSummary(
            episodes=len(self),
            frames=sum(int(row["length"]) for row in self._rows),
            fps=self.fps,
            cameras=self.cameras,
            state_width=int(self.info["features"][layout.STATE]["shape"][0]),
            action_width=int(self.info["features"][layout.ACTION]["shape"][0]),
            tasks=tuple(TaskCount(*key, *count) for key, count in sorted(counts.items())),
            closed=self._closed,
        )

    @property
    def _closed(self) -> bool:
        return not (self.folder / layout.STAGING).exists()

    def _read_info(self) -> dict[str, Any]:
        if not (self.folder / layout.INFO).is_file():
            if (self.folder / layout.STAGING).is_dir():
                raise DataError(f"{self.folder} holds no complete episode: its writer was stopped during the first one")
            what = "is not a LeRobotDataset" if self.folder.is_dir() else "does not exist"
            raise DataError(f"{self.folder} {what}: there is no {layout.INFO} in it")
        info = read_json(self.folder / layout.INFO)
        version = str(info.get("codebase_version"))
        if not version.startswith("v3."):
            raise DataError(
                f"{self.folder} is in version {version} of the LeRobotDataset format; v3 is read. Convert it with "
                "lerobot's own script: python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=..."
            )
        missing = [key for key in (layout.STATE, layout.ACTION) if key not in info.get("features", {})]
        if missing:
            raise DataError(
                f"{self.folder} has no feature {missing[0]!r}; it has {', '.join(info.get('features', {}))}"
            )
        return info

    def _read_tasks(self) -> list[str]:
        path = self.folder / layout.TASKS
        if not path.is_file():
            return []
        table = _read_table(path)
        names = "task" if "task" in table.column_names else "__index_level_0__"
        order = dict(zip(table["task_index"].to_pylist(), table[names].to_pylist(), strict=True))
        return [order.get(index, "") for index in range(max(order, default=-1) + 1)]

    def _read_rows(self) -> list[dict[str, Any]]:
        """Rows of the joined episodes, then of the staged ones that follow them without a gap."""
        rows: list[dict[str, Any]] = []
        for path in sorted((self.folder / "meta" / "episodes").glob("*/*.parquet")):
            columns = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
            rows += _read_table(path, columns).to_pylist()
        rows.sort(key=lambda row: row["episode_index"])
        while True:
            folder = f"{layout.STAGING}/episode-{len(rows):06d}"
            if not (self.folder / folder / layout.STAGED_ROW).is_file():
                return rows
            rows.append({**read_json(self.folder / folder / layout.STAGED_ROW), layout.STAGED_FOLDER: folder})

    def _feature_of(self, camera: str) -> str:
        """Feature name of a camera; datasets of other programs do not all use the prefix."""
        prefixed = layout.camera_feature(camera)
        return prefixed if prefixed in self.info["features"] else camera

    def _read_frames(self, row: dict[str, Any], images: list[str]) -> pa.Table:
        staged = row.get(layout.STAGED_FOLDER)
        path = self.folder / staged / layout.STAGED_FRAMES if staged else self._path("data", row)
        table = _read_table(path, [layout.STATE, layout.ACTION, "task_index", *images], row["episode_index"])
        if len(table) != row["length"]:
            raise DataError(
                f"{path} holds {len(table)} frames of episode {row['episode_index']}; {row['length']} expected"
            )
        return table

    def _read_video(self, row: dict[str, Any], feature: str) -> np.ndarray:
        staged = row.get(layout.STAGED_FOLDER)
        if staged:
            return read_video(self.folder / staged / f"{feature}.mp4", 0, row["length"])
        first = round(row[f"videos/{feature}/from_timestamp"] * self.fps)
        return read_video(self._path(f"videos/{feature}", row), first, row["length"])

    def _path(self, part: str, row: dict[str, Any]) -> Path:
        """The file of ``part`` (``data``, ``videos/<feature>``, ``meta/episodes``) that holds an episode."""
        template = {"data": self.info["data_path"], "meta/episodes": layout.EPISODES}.get(
            part, self.info.get("video_path")
        )
        where = {key: row[f"{part}/{key}"] for key in ("chunk_index", "file_index")}
        return self.folder / str(template).format(video_key=part.removeprefix("videos/"), **where)


def _read_table(path: Path, columns: list[str] | None = None, episode: int | None = None) -> pa.Table:
    """Columns of a parquet file, of one episode or of all; damage is named."""
    try:
        filters = None if episode is None else [("episode_index", "=", episode)]
        return pq.read_table(path, columns=columns, filters=filters)
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _decode_images(column: pa.ChunkedArray, folder: Path) -> np.ndarray:
    """Images that are stored one by one (``{bytes, path}``, as the ``datasets`` library does) as ``[T, H, W, 3]``."""
    from PIL import Image

    found = []
    for cell in column.to_pylist():
        source = io.BytesIO(cell["bytes"]) if cell.get("bytes") else folder / cell["path"]
        with Image.open(source) as image:
            found.append(np.asarray(image.convert("RGB")))
    return np.stack(found)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
