"""The driving figures of a run's evaluations, as the page shows them."""

from __future__ import annotations

from typing import Any

from vlarl.report.run_folder import RunFolder


def driving_rows(run: RunFolder) -> list[dict[str, str]]:
    """A row per evaluation before and after training that holds driving figures, the headline first."""
    rows = []
    for variant in run.variants():
        for when in ("before", "after"):
            evaluation = run.evaluation(when, variant)
            figures: dict[str, Any] = evaluation.raw.get("driving") or {} if evaluation is not None else {}
            if evaluation is None or not figures:
                continue
            rates = sorted(figures["infractions_per_km"].items(), key=lambda pair: -pair[1])
            suites = evaluation.protocol.get("suites") or ["?"]
            rows.append(
                {
                    "where": ", ".join(suites) + ("" if variant else " (headline)"),
                    "decoding": evaluation.decoding,
                    "when": when,
                    "score": f"{figures['driving_score']:.1f}",
                    "completion": f"{figures['route_completion']:.1f} %",
                    "kilometres": f"{figures['kilometres']:.2f}",
                    "infractions": ", ".join(f"{kind.replace('_', ' ')} {rate:.2f}" for kind, rate in rates if rate)
                    or "none",
                }
            )
    return rows
