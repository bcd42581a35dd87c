"""What is wrong with this machine or installation, and the one command that fixes each thing.

Example::

    for finding in examine():
        print(finding.status, finding.topic, finding.found, finding.fix)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vlarl.doctor.finding import Finding, Status, problem
from vlarl.doctor.graphics import examine_graphics
from vlarl.doctor.machine import examine_machine
from vlarl.doctor.packages import examine_libero, examine_packages

__all__ = ["Finding", "Status", "examine"]


def examine(folder: str | Path = ".") -> list[Finding]:
    """Look at everything; a check that itself fails becomes a finding.

    Args:
        folder: where runs are going to be written.
    """
    checks: dict[str, Callable[[], list[Finding]]] = {
        "packages": examine_packages,
        "rendering": examine_graphics,
        "LIBERO files": examine_libero,
        "machine": lambda: examine_machine(folder),
    }
    findings = []
    for topic, check in checks.items():
        try:
            findings += check()
        except Exception as error:  # a broken installation can fail anywhere, and saying so is the point
            findings.append(problem(topic, f"could not be examined: {error!r}", "tools/setup.sh --force"))
    return findings
