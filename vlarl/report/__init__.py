"""One self-contained page per run: what was learned, under which protocol, at what cost.

Example::

    path = write_report("runs/quickstart")
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from vlarl.files import atomic_write_text

__all__ = ["write_report"]

REPORT_FILE = "report.html"


def write_report(run_folder: str | Path) -> Path:
    """Build ``report.html`` in a run folder; needs no network to be read, and nothing but small videos is copied.

    What the folder lacks is named on the page.

    Raises:
        UserError: not a run folder.
        DiskError: the page cannot be written.
    """
    import jinja2

    from vlarl.report.page import page_context
    from vlarl.report.run_folder import read_run_folder

    run = read_run_folder(run_folder)
    source = resources.files("vlarl").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(source).render(page_context(run))
    return atomic_write_text(run.folder / REPORT_FILE, page)
