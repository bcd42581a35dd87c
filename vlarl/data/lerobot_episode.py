"""One episode on its way into a LeRobotDataset v3 folder: staged alone, then joined with others into large files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlarl.data import lerobot_format as layout
from vlarl.data.demonstration import Demonstration
from vlarl.files import atomic_write_bytes, atomic_write_json, read_json
from vlarl.media import Quality, codec_error, join_videos, read_video, write_video


def stage_episode(
    target: Path,
    demonstration: Demonstration,
    episode: int,
    first_index: int,
    task_index: int,
    fps: float,
    quality: Quality,
) -> dict[str, Any]:
    """Write one episode's videos, frame table and row into the folder ``target``.

    Args:
        target: an empty folder.
        demonstration: the episode.
        episode: its index in the dataset.
        first_index: global index of its first frame.
        task_index: index of its instruction in ``tasks.parquet``.
        fps: control steps per second.
        quality: how frames are encoded.

    Returns:
        The episode's row, ``stats`` nested, without the places that joining will give it.
    """
    by_feature = {layout.camera_feature(camera): frames for camera, frames in demonstration.images.items()}
    table = _frame_table(demonstration, episode, first_index, task_index, fps)
    write_table(target / layout.STAGED_FRAMES, [table])
    stats: layout.Stats = {name: layout.image_stats(frames) for name, frames in by_feature.items()}
    stats[layout.STATE] = layout.vector_stats(demonstration.state)
    stats[layout.ACTION] = layout.vector_stats(demonstration.actions)
    for name in layout.FRAME_COLUMNS:
        stats[name] = layout.vector_stats(table[name].to_numpy())
    largest, mean = 0, 0.0
    for name, frames in by_feature.items():
        path = write_video(target / f"{name}.mp4", frames, fps, quality)
        error = codec_error(frames, read_video(path))  # also proves that the file can be read
        largest, mean = max(largest, error[0]), max(mean, error[1])
    row = {
        "episode_index": episode,
        "tasks": [demonstration.instruction],
        "length": len(demonstration),
        "dataset_from_index": first_index,
        "dataset_to_index": first_index + len(demonstration),
        "suite": demonstration.suite,
        "task": demonstration.task,
        "init_state": demonstration.init_state,
        "succeeded": demonstration.succeeded,
        "codec_max_error": largest,
        "codec_mean_error": mean,
        "stats": stats,
    }
    atomic_write_json(target / layout.STAGED_ROW, row)
    return row


def _frame_table(demonstration: Demonstration, episode: int, first_index: int, task_index: int, fps: float) -> pa.Table:
    steps = len(demonstration)
    frame_index = np.arange(steps)
    columns = [
        layout.matrix_column(demonstration.state),
        layout.matrix_column(demonstration.actions),
        pa.array((frame_index / fps).astype(np.float32)),
        pa.array(frame_index),
        pa.array(np.full(steps, episode)),
        pa.array(first_index + frame_index),
        pa.array(np.full(steps, task_index)),
    ]
    schema = layout.frame_schema(demonstration.state.shape[1], demonstration.actions.shape[1])
    return pa.Table.from_arrays(columns, schema=schema)


def join_episodes(
    folder: Path, features: dict[str, Any], staged: list[dict[str, Any]], file_number: int
) -> list[dict[str, Any]]:
    """Join staged episodes into the ``file_number``-th video, data and episode files; the episode file comes last.

    Returns:
        The episodes' rows with their places filled in, ``stats`` still nested.
    """
    where = layout.place(file_number)
    rows = [{key: value for key, value in row.items() if key != layout.STAGED_FOLDER} for row in staged]
    for row in rows:
        row |= {f"{part}/{key}": value for part in ("data", "meta/episodes") for key, value in where.items()}
    for feature in (key for key, value in features.items() if value["dtype"] == "video"):
        sources = [folder / row[layout.STAGED_FOLDER] / f"{feature}.mp4" for row in staged]
        join_videos(sources, folder / layout.VIDEO.format(video_key=feature, **where))
        fps, frames = features[feature]["info"]["video.fps"], 0
        for row in rows:
            row |= {f"videos/{feature}/{key}": value for key, value in where.items()}
            row[f"videos/{feature}/from_timestamp"] = frames / fps
            frames += row["length"]
            row[f"videos/{feature}/to_timestamp"] = frames / fps
    tables = [pq.read_table(folder / row[layout.STAGED_FOLDER] / layout.STAGED_FRAMES) for row in staged]
    write_table(folder / layout.DATA.format(**where), tables)
    flat = [layout.flatten_stats(row) for row in rows]
    write_table(folder / layout.EPISODES.format(**where), [pa.Table.from_pylist(flat)])
    return rows


def write_quantiles(folder: Path) -> None:
    """Add exact quantiles of states and actions, over all joined episodes, to ``stats.json``."""
    stats = read_json(folder / layout.STATS)
    files = sorted((folder / "data").glob("*/*.parquet"))
    for name in (layout.STATE, layout.ACTION):
        columns = [pq.read_table(path, columns=[name])[name] for path in files]
        stats[name] |= layout.vector_quantiles(np.concatenate([layout.matrix(column) for column in columns]))
    atomic_write_json(folder / layout.STATS, stats)


def write_table(path: Path, row_groups: Sequence[pa.Table]) -> None:
    """Write tables of one schema as the row groups of one parquet file, atomically."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, row_groups[0].schema, compression="snappy") as writer:
        for table in row_groups:
            writer.write_table(table)
    atomic_write_bytes(path, buffer.getvalue())
