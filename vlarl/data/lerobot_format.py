"""Names, schemas and statistics of a LeRobotDataset v3 folder.

Layout (huggingface/lerobot, ``src/lerobot/datasets/utils.py`` and ``dataset_metadata.py``)::

    meta/info.json  meta/stats.json  meta/tasks.parquet
    meta/episodes/chunk-000/file-000.parquet        one row per episode
    data/chunk-000/file-000.parquet                 one row per frame, many episodes per file
    videos/<feature>/chunk-000/file-000.mp4         many episodes per file
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

CODEBASE_VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_FILE_MEGABYTES = 100
VIDEO_FILE_MEGABYTES = 200
"""Size limits of lerobot's own writer; recorded in ``info.json``, so readers need not know ours."""

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

STAGING = "staging"
"""Where episodes wait to be joined; gone once the writer is closed. Not part of the format, other readers skip it."""
STAGED_FRAMES, STAGED_ROW = "frames.parquet", "episode.json"
STAGED_FOLDER = "staged_folder"
"""Key of an in-memory episode row that is not joined yet: its folder, relative to the dataset."""

STATE, ACTION, CAMERA_PREFIX = "observation.state", "action", "observation.images."
FRAME_COLUMNS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

Stats = dict[str, dict[str, list[Any]]]
"""Feature -> statistic -> nested list. Vectors are ``[width]``, images ``[3, 1, 1]`` in 0..1, ``count`` is ``[1]``."""


def camera_feature(camera: str) -> str:
    """Feature name of a camera."""
    if "/" in camera or not camera:
        raise ValueError(f"camera name {camera!r} may not be empty or hold '/': it names a folder")
    return CAMERA_PREFIX + camera


def place(file_number: int, files_per_chunk: int = FILES_PER_CHUNK) -> dict[str, int]:
    """``chunk_index`` and ``file_index`` of the n-th file."""
    return {"chunk_index": file_number // files_per_chunk, "file_index": file_number % files_per_chunk}


def features(
    cameras: Mapping[str, tuple[int, int]],
    state_names: Sequence[str],
    action_names: Sequence[str],
    fps: float,
    pixel_format: str,
) -> dict[str, dict[str, Any]]:
    """The ``features`` of ``info.json``. ``cameras`` maps a name to (height, width)."""
    found: dict[str, dict[str, Any]] = {}
    for camera, (height, width) in cameras.items():
        found[camera_feature(camera)] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.channels": 3,
                "video.codec": "h264",
                "video.pix_fmt": pixel_format,
                "video.is_depth_map": False,
                "video.fps": fps,
                "has_audio": False,
            },
        }
    for name, names in ((STATE, state_names), (ACTION, action_names)):
        found[name] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    for name, dtype in FRAME_COLUMNS.items():
        found[name] = {"dtype": dtype, "shape": [1], "names": None}
    return found


def new_info(features: Mapping[str, Any], fps: float, robot_type: str) -> dict[str, Any]:
    """``info.json`` of a dataset without episodes."""
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_MEGABYTES,
        "video_files_size_in_mb": VIDEO_FILE_MEGABYTES,
        "fps": fps,
        "splits": {"train": "0:0"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": dict(features),
    }


def frame_schema(state_width: int, action_width: int) -> pa.Schema:
    """Columns of a data file."""
    columns = [
        (STATE, pa.list_(pa.float32(), state_width)),
        (ACTION, pa.list_(pa.float32(), action_width)),
        *((name, pa.type_for_alias(dtype)) for name, dtype in FRAME_COLUMNS.items()),
    ]
    return pa.schema(columns)


def matrix_column(rows: NDArray[np.float32]) -> pa.Array:
    """``float32 [T, width]`` as a fixed-size list column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), rows.shape[1])


def matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """The inverse of ``matrix_column``; variable-length lists of one length are accepted too."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(len(column), -1), dtype=np.float32)


def flatten_stats(row: Mapping[str, Any]) -> dict[str, Any]:
    """An episode row with ``stats`` as columns ``stats/<feature>/<statistic>``."""
    flat = {key: value for key, value in row.items() if key != "stats"}
    for feature, values in row["stats"].items():
        flat |= {f"stats/{feature}/{statistic}": value for statistic, value in values.items()}
    return flat


def nest_stats(row: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of ``flatten_stats``."""
    nested: dict[str, Any] = {key: value for key, value in row.items() if not key.startswith("stats/")}
    nested["stats"] = {}
    for key, value in row.items():
        if key.startswith("stats/"):
            _, feature, statistic = key.split("/")
            nested["stats"].setdefault(feature, {})[statistic] = value
    return nested


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """``tasks.parquet``: readers load it with pandas and expect the sentence as the index named ``task``."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})

    def column(name: str, pandas_type: str, numpy_type: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": pandas_type,
            "numpy_type": numpy_type,
            "metadata": None,
        }

    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


def vector_stats(rows: NDArray[Any]) -> dict[str, list[Any]]:
    """Statistics of ``[T, width]`` per column."""
    rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
    return {
        "min": rows.min(0).tolist(),
        "max": rows.max(0).tolist(),
        "mean": rows.mean(0).tolist(),
        "std": rows.std(0).tolist(),
        "count": [len(rows)],
    }


def vector_quantiles(rows: NDArray[Any]) -> dict[str, list[Any]]:
    """Quantiles of ``[T, width]`` per column."""
    values = np.quantile(np.asarray(rows, np.float64), list(QUANTILES.values()), axis=0)
    return {name: value.tolist() for name, value in zip(QUANTILES, values, strict=True)}


def image_stats(frames: NDArray[np.uint8], most: int = 32) -> dict[str, list[Any]]:
    """Per-channel statistics in 0..1 over at most ``most`` evenly spaced frames, each value ``[3, 1, 1]``."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    levels = np.arange(256) / 255
    # Exact moments from a histogram: far cheaper than passing over the pixels as floats.
    counts = np.stack([np.bincount(frames[chosen, :, :, channel].ravel(), minlength=256) for channel in range(3)])
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    found = {
        "min": [levels[row > 0][0] for row in counts],
        "max": [levels[row > 0][-1] for row in counts],
        "mean": mean,
        "std": np.sqrt((share * (levels - mean[:, None]) ** 2).sum(1)),
    }
    return {key: np.reshape(value, (3, 1, 1)).tolist() for key, value in found.items()} | {"count": [len(chosen)]}


def merge_stats(parts: Sequence[Stats]) -> Stats:
    """Statistics of the union, from those of its parts (Chan et al., pooled mean and variance)."""
    merged: Stats = {}
    for feature in parts[0]:
        values = {key: np.array([part[feature][key] for part in parts], np.float64) for key in parts[0][feature]}
        count = values["count"][:, 0]
        weight = (count / count.sum()).reshape(-1, *[1] * (values["mean"].ndim - 1))
        mean = (weight * values["mean"]).sum(0)
        variance = (weight * (values["std"] ** 2 + (values["mean"] - mean) ** 2)).sum(0)
        merged[feature] = {
            "min": values["min"].min(0).tolist(),
            "max": values["max"].max(0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt(variance).tolist(),
            "count": [int(count.sum())],
        }
    return merged
