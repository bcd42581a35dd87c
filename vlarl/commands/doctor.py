"""Look for what is wrong: packages, off-screen rendering, LIBERO's files, memory, disk, GPU, video.

Every finding that needs something done comes with the command that does it. The exit status is 1 where something
does not work.

Example::

    vlarl doctor
    vlarl doctor --json doctor.json
    vlarl doctor --policy openvla-oft-libero-goal --gpu-memory 80

With --policy it plans memory instead: what a policy folder (or a named size: 7b, small) needs to run and to train, and
how many decisions fit into a micro-batch. Nothing is loaded for that; activations are counted on the real code without
memory.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl doctor``."""

    folder: Path = Path(".")
    """Where runs are going to be written."""
    policy: str = ""
    """Plan memory for this policy folder, or for a named size (7b, small, ...)."""
    gpu_memory: float = 80.0
    """Memory of the GPU to plan for [GB, 10^9 bytes]."""
    adapter_rank: int = 32
    """Rank of the low-rank adapters to plan for."""
    unnorm_key: str = ""
    """Dataset whose statistics to take, where a published folder holds several."""
    json: Path | None = None
    """Write the findings to this file."""


def run(options: Options) -> int:
    """Print one line per finding."""
    from rich.console import Console
    from rich.table import Table

    from vlarl.doctor import Status, examine

    if options.policy:
        from vlarl.doctor.memory_table import show_plan

        return show_plan(options)
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
