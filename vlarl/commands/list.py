"""Show what there is by name: environments, policies, rewards, objectives, experiments, tasks of a suite.

Example::

    vlarl list
    vlarl list configs
    vlarl list tasks --suite libero_object
    vlarl list rewards --json rewards.json
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from vlarl.errors import NameNotFoundError, UserError, unknown_name
from vlarl.resolve import PACKAGES, list_names


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl list``."""

    kind: Annotated[str, tyro.conf.Positional] = "all"
    """envs, policies, rewards, objectives, configs, tasks, or all (tasks left out)."""
    suite: str | None = None
    """Whose tasks to list."""
    json: Path | None = None
    """Write the list to this file."""


def run(options: Options) -> int:
    """Print one table per kind."""
    if options.kind == "tasks" or options.suite is not None:
        tables = {f"tasks of {options.suite}": suite_tasks(options.suite)}
        names = {"tasks": [dict(zip(("task", "instruction"), row, strict=True)) for row in next(iter(tables.values()))]}
    elif options.kind == "all" or options.kind in PACKAGES:
        kinds = list(PACKAGES) if options.kind == "all" else [options.kind]
        found = {kind: list_names(kind) for kind in kinds}
        tables = {kind: [(item.name, item.summary) for item in items] for kind, items in found.items()}
        names = {kind: [{"name": name, "summary": summary} for name, summary in rows] for kind, rows in tables.items()}
    else:
        raise NameNotFoundError(unknown_name("kind", options.kind, [*PACKAGES, "tasks", "all"]))
    for title, rows in tables.items():
        show(title, rows)
    if options.json is not None:
        from vlarl.results import result_header, write_result

        command = ["vlarl", "list", options.kind, *(["--suite", options.suite] if options.suite else [])]
        write_result(options.json, result_header(command, {}) | names)
    return 0


def suite_tasks(suite: str | None) -> list[tuple[str, str]]:
    """Index and instruction of every task of a suite.

    Raises:
        UserError: no suite was named, or no environment plays it.
    """
    from vlarl.commands.eval import env_for_suite

    if suite is None:
        raise UserError("whose tasks? For example: vlarl list tasks --suite libero_object")
    return [(str(task.task), task.instruction) for task in env_for_suite(suite).task_specs(suite)]


def show(title: str, rows: list[tuple[str, str]]) -> None:
    """Print one table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for row in rows or [("(none)", "")]:
        table.add_row(*row)
    console = Console(highlight=False)
    console.print(table)
    console.print()
