"""Folders in the published layout that tests may change: copies of the golden ones, or made from a compact policy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from vlarl.policies.convert import to_published
from vlarl.policies.openvla_oft import OpenVlaOft


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level fields; None removes one."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def published_copy(policy: OpenVlaOft, source: Path, folder: Path, shard_bytes: int = 60_000) -> Path:
    """``policy`` saved to ``source`` in our layout and converted to ``folder`` in several shards."""
    policy.save_pretrained(source)
    to_published(source, folder, shard_bytes=shard_bytes)
    return folder


def writable_copy(folder: Path, target: Path) -> Path:
    """A copy whose files may be edited (golden data are read-only)."""
    shutil.copytree(folder, target)
    for path in target.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)
    return target
