"""Which recorded initial states are trained on and which are evaluated on; printed with every number."""

from __future__ import annotations

from typing import Literal

from vlarl.errors import ConfigError, unknown_name

Role = Literal["train", "eval"]

SPLITS = {
    "official": "all recorded initial states for training and for evaluation alike, as published work does",
    "heldout": "the first 60 % of the initial states for training, the last 40 % for evaluation only",
}


def init_states(split: str, role: Role, num_init_states: int) -> list[int]:
    """Indices of the initial states that ``role`` may use under ``split``.

    Raises:
        ConfigError: unknown split, or too few states to hold any out.
    """
    if split not in SPLITS:
        raise ConfigError(unknown_name("split", split, SPLITS))
    if split == "official":
        return list(range(num_init_states))
    border = round(0.6 * num_init_states)
    if not 0 < border < num_init_states:
        raise ConfigError(f"split 'heldout' needs at least 2 initial states, found {num_init_states}")
    return list(range(border)) if role == "train" else list(range(border, num_init_states))
