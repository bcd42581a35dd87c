"""Repeated measurements: interleaved, summarised as median and spread, written as rows and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

NUMBER_WIDTH = 9
"""Columns of a printed number: a name gives way to it."""


@dataclass(slots=True)
class Samples:
    """One measured quantity over repeats."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median over repeats."""
        return statistics.median(self.values)

    def row(self) -> dict[str, float | int | str]:
        """As written to JSON: ``value`` is the median."""
        return {
            "name": self.name,
            "value": self.median,
            "unit": self.unit,
            "repeats": len(self.values),
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
        }


class Table:
    """Samples by name, in order of first mention."""

    def __init__(self) -> None:
        self._samples: dict[str, Samples] = {}

    def add(self, name: str, unit: str, value: float) -> None:
        """Record one repeat of ``name``."""
        self._samples.setdefault(name, Samples(name, unit)).values.append(value)

    def rows(self) -> list[dict[str, float | int | str]]:
        """All quantities."""
        return [samples.row() for samples in self._samples.values()]

    def median(self, name: str) -> float:
        """Median of one quantity."""
        return self._samples[name].median

    def values(self, name: str) -> list[float]:
        """All repeats of one quantity."""
        return list(self._samples[name].values)

    def __contains__(self, name: str) -> bool:
        return name in self._samples


def ratios(table: Table, pairs: Sequence[tuple[str, str]]) -> Mapping[str, float]:
    """``a/b`` of medians for every pair of which both were measured."""
    return {f"{a}/{b}": table.median(a) / table.median(b) for a, b in pairs if a in table and b in table}


def print_rows(title: str, rows: Sequence[Mapping[str, float | int | str]], factors: Mapping[str, float]) -> None:
    """Print the table a person reads."""
    from rich.console import Console
    from rich.table import Table as RichTable

    shown = RichTable(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2))
    shown.add_column("")
    for heading in ("median", "min", "max"):
        shown.add_column(heading, justify="right", min_width=NUMBER_WIDTH)
    shown.add_column("unit")
    for row in rows:
        figures = [_figure(float(row[key])) for key in ("median", "min", "max")]
        shown.add_row(str(row["name"]), *figures, str(row["unit"]))
    for name, value in factors.items():
        shown.add_row(name, f"{_figure(value)}x", "", "", "ratio")
    Console(highlight=False).print(shown)


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
