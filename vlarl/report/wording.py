"""Numbers in words: rates, differences and protocol values in a form for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlarl.report.run_folder import Counted
from vlarl.statistics import Estimate


def percent(value: float) -> str:
    """``0.7375`` as ``73.8 %``."""
    return f"{100 * value:.1f} %"


def duration_text(seconds: float, *, short: bool = False) -> str:
    """Seconds as ``14.6 minutes`` or ``14.6 min``; below two minutes in seconds."""
    if seconds < 120:
        return f"{seconds:.0f} {'s' if short else 'seconds'}"
    return f"{seconds / 60:.1f} {'min' if short else 'minutes'}"


def points(change: Estimate) -> str:
    """A difference of rates with its interval, in percentage points."""
    return f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"


def with_interval(counted: Counted | None) -> str:
    """A rate with its interval and counts."""
    if counted is None:
        return "–"
    rate = counted.rate
    interval = f"[{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
    return f"{percent(rate.value)} {interval} ({counted.successes}/{counted.episodes})"


def text(value: Any) -> str:
    """A protocol value in a form for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        numbers = [item for item in value if isinstance(item, int) and not isinstance(item, bool)]
        if len(value) > 4 and len(numbers) == len(value) and numbers == list(range(numbers[0], numbers[-1] + 1)):
            return f"{numbers[0]} to {numbers[-1]}"
        return ", ".join(text(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not set"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
