"""Look for what is wrong: packages, off-screen rendering, LIBERO's files, memory, disk, GPU, video.

Every finding that needs something done comes with the command that does it. The exit status is 1 where something
does not work.

Example::

    vlarl doctor
    vlarl doctor --json doctor.json
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl doctor``."""

    folder: Path = Path(".")
    """Where runs are going to be written."""
    json: Path | None = None
    """Write the findings to this file."""


def run(options: Options) -> int:
    """Print one line per finding."""
    from rich.console import Console
    from rich.table import Table

    from vlarl.doctor import Status, examine

    console = Console(highlight=False)
    with console.status("looking around ..."):
        findings = examine(options.folder)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    signs = {
        Status.OK: "[green]ok[/green]",
        Status.WARNING: "[yellow]warning[/yellow]",
        Status.PROBLEM: "[red]PROBLEM[/red]",
    }
    for finding in findings:
        table.add_row(signs[finding.status], finding.topic, _plain(finding.found))
        if finding.fix:
            table.add_row("", "", f"[cyan]fix: {_plain(finding.fix)}[/cyan]")
    console.print(table)
    problems = [finding for finding in findings if finding.status is Status.PROBLEM]
    warnings = [finding for finding in findings if finding.status is Status.WARNING]
    console.print(f"\n{len(problems)} problems, {len(warnings)} warnings" if problems or warnings else "\nall is well")
    if options.json is not None:
        from vlarl.results import result_header, write_result

        result = result_header(["vlarl", "doctor"], {})
        write_result(options.json, result | {"findings": [asdict(finding) for finding in findings]})
    return 1 if problems else 0


def _plain(text: str) -> str:
    """Text whose square brackets rich leaves alone."""
    from rich.markup import escape

    return escape(text)
