"""Collect the evaluations of ``make_imitation_reference.sh`` into the rows that the report reads.

Example::

    python tools/imitation_rows.py runs/make_imitation_reference imitation.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from vlarl.files import atomic_write_json
from vlarl.tracking import read_metrics


def rows(work: Path) -> list[dict[str, object]]:
    """One row per ``eval<demonstrations per task>.json`` in ``work``, with the minutes its training took."""
    found = []
    for path in work.glob("eval*.json"):
        match = re.fullmatch(r"eval(\d+)", path.stem)
        if match is None:
            continue
        result = json.loads(path.read_text())
        last = read_metrics(work / f"sft{match[1]}" / "metrics.jsonl")[-1]
        found.append(
            {
                "demonstrations_per_task": int(match[1]),
                "epochs": last["step"],
                "minutes": round(last["seconds/train"] / 60, 1),
                **{name: result[name] for name in ("success_rate", "ci95", "successes", "episodes", "errors")},
                "tasks": [
                    {name: task[name] for name in ("task", "success_rate", "ci95", "episodes")}
                    for task in result["tasks"]
                ],
                "protocol": result["protocol"],
            }
        )
    return sorted(found, key=lambda row: row["demonstrations_per_task"])


if __name__ == "__main__":
    atomic_write_json(sys.argv[2], rows(Path(sys.argv[1])))
