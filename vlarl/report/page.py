"""What the page says, computed from the run folder: every sentence is earned from data in it."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlarl.report import charts
from vlarl.report.driving import driving_rows
from vlarl.report.run_folder import Counted, Evaluation, RunFolder
from vlarl.report.wording import duration_text, percent, points, text, with_interval

EMBED_MEGABYTES = 3.0
"""Videos up to this size, in all, become part of the page; further ones are linked beside it."""
_NOT_COMPARED = {"policy", "iteration"}
"""Protocol entries that differ between before and after by design."""


def page_context(run: RunFolder) -> dict[str, Any]:
    """Everything that the template shows."""
    before, after = run.evaluation("before"), run.evaluation("after")
    totals = (before.total if before else None, after.total if after else None)
    plot_rows = [(row["label"], row["before_counted"], row["after_counted"]) for row in task_rows(before, after)]
    return {
        "title": str(run.config.get("name") or run.folder.resolve().name),
        "folder": run.folder.resolve().name,
        "headline": headline(run, before, after),
        "warnings": warnings(run, before, after),
        "cards": cards(run, *totals),
        "learning_curve": charts.learning_curve(run.metrics, curve_evaluations(run)) if run.metrics else "",
        "smoothing": charts.SMOOTHING,
        "tasks": task_rows(before, after),
        "tasks_chart": charts.rates_chart(plot_rows) if plot_rows else "",
        "variants": variant_rows(run),
        "driving": driving_rows(run),
        "reference": reference_sentence(run, after),
        "imitation": imitation_rows(run),
        "imitation_chart": charts.imitation_chart(run.imitation, totals[1]) if run.imitation else "",
        "imitation_sentence": imitation_sentence(run, totals[1]),
        "time_chart": charts.time_chart(run.metrics) if _has_phases(run.metrics) else "",
        "time": time_rows(run.metrics),
        "diagnostics": charts.diagnostics_charts(run.metrics),
        "protocol": protocol_rows(after or before),
        "success_at_k": ((after.raw.get("success_at_k") if after else None) or {}),
        "provenance": provenance(after or before),
        "videos": videos(run),
        "config": json.dumps(run.config, indent=2, ensure_ascii=False) if run.config else "",
        "missing": run.missing,
    }


def headline(run: RunFolder, before: Evaluation | None, after: Evaluation | None) -> str:
    """One sentence with both rates, their intervals and the difference; weaker where less is known."""
    if not (before and before.total and after and after.total):
        known = next((e for e in (after, before) if e and e.total), None)
        if known is None or known.total is None:
            return "No success rate was measured in this run."
        return f"Success {known.when} training: {with_interval(known.total)}. There is nothing to compare it with here."
    change = after.total.minus(before.total)
    verb = "rose" if change.low > 0 else "fell" if change.high < 0 else "did not change measurably:"
    first, last = percent(before.total.rate.value), percent(after.total.rate.value)
    seconds = _train_seconds(run, after)
    duration = f" in {duration_text(seconds)} of training" if seconds else ""
    where = "from" if verb != "did not change measurably:" else "it went from"
    return f"Success {verb} {where} {first} to {last}{duration}: {points(change)} points."


def cards(run: RunFolder, before: Counted | None, after: Counted | None) -> list[dict[str, str]]:
    """The large figures on top."""
    found = [_rate_card("before training", before), _rate_card("after training", after)]
    if before and after:
        change = after.minus(before)
        note = f"95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f}"
        found.append({"label": "difference [points]", "value": f"{100 * change.value:+.1f}", "note": note})
    seconds = _train_seconds(run, run.evaluation("after"))
    if seconds:
        note = f"{len(run.metrics)} iterations" if run.metrics else ""
        found.append({"label": "training time", "value": duration_text(seconds, short=True), "note": note})
    speed = _mean(run.metrics, "env_steps_per_second")
    if speed is not None:
        found.append(
            {"label": "control steps per second", "value": f"{speed:.0f}", "note": "rollouts, policy included"}
        )
    memory = [float(line["peak_memory_gb"]) for line in run.metrics if line.get("peak_memory_gb") is not None]
    if memory:
        found.append({"label": "peak memory", "value": f"{max(memory):.1f} GB", "note": "all processes"})
    return found


def warnings(run: RunFolder, before: Evaluation | None, after: Evaluation | None) -> list[str]:
    """What a careful reader has to know before believing the numbers."""
    found = []
    for evaluation in run.evaluations:
        if evaluation.errors:
            found.append(
                f"{evaluation.file}: {evaluation.errors} episodes ended in a simulator error. They are not scored; "
                f"{evaluation.total.episodes if evaluation.total else 0} were."
            )
    errors = sum(int(line.get("errors") or 0) for line in run.metrics)
    if errors:
        found.append(f"{errors} training episodes ended in a simulator error; they were not trained on.")
    if before and after:
        keys = sorted((before.protocol.keys() | after.protocol.keys()) - _NOT_COMPARED)
        for key in keys:
            first, last = before.protocol.get(key), after.protocol.get(key)
            if first != last:
                found.append(f"The protocols before and after differ in {key}: {text(first)} and {text(last)}.")
    ratios = [line["ratio_before_update"] for line in run.metrics if line.get("ratio_before_update") is not None]
    worst = max(ratios, key=lambda ratio: abs(ratio - 1), default=1.0)
    if abs(worst - 1) > 1e-3:
        found.append(
            f"The probability ratio before the first update was {worst:.4f} in an iteration; it should be 1. "
            "Rollout and update do not compute the same policy."
        )
    return found


def task_rows(before: Evaluation | None, after: Evaluation | None) -> list[dict[str, Any]]:
    """One row per task of either evaluation."""
    first, last = (before.tasks if before else {}), (after.tasks if after else {})
    rows = []
    for key in sorted(first.keys() | last.keys()):
        old, new = first.get(key), last.get(key)
        named = new or old or {}
        old_counted, new_counted = (Counted.read(row) if row else None for row in (old, new))
        rows.append(
            {
                "suite": key[0],
                "task": key[1],
                "label": f"{key[0]} {key[1]}: {named.get('instruction') or named.get('name') or ''}",
                "instruction": named.get("instruction") or named.get("name") or "",
                "before": with_interval(old_counted),
                "after": with_interval(new_counted),
                "episodes": new_counted.episodes if new_counted else old_counted.episodes if old_counted else 0,
                "errors": int((new or {}).get("errors") or 0) + int((old or {}).get("errors") or 0),
                "difference": points(new_counted.minus(old_counted)) if old_counted and new_counted else "–",
                "before_counted": old_counted,
                "after_counted": new_counted,
            }
        )
    return rows


def variant_rows(run: RunFolder) -> list[dict[str, str]]:
    """Every decoding and render profile that was evaluated before or after."""
    rows = []
    main = run.evaluation("after") or run.evaluation("before")
    headline_suites = main.protocol.get("suites") if main else None
    for variant in run.variants():
        before, after = run.evaluation("before", variant), run.evaluation("after", variant)
        some = after or before
        old, new = (e.total if e else None for e in (before, after))
        if some is None:
            continue
        rows.append(
            {
                "decoding": some.decoding + (_other_suites(some, headline_suites) if variant else " (headline)"),
                "pixels": str(some.protocol.get("render_profile", "–")),
                "before": with_interval(old),
                "after": with_interval(new),
                "difference": points(new.minus(old)) if old and new else "–",
            }
        )
    return rows


def _other_suites(evaluation: Evaluation, headline_suites: Any) -> str:
    suites = evaluation.protocol.get("suites")
    return f" on {', '.join(suites)}" if suites and suites != headline_suites else ""


def reference_sentence(run: RunFolder, after: Evaluation | None) -> str:
    """What changes where the trained policy sees the simulator's stock pixels."""
    reference = run.evaluation("after", "reference")
    if not (reference and reference.total and after and after.total):
        return ""
    change = reference.total.minus(after.total)
    return (
        f"On the simulator's stock pixels the trained policy succeeds in {with_interval(reference.total)}, "
        f"{points(change)} points against the profile it was trained on."
    )


