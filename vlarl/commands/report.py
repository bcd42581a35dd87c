"""Build the page of a run: learning curve, success with intervals, protocol, time, videos.

Example::

    vlarl report runs/quickstart
    vlarl report runs/quickstart --json report.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl report``."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder, as vlarl train leaves it."""
    json: Path | None = None
    """Write what the page says to this file."""


def run(options: Options) -> int:
    """Write ``report.html`` and say what it holds and what it lacks."""
    from rich.console import Console

    from vlarl.report import write_report
    from vlarl.report.page import headline, protocol_rows, warnings
    from vlarl.report.run_folder import read_run_folder

    path = write_report(options.run)
    folder = read_run_folder(options.run)
    before, after = folder.evaluation("before"), folder.evaluation("after")
    console = Console(highlight=False, soft_wrap=True)
    console.print(headline(folder, before, after), style="bold", markup=False)
    for warning in warnings(folder, before, after):
        console.print(f"warning: {warning}", markup=False)
    for missing in folder.missing:
        console.print(f"missing: {missing}", markup=False)
    console.print(f"written: {path}", markup=False)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        result = result_header(["vlarl", "report", str(options.run)], dict(protocol_rows(after or before)))
        result |= {
            "headline": headline(folder, before, after),
            "warnings": warnings(folder, before, after),
            "missing": folder.missing,
            "report": str(path),
        }
        write_result(options.json, result)
    return 0
