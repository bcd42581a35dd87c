"""Print how far our numbers are from those recorded upstream: quantity, tolerance, worst error seen.

Usage: python -m tools.parity_table [--markdown]    (needs the golden data in ../shared/golden/openvla)
       python -m tools.parity_table --objectives    advantages and losses against verl and RLinf (../shared/golden/rl)
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.openvla_parity import GOLDEN, Row, remove_temporary
from tests.support.openvla_parity_training import CASES


def objectives() -> int:
    """One line per quantity that the objectives' parity test compares, as Markdown; the test's exit status."""
    import pytest

    from tests.support.objective_parity import RELATIVE, SEEN

    file = Path(__file__).parents[1] / "tests" / "parity" / "test_objective_golden.py"
    status = int(pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", str(file)]))
    print(f"| quantity | arrays | numbers | worst error, share of what is allowed ({RELATIVE:.0e} relative) |")
    print("|---|---|---|---|")
    for quantity in dict.fromkeys(row.quantity for row in SEEN):
        rows = [row for row in SEEN if row.quantity == quantity]
        count, worst = sum(row.entries for row in rows), max(row.error for row in rows)
        print(f"| {quantity} | {len(rows)} | {count} | {worst:.2f} |")
    return status


def main(arguments: list[str]) -> int:
    """One line per golden file and quantity: the worst over its cases; exit status 1 where a bound is broken."""
    if "--objectives" in arguments:
        return objectives()
    if not GOLDEN.is_dir():
        print(f"no golden data at {GOLDEN}", file=sys.stderr)
        return 2
    try:
        rows = [row for rows in CASES.values() for row in rows()]
    finally:
        remove_temporary()
    worst: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        worst.setdefault((row.case.split(" ")[0], row.quantity, row.tolerance), []).append(row)
    if "--markdown" in arguments:
        print("| golden file | quantity | cases | tolerance | worst error |\n|---|---|---|---|---|")
    for (file, quantity, tolerance), same in worst.items():
        error = max(row.error for row in same)
        bound = "exact" if tolerance == 0 else f"{tolerance:.0e}"
        mark = "" if all(row.holds for row in same) else "  BROKEN"
        if "--markdown" in arguments:
            print(f"| {file} | {quantity} | {len(same)} | {bound} | {error:.1e}{mark} |")
        else:
            print(f"{file}  {quantity:62} {len(same):3} cases  {bound:>6}  {error:.1e}{mark}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
