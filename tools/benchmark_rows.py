"""Rows for docs/benchmarks.md from result files: figure, value, command, machine, date.

Example::

    .venv/bin/python tools/benchmark_rows.py runs/quickstart/eval_before.json runs/quickstart/eval_after.json
    .venv/bin/python tools/benchmark_rows.py bench.json
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from vlarl.cli import plain_description
from vlarl.files import read_json


@dataclass(frozen=True)
class Options:
    """Flags of the tool."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Result files, as the commands write them with --json."""


def figures(name: str, result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """``(figure, value)`` for all that a result holds: a success rate, benchmark rows, ratios."""
    if result.get("success_rate") is not None:
        low, high = result["ci95"]
        protocol = result["protocol"]
        decoding = protocol.get("decoding", {})
        details = [protocol.get("split"), protocol.get("profile"), decoding.get("mode"), decoding.get("temperature")]
        shown = ", ".join(str(item) for item in details if item is not None)
        value = f"{result['success_rate']:.3f} [{low:.3f}, {high:.3f}]"
        yield f"{name}: success ({shown})", f"{value}, {result['episodes']} episodes, {result['errors']} errors"
    for row in result.get("rows", []):
        value = f"{row['median']:.4g} {row['unit']} ({row['min']:.4g} to {row['max']:.4g}, {row['repeats']} repeats)"
        yield row["name"], value
    for ratio, value in result.get("ratios", {}).items():
        yield ratio, f"{value:.3g} times"


def markdown(path: Path) -> list[str]:
    """The table rows of one result file."""
    result = read_json(path)
    machine = result["machine"]
    where = f"{machine['cores']} cores {machine['cpu']}, {machine['memory_gib']} GiB"
    date = str(result.get("time", ""))[:10]
    return [
        f"| {figure} | {value} | `{result['command']}` | {where} | {date} |"
        for figure, value in figures(path.stem, result)
    ]


if __name__ == "__main__":
    for file in tyro.cli(Options, description=plain_description(__doc__ or "")).results:
        print("\n".join(markdown(file)))
