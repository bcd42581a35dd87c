"""Demonstrations: the record, the LeRobotDataset v3 folder, and readers of other people's files."""

from __future__ import annotations

from pathlib import Path

from vlarl.data.demonstration import DataError, DatasetSummary, Demonstration, DemonstrationSource, TaskCount

__all__ = ["DataError", "DatasetSummary", "Demonstration", "DemonstrationSource", "TaskCount", "open_demonstrations"]


def open_demonstrations(path: str | Path) -> DemonstrationSource:
    """Open what ``path`` holds: a LeRobotDataset v3 folder, or LIBERO/robomimic HDF5 (a file or a folder of them).

    Example::

        for demonstration in open_demonstrations("demos/libero_object"):
            print(demonstration.instruction, len(demonstration))

    Raises:
        DataError: nothing there, or nothing that is known.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist. Demonstrations are made with: vlarl demos libero_object --out {path}")
    if path.is_dir():
        entries = sorted(entry.name for entry in path.iterdir())
        if (path / "meta" / "info.json").is_file() or "staging" in entries:
            from vlarl.data.lerobot import LeRobotDataset

            return LeRobotDataset(path)
        is_hdf5 = any(name.endswith((".hdf5", ".h5")) for name in entries)
    else:
        entries, is_hdf5 = [path.name], path.suffix in (".hdf5", ".h5")
    if is_hdf5:
        from vlarl.data.hdf5 import Hdf5Demonstrations

        return Hdf5Demonstrations(path)
    inside = (
        [entry.name for entry in sorted(path.iterdir()) if (entry / "meta" / "info.json").is_file()]
        if path.is_dir()
        else []
    )
    hint = f" Did you mean {path / inside[0]}?" if inside else ""
    raise DataError(
        f"{path} holds {', '.join(entries[:4]) or 'nothing'}; known are a LeRobotDataset v3 folder (with "
        f"meta/info.json) and LIBERO or robomimic files (*.hdf5).{hint}"
    )