def imitation_rows(run: RunFolder) -> list[dict[str, str]]:
    """Imitation with more demonstrations, as the file gives it."""
    rows = []
    for row in sorted(run.imitation, key=lambda row: float(row["demonstrations_per_task"])):
        minutes = row.get("minutes")
        rows.append(
            {
                "demonstrations": f"{float(row['demonstrations_per_task']):g}",
                "minutes": "–" if minutes is None else f"{float(minutes):.1f}",
                "success": with_interval(Counted.read(row)),
            }
        )
    return rows


def imitation_sentence(run: RunFolder, after: Counted | None) -> str:
    """How the trained policy compares with the best imitation."""
    counted = [(row, Counted.read(row)) for row in run.imitation]
    known = [(row, value) for row, value in counted if value is not None]
    if not known or after is None:
        return ""
    row, best = max(known, key=lambda pair: pair[1].rate.value)
    change = after.minus(best)
    given = f"{float(row['demonstrations_per_task']):g} demonstrations per task give {percent(best.rate.value)}"
    if change.low > 0:
        verdict = f"The trained policy is better than the best imitation measured: {given}"
    elif change.high < 0:
        verdict = f"Imitation alone does better where demonstrations are to be had: {given}"
    else:
        verdict = f"Imitation alone reaches what the trained policy does where demonstrations are to be had: {given}"
    return f"{verdict}; the trained policy stands at {points(change)} points from that."


