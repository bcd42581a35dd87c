"""What people see while a run is under way: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from vlarl.env_protocol import Outcome

PHASES = ("simulate", "render", "policy", "reward", "update")


class EpisodeLike(Protocol):
    """What the display reads of a finished episode."""

    outcome: Outcome


class Display:
    """Shows phases, episodes and iterations.

    Args:
        iterations: of the whole run, at most; 0 when there is only one phase (an evaluation).
        console: where to; standard error by default, so that standard output stays clean for results.
        done: iterations finished before this process started (resume).
    """

    def __init__(self, iterations: int = 0, *, console: Console | None = None, done: int = 0) -> None:
        self.console = console or Console(stderr=True)
        self._live = self.console.is_terminal
        self._seconds: deque[float] = deque(maxlen=5)  # of the last iterations
        self._episodes = 0
        self._successes = 0
        self._errors = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self._live,
        )
        self._run = self._progress.add_task("run", total=iterations, completed=done, note="", visible=iterations > 0)
        self._phase = self._progress.add_task("", total=None, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, name: str, total: int) -> None:
        """A new phase of ``total`` episodes begins (0: not counted in episodes)."""
        self._episodes = self._successes = self._errors = 0
        self._progress.reset(self._phase, description=name, total=total or None, note="")
        if not self._live and name not in ("rollout", "update"):
            self.console.print(f"{name} ...", highlight=False)

    def episode(self, trajectory: EpisodeLike) -> None:
        """One episode finished."""
        self._episodes += 1
        self._successes += trajectory.outcome is Outcome.SUCCESS
        self._errors += trajectory.outcome is Outcome.ERROR
        scored = self._episodes - self._errors
        note = f"success {self._successes / scored:.2f}" if scored else ""
        if self._errors:
            note += f", [red]{self._errors} simulator errors[/red]"
        self._progress.update(self._phase, advance=1, note=note)

    def iteration(self, number: int, metrics: Mapping[str, Any], progress: float) -> None:
        """One training iteration finished, and with it a share ``progress`` of the run: one line with what matters."""
        expected = max(number, round(number / progress))  # of a run that ends by control steps this is an estimate
        parts = [f"iteration {number}/{expected}"]
        for name, text in (
            ("success", "success {:.2f}"),
            ("driving_score", "driving score {:.1f}"),
            ("route_completion", "completion {:.0f} %"),
            ("reward", "reward {:.2f}"),
            ("groups_kept", "groups kept {:.0f}"),
            ("approx_kl", "kl {:.4f}"),
            ("clipfrac", "clipped {:.3f}"),
            ("env_steps_per_second", "{:.0f} steps/s"),
            ("idle_fraction", "idle {:.0%}"),
            ("iteration_seconds", "{:.1f} s"),
        ):
            if metrics.get(name) is not None:
                parts.append(text.format(metrics[name]))
        split = [f"{name} {metrics[f'seconds/{name}']:.1f}" for name in PHASES if f"seconds/{name}" in metrics]
        if split:
            parts.append("(" + ", ".join(split) + " s)")
        if metrics.get("errors"):
            parts.append(f"{metrics['errors']:.0f} simulator errors")
        if metrics.get("iteration_seconds") is not None:
            self._seconds.append(metrics["iteration_seconds"])
            left = sum(self._seconds) / len(self._seconds) * (expected - number)
            parts.append(f"{left / 60:.1f} min of training left")
        self.console.print(" | ".join(parts), highlight=False, soft_wrap=True)
        self._progress.update(
            self._run, total=expected, completed=number, note=f"success {metrics.get('success', float('nan')):.2f}"
        )

    def result(self, name: str, result: Mapping[str, Any]) -> None:
        """An evaluation finished: its number with its interval."""
        rate, interval = result.get("success_rate"), result.get("ci95")
        if rate is None or interval is None:
            self.console.print(f"{name}: no episode could be scored ({result.get('errors')} simulator errors)")
            return
        self.console.print(
            f"[bold]{name}[/bold]: success {rate:.3f} [{interval[0]:.3f}, {interval[1]:.3f}] over "
            f"{result['episodes']} episodes, {result['errors']} simulator errors",
            highlight=False,
            soft_wrap=True,
        )
