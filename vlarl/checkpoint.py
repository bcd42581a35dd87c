"""Run folders and their checkpoints: complete or absent, never half, and without pickle.

Layout of a run folder::

    runs/quickstart/
      config.json                     the resolved configuration
      metrics.jsonl                   one line per iteration
      checkpoints/iteration-000010/   one complete checkpoint, loadable as a policy folder
        model.safetensors             the policy's state
        config.json, README.md, ...   whatever the policy's save_pretrained adds
        trainer_state.safetensors     tensors of the optimiser and of ``meta`` (moments, generator states)
        trainer_state.json            everything else of them, with references into the file above

A checkpoint is written into a folder with a temporary name, flushed to the disk and renamed. A process killed
at any moment leaves the previous checkpoints as they were. All numbers come back exactly as they were saved.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vlarl.errors import CheckpointError
from vlarl.files import TEMPORARY_PREFIX, fsync_folder, fsync_tree, read_json, writing

MODEL_FILE = "model.safetensors"
STATE_TENSORS_FILE = "trainer_state.safetensors"
STATE_FILE = "trainer_state.json"
CHECKPOINTS = "checkpoints"
FORMAT = 1
"""Version of this layout, written into ``trainer_state.json``."""

_FOLDER = re.compile(r"iteration-(\d+)")


def checkpoint_folder(run_folder: str | Path, iteration: int) -> Path:
    """Where the checkpoint made after ``iteration`` updates lies."""
    return Path(run_folder) / CHECKPOINTS / f"iteration-{iteration:06d}"


def save_checkpoint(
    run_folder: str | Path,
    iteration: int,
    policy_state: Mapping[str, Tensor],
    optimizer_state: Mapping[str, Any],
    meta: Mapping[str, Any],
    *,
    keep: int = 3,
    write_extra: Callable[[Path], object] | None = None,
) -> Path:
    """Write one complete checkpoint and delete the oldest beyond ``keep``.

    Args:
        run_folder: the run's folder; made where missing.
        iteration: number of finished iterations; names the checkpoint.
        policy_state: ``policy.state_dict()``.
        optimizer_state: ``optimizer.state_dict()`` as torch gives it (or any nesting of dicts, lists, tuples,
            tensors, numpy arrays, bytes and JSON values).
        meta: whatever else a resumed run needs (generator states, counters); the same kinds of values.
        keep: complete checkpoints kept, 0 for all.
        write_extra: called with the unfinished folder, to put a policy's ``config.json``, tokenizer and card
            beside the weights (``policy.save_pretrained``); a ``model.safetensors`` it writes is replaced by
            ``policy_state``, so that what is resumed is exactly what was running.

    Raises:
        DiskError: nothing could be written; the checkpoints that were there are untouched.
    """
    target = checkpoint_folder(run_folder, iteration)
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{target.name}-", dir=target.parent))
        try:
            os.chmod(temporary, 0o755)
            if write_extra is not None:
                write_extra(temporary)
            _write_contents(temporary, iteration, policy_state, optimizer_state, meta)
            fsync_tree(temporary)
            if target.exists():  # a run resumed from an older checkpoint comes by here a second time
                _discard(target)
            os.rename(temporary, target)
            fsync_folder(target.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    if keep > 0:
        for old in list_checkpoints(run_folder)[:-keep]:
            with contextlib.suppress(OSError):
                _discard(old)
    return target


def list_checkpoints(run_folder: str | Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first."""
    folder = Path(run_folder) / CHECKPOINTS
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _FOLDER.fullmatch(path.name)
        if match and all((path / name).is_file() for name in (MODEL_FILE, STATE_TENSORS_FILE, STATE_FILE)):
            found.append((int(match[1]), path))
    return [path for _, path in sorted(found)]


def latest_checkpoint(run_folder: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    found = list_checkpoints(run_folder)
    return found[-1] if found else None


def load_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """``(policy_state, optimizer_state, meta)`` as they were passed to ``save_checkpoint``, tensors on the CPU.

    Raises:
        CheckpointError: a file is missing or damaged (which one, and what to do).
    """
    path = Path(path)
    for name in (MODEL_FILE, STATE_TENSORS_FILE, STATE_FILE):
        if not (path / name).is_file():
            raise CheckpointError(f"{path} is not a complete checkpoint: {name} is missing.{_alternative(path)}")
    state = read_json(path / STATE_FILE)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path / STATE_FILE}: field 'format' is {found!r}, expected {FORMAT}")
    policy_state = _read_tensors(path / MODEL_FILE)
    tensors = _read_tensors(path / STATE_TENSORS_FILE)
    try:
        return policy_state, _decode(state["optimizer"], tensors), _decode(state["meta"], tensors)
    except KeyError as error:
        raise CheckpointError(
            f"{path}: {STATE_FILE} and {STATE_TENSORS_FILE} do not belong together: {error} is missing."
            f"{_alternative(path)}"
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process left unfinished in ``folder``."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _write_contents(
    folder: Path,
    iteration: int,
    policy_state: Mapping[str, Tensor],
    optimizer_state: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> None:
    tensors: dict[str, Tensor] = {}
    state = {
        "format": FORMAT,
        "iteration": iteration,
        "optimizer": _encode(optimizer_state, "optimizer", tensors),
        "meta": _encode(meta, "meta", tensors),
    }
    _save_tensors(folder / MODEL_FILE, policy_state)
    _save_tensors(folder / STATE_TENSORS_FILE, tensors)
    (folder / STATE_FILE).write_text(json.dumps(state, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    # Clones: safetensors refuses tensors that share memory (tied weights), and wants them contiguous.
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    try:
        save_file(plain, path, metadata={"format": "pt"})
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        # What the operating system said, wrapped by safetensors: unwrap it, so that it is reported like any other.
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged: {error}.{_alternative(path.parent)}") from error


def _alternative(path: Path) -> str:
    others = [str(p) for p in list_checkpoints(path.parent.parent) if p != path] if _FOLDER.match(path.name) else []
    return f" Complete checkpoints of this run: {', '.join(others)}." if others else ""


def _discard(path: Path) -> None:
    """Delete a folder; a kill in between leaves no folder that looks complete."""
    doomed = path.with_name(f"{TEMPORARY_PREFIX}deleted-{path.name}-{os.getpid()}")
    os.rename(path, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _encode(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON; tensors and arrays move to ``tensors`` and leave their name behind."""
    if isinstance(value, Tensor):
        tensors[where] = value
        return {"$tensor": where}
    if isinstance(value, np.ndarray):
        tensors[where] = torch.from_numpy(value)
        return {"$array": where}
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        items = [(key, _encode(item, f"{where}.{key}", tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$items": [[_encode(key, where, tensors), item] for key, item in items]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(item, f"{where}.{i}", tensors) for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        return _encode(value.item(), where, tensors)
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where} holds a {type(value).__name__}, which a checkpoint cannot store: {value!r}")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of ``_encode``."""
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (kind, content), *_ = value.items()
        if kind == "$tensor":
            return tensors[content]
        if kind == "$array":
            return tensors[content].numpy()
        if kind == "$bytes":
            return base64.b64decode(content)
        if kind == "$items":
            return {_decode(key, tensors): _decode(item, tensors) for key, item in content}
        if kind == "$tuple":
            return tuple(_decode(item, tensors) for item in content)
        if kind == "$float":
            return float(content)
    return {key: _decode(item, tensors) for key, item in value.items()}