def time_rows(metrics: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Mean seconds of work per iteration by phase, and the idle share."""
    phases = {phase: _mean(metrics, f"seconds/{phase}") for phase in charts.PHASE_COLOURS}
    total = sum(value for value in phases.values() if value is not None)
    rows = [
        {
            "phase": phase,
            "colour": charts.PHASE_COLOURS[phase],
            "seconds": f"{value:.2f}",
            "share": f"{100 * value / total:.0f} %",
        }
        for phase, value in phases.items()
        if value
    ]
    for name, label, form in (
        ("iteration_seconds", "whole iteration, wall clock", "{:.2f}"),
        ("idle_fraction", "cores idle", "{:.0%}"),
    ):
        value = _mean(metrics, name)
        if value is not None:
            rows.append({"phase": label, "colour": "", "seconds": form.format(value), "share": ""})
    return rows


def protocol_rows(evaluation: Evaluation | None) -> list[tuple[str, str]]:
    """The protocol of the headline number."""
    if evaluation is None:
        return []
    return [(key.replace("_", " "), text(value)) for key, value in evaluation.protocol.items()]


def provenance(evaluation: Evaluation | None) -> list[tuple[str, str]]:
    """Command, time, machine and versions."""
    if evaluation is None:
        return []
    raw = evaluation.raw
    rows = [(key, text(raw[key])) for key in ("command", "time") if raw.get(key)]
    for part in ("machine", "versions"):
        rows += [(str(key), text(value)) for key, value in (raw.get(part) or {}).items()]
    return rows


def videos(run: RunFolder) -> list[dict[str, str]]:
    """Embedded while they are small together, linked otherwise."""
    found, used = [], 0
    for path in run.videos:
        size = path.stat().st_size
        if used + size <= EMBED_MEGABYTES * 1e6:
            used += size
            source = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        else:
            source = Path("videos", path.name).as_posix()
        found.append({"name": path.stem.replace("_", " "), "source": source})
    return found


def curve_evaluations(run: RunFolder) -> list[Evaluation]:
    """Evaluations that belong on the learning curve: the headline decoding's, in order of training time."""
    headline_points = [e for e in run.evaluations if e.variant == "" and e.train_seconds is not None]
    return sorted(headline_points, key=lambda e: e.train_seconds or 0.0)


def _rate_card(label: str, counted: Counted | None) -> dict[str, str]:
    if counted is None:
        return {"label": f"success {label}", "value": "–", "note": "not measured"}
    rate = counted.rate
    interval = f"95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f}"
    note = f"{interval}, {counted.successes} of {counted.episodes} episodes"
    return {"label": f"success {label}", "value": percent(rate.value), "note": note}


def _train_seconds(run: RunFolder, after: Evaluation | None) -> float | None:
    if after is not None and after.train_seconds:
        return float(after.train_seconds)
    return float(run.metrics[-1]["seconds"]) if run.metrics and run.metrics[-1].get("seconds") else None


def _mean(metrics: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [float(line[name]) for line in metrics if line.get(name) is not None]
    return math.fsum(values) / len(values) if values else None


def _has_phases(metrics: Sequence[Mapping[str, Any]]) -> bool:
    return any(line.get(f"seconds/{phase}") for line in metrics for phase in charts.PHASE_COLOURS)
