"""Show what there is by name: environments, policies, rewards, objectives, experiments.

Example::

    vlarl list
    vlarl list configs
    vlarl list rewards --json rewards.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlarl.errors import NameNotFoundError, unknown_name
from vlarl.resolve import PACKAGES, list_names


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl list``."""

    kind: Annotated[str, tyro.conf.Positional] = "all"
    """envs, policies, rewards, objectives, configs, or all."""
    json: Path | None = None
    """Write the list to this file."""


def run(options: Options) -> int:
    """Print one table per kind."""
    from rich.console import Console
    from rich.table import Table

    if options.kind != "all" and options.kind not in PACKAGES:
        raise NameNotFoundError(unknown_name("kind", options.kind, [*PACKAGES, "all"]))
    kinds = list(PACKAGES) if options.kind == "all" else [options.kind]
    found = {kind: list_names(kind) for kind in kinds}
    console = Console(highlight=False)
    for kind, items in found.items():
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column()
        for item in items:
            table.add_row(item.name, item.summary)
        if not items:
            table.add_row("(none)", "")
        console.print(table)
        console.print()
    if options.json is not None:
        from vlarl.results import result_header, write_result

        names = {
            kind: [{"name": item.name, "summary": item.summary} for item in items] for kind, items in found.items()
        }
        write_result(options.json, result_header(["vlarl", "list", options.kind], {}) | names)
    return 0
