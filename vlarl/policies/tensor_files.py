"""Reading tensors from safetensors files, sharded or not, and where that was asked for from pickles."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlarl.errors import CheckpointError
from vlarl.files import read_json

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True, slots=True)
class TensorFiles:
    """The safetensors files of a folder and the tensors they must hold."""

    files: dict[Path, list[str] | None]
    """File -> the tensors that the index promises in it; None: whatever is there."""

    def __iter__(self) -> Iterator[tuple[Path, str, Tensor]]:
        """File, name and value of every tensor, one after the other: no two are in memory at once.

        Raises:
            CheckpointError: a file is truncated, no safetensors file, or lacks what the index promises.
        """
        for path, promised in self.files.items():
            with open_tensors(path) as stream:
                names = list(stream.keys())
                missing = sorted(set(promised or ()) - set(names))
                if missing:
                    raise CheckpointError(
                        f"{path}: tensor {missing[0]!r} is missing ({len(missing)} in all); {INDEX_FILE} says that it "
                        "is there. The files belong to different checkpoints: download the folder again."
                    )
                for name in names:
                    try:
                        yield path, name, stream.get_tensor(name)
                    except SafetensorError as error:
                        raise CheckpointError(f"{path}: tensor {name!r} cannot be read: {error}") from error


@contextmanager
def open_tensors(path: Path) -> Iterator[Any]:
    """``safe_open`` whose failure names the file, and what it is instead where that can be seen.

    Raises:
        CheckpointError: not a complete safetensors file.
    """
    try:
        stream = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        reason = _reason(path, error)
        raise CheckpointError(f"{path}: not a readable safetensors file: {reason}") from error
    with stream:
        yield stream


def find_tensor_files(folder: Path, *, shown: str = "") -> TensorFiles:
    """The weights of a folder: one file, or the shards that the index lists.

    Raises:
        CheckpointError: no weights, a shard is missing, or there are only pickles.
    """
    index = folder / INDEX_FILE
    if index.is_file():
        return _shards(folder, index)
    single = folder / WEIGHTS_FILE
    if single.is_file():
        return TensorFiles({single: None})
    there = sorted(p.name for p in folder.iterdir())
    shards = [name for name in there if name.startswith("model-") and name.endswith(".safetensors")]
    if shards:
        raise CheckpointError(
            f"{index} is missing; expected it beside {shards[0]}: it says which tensor lies in which shard. "
            "Download the folder again."
        )
    pickles = [name for name in there if name.endswith(PICKLE_SUFFIXES) and "--" not in name]
    if pickles:
        raise CheckpointError(
            f"{folder / pickles[0]} is a pickle, which can run any code when it is loaded; expected {WEIGHTS_FILE}. "
            "Convert it where you trust it (transformers' save_pretrained writes safetensors), then load the result."
        )
    raise CheckpointError(
        f"{folder}: {shown or WEIGHTS_FILE} is missing (the folder holds {', '.join(there) or 'nothing'})"
    )


def read_pickle(path: Path, *, allowed: bool) -> dict[str, Tensor]:
    """Tensors of a ``torch.save`` file, with ``weights_only``: classes other than tensors are refused by torch.

    Raises:
        CheckpointError: it was not asked for, the file is damaged, or it holds something else.
    """
    if not allowed:
        raise CheckpointError(
            f"{path} is a pickle; expected safetensors. Pickles are not opened unless asked for: add "
            "--load.allow-pickle (torch then reads tensors alone, nothing in the file is run)."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path}: not a readable file of tensors: {first}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a dict of tensors (a state_dict)")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def read_component(folder: Path, kind: str, *, allow_pickle: bool) -> dict[str, Tensor] | None:
    """Tensors of ``{kind}--..._checkpoint.pt`` (or the same as ``.safetensors``); None where there is no such file.

    Raises:
        CheckpointError: there are several of them.
    """
    found = sorted(folder.glob(f"{kind}--*"))
    if not found:
        return None
    as_tensors = [path for path in found if path.suffix == ".safetensors"]
    if len(as_tensors or found) > 1:
        raise CheckpointError(
            f"{folder}: {len(found)} files named {kind}--* ({', '.join(p.name for p in found)}); expected one. "
            "Copy the one that belongs to these weights and the rest of the folder to a folder of its own."
        )
    if as_tensors:
        return {name.removeprefix("module."): tensor for _, name, tensor in TensorFiles({as_tensors[0]: None})}
    return read_pickle(found[0], allowed=allow_pickle)


def _shards(folder: Path, index: Path) -> TensorFiles:
    content = read_json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise CheckpointError(f"{index}: field 'weight_map' is {places!r:.40}; expected tensor names -> file names")
    files: dict[Path, list[str] | None] = {}
    for name, file in places.items():
        if Path(file).name != file:
            raise CheckpointError(f"{index}: {file!r} is no plain file name; expected a file in the same folder")
        files.setdefault(folder / file, []).append(name)  # pyrefly: ignore
    missing = sorted(path.name for path in files if not path.is_file())
    if missing:
        raise CheckpointError(
            f"{folder / missing[0]} is missing ({len(missing)} of {len(files)} shards); {INDEX_FILE} lists it. "
            "The download is incomplete: fetch that file again."
        )
    return TensorFiles(files)


def _reason(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError:
        return str(error)
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "it is a pickle (torch.save), which can run any code when it is loaded; expected safetensors"
    if start.startswith(b"version https:"):
        return "it is a Git LFS pointer, not the weights: run 'git lfs pull' in that folder"
    return f"{error} ({path.stat().st_size} bytes; a download that stopped early?)"
