"""Files of small policies: ``config.json`` with the fields of a dataclass, ``model.safetensors`` with the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file, save
from torch import nn

from vlarl.errors import CheckpointError
from vlarl.files import atomic_write_bytes, atomic_write_json, read_json

PolicyType = TypeVar("PolicyType", bound=nn.Module)


def save_plain(
    folder: str | Path, policy: nn.Module, policy_class: str, config: Any, card: Mapping[str, Any] | None
) -> None:
    """Write both files; ``config`` is a dataclass of JSON values and lists of them."""
    content = {"policy_class": policy_class, **asdict(config), "card": dict(card or {})}
    atomic_write_json(Path(folder) / "config.json", content)
    atomic_write_bytes(Path(folder) / "model.safetensors", save(policy.state_dict()))


def load_plain(folder: str | Path, config: type[Any], build: Callable[[Any], PolicyType], what: str) -> PolicyType:
    """Read what ``save_plain`` wrote.

    Args:
        folder: that was written.
        config: class of the dataclass that was saved.
        build: makes the policy from it.
        what: the policy in words, for the message.

    Raises:
        CheckpointError: a field or tensor does not fit.
    """
    folder = Path(folder)
    content = read_json(folder / "config.json")
    try:
        values = {field.name: content[field.name] for field in fields(config)}
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        policy = build(config(**(values | lists)))
        policy.load_state_dict(load_file(folder / "model.safetensors"))
    except (KeyError, RuntimeError, FileNotFoundError) as error:
        raise CheckpointError(f"{folder} does not hold {what}: {error}") from error
    return policy
