"""Convert a policy folder between our layout and the published OpenVLA one, bit for bit.

Example::

    vlarl convert openvla-oft-libero-goal policies/goal --load.unnorm-key libero_goal_no_noops
    vlarl convert runs/mine/policy published/mine
    vlarl convert runs/lora/policy published/merged --merge
    vlarl convert finetuned/lora_adapter policies/finetuned --load.base openvla-7b

The direction follows from SOURCE. A LoRA adapter folder is merged into its base model. SOURCE is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlarl.cli import plain_description
from vlarl.errors import UserError


@dataclass(frozen=True)
class Options:
    """Flags of the command itself."""

    merge: bool = False
    """Add low-rank adapters to their weights instead of writing them as lora_adapter/ beside the base."""


def main(arguments: Sequence[str]) -> int:
    """Read SOURCE, TARGET and flags, then convert."""
    from vlarl.flags import apply_flags
    from vlarl.policies.convert import convert
    from vlarl.policy import LoadConfig

    words = list(arguments)
    folders = []
    while words and not words[0].startswith("-"):
        folders.append(Path(words.pop(0)))
    if len(folders) != 2 and not any(word in ("-h", "--help") for word in words):
        raise UserError("expected two folders: vlarl convert SOURCE TARGET. See 'vlarl convert --help'.")
    config, options = apply_flags(
        _Config(LoadConfig()), words, command="convert SOURCE TARGET", description=_help(), options=Options()
    )
    layout = convert(folders[0], folders[1], config.load, merge=options.merge)
    print(f"written to {folders[1]}, in {'our' if layout == 'ours' else 'the published'} layout")
    return 0


@dataclass(frozen=True)
class _Config:
    """What the flags of loading hang from."""

    load: Any


def _help() -> str:
    return plain_description(__doc__ or "")
