"""Train a policy by imitation of demonstrations.

Example::

    vlarl demos libero_object --episodes 10 --out demos/object
    vlarl sft demos/object --out runs/object_sft --epochs 8
    vlarl eval runs/object_sft/policy --suite libero_object
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from vlarl.sft_data import DemonstrationSet


@dataclass(frozen=True)
class Options:
    """Flags of ``vlarl sft``."""

    demonstrations: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """LeRobotDataset v3 folders, or LIBERO / robomimic HDF5 files or folders."""
    out: Path
    """Run folder: metrics.jsonl, checkpoints, and the finished policy in policy/."""
    config: str = "small"
    """Size of a new policy: small, medium or tiny."""
    init: Path | None = None
    """Continue from this policy (its size and its normalisation statistics) instead of a new one."""
    tasks: tuple[int, ...] = ()
    """Only these task indices (all suites); empty: all."""
    max_demos: int = 0
    """At most so many demonstrations per task, in order of initial state; 0: all."""
    validation_demos: int = 0
    """Keep the last so many demonstrations of each task out of training and measure on them after every epoch."""
    keep_every: int = 1
    """Keep every so many control steps as samples; saves memory with many demonstrations."""
    epochs: int = 8
    epoch_share: float = 1.0
    """Share of the samples visited per epoch."""
    learning_rate: float = 8e-4
    batch_size: int = 32
    brightness: float = 0.1
    """Standard deviation of the random image gain."""
    shift_pixels: int = 2
    """Largest random shift of the first camera's image."""
    proprio_noise: float = 0.05
    """Noise on proprioception, as a share of each entry's spread."""
    label_sigma: float = 2.0
    """Width of the smoothed labels [bins]."""
    seed: int = 0
    threads: int = 2
    storage: str = "float32"
    """Type of the finished policy's weights on disk: float32, bfloat16 or float16."""
    title: str = "Compact OpenVLA-OFT policy for LIBERO"
    """Heading of the model card."""
    resume: bool = False
    """Continue a run that was stopped, from its last finished epoch."""
    json: Path | None = None
    """Write the last epoch's metrics to this file."""


def run(options: Options) -> int:
    """Load demonstrations, train, write the policy."""
    from vlarl.files import training_alone

    with training_alone(options.out):
        return run_alone(options)


def run_alone(options: Options) -> int:
    """The same, with the folder to itself."""
    from vlarl.errors import UserError
    from vlarl.results import result_header, write_result
    from vlarl.sft import SftConfig, SupervisedTrainer
    from vlarl.tracking import make_tracker

    if not options.resume and (options.out / "checkpoints").exists():
        raise UserError(f"{options.out} holds a run already. Continue it with --resume, or choose another --out.")
    data, validation = _load(options)
    policy = _policy(options, data)
    config = SftConfig(
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        brightness=options.brightness,
        shift_pixels=options.shift_pixels,
        proprio_noise=options.proprio_noise,
        label_sigma=options.label_sigma,
        epoch_share=options.epoch_share,
        seed=options.seed,
        threads=options.threads,
    )
    trainer = SupervisedTrainer(policy, data, config, options.out, validation)
    tracker = make_tracker(options.out, (), 10**9 if options.resume else None)
    last = _train(trainer, tracker, options.epochs)
    tracker.close()
    card = _card(options, data, trainer.seconds, last)
    policy.save_pretrained(options.out / "policy", card)
    if options.json is not None:
        write_result(options.json, result_header(["vlarl", "sft"], card) | {"metrics": last})
    print(f"policy written to {options.out / 'policy'}")
    return 0


def _load(options: Options) -> tuple[DemonstrationSet, DemonstrationSet]:
    """Demonstrations to train on and to measure on."""
    from rich.console import Console

    from vlarl.data import open_demonstrations
    from vlarl.data.demonstration import DataError
    from vlarl.policies.oft_presets import preset
    from vlarl.sft_data import DemonstrationSet

    shape = preset(options.config) if options.init is None else _initial_config(options.init)
    training, validation = (DemonstrationSet(shape.cameras, shape.chunk, options.keep_every) for _ in range(2))
    taken: dict[tuple[str, int, str], int] = {}
    for path in options.demonstrations:
        source = open_demonstrations(path)
        counts = {(t.suite, t.task, t.instruction): t.episodes for t in source.summary().tasks}
        seen: dict[tuple[str, int, str], int] = {}
        for demonstration in source:
            key = (demonstration.suite, demonstration.task, demonstration.instruction)
            if options.tasks and demonstration.task not in options.tasks:
                continue
            seen[key] = seen.get(key, 0) + 1
            if seen[key] > counts.get(key, seen[key]) - options.validation_demos:
                validation.add(demonstration)
            elif not options.max_demos or taken.get(key, 0) < options.max_demos:
                taken[key] = taken.get(key, 0) + 1
                training.add(demonstration)
    if not len(training):
        raise DataError("no demonstration is left to train on; check --tasks, --max-demos and --validation-demos")
    Console(stderr=True).print(
        f"{len(training.images)} demonstrations of {len(taken)} tasks, {len(training)} samples; "
        f"{len(validation.images)} demonstrations kept for validation",
        highlight=False,
    )
    return training, validation


def _initial_config(folder: Path) -> Any:
    from vlarl.policies.checkpoint_files import CONFIG_FILE
    from vlarl.policies.oft_config import OpenVlaOftConfig

    return OpenVlaOftConfig.load(folder / CONFIG_FILE)


def _policy(options: Options, data: DemonstrationSet) -> Any:
    """A new policy with the data's statistics, or the one to continue from."""
    from dataclasses import replace

    from vlarl.policies.oft_presets import preset
    from vlarl.policies.openvla_oft import OpenVlaOft

    if options.init is not None:
        return OpenVlaOft.from_pretrained(options.init)
    size = preset(options.config)
    # Rotations of pick-and-place demonstrations are nearly zero; a range from them alone would leave later
    # learning no room, and one bin would be far below what the controller can follow.
    half_range = [0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 1.0]
    config = replace(
        size, action_statistics=data.action_statistics(half_range), proprio_statistics=data.state_statistics()
    )
    return OpenVlaOft.from_scratch(config, options.seed)


def _train(trainer: Any, tracker: Any, epochs: int) -> dict[str, Any]:
    """Train under a progress display; returns the last epoch's metrics."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    last: dict[str, Any] = {}
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("steps", total=trainer.batches_per_epoch * epochs, note="")

        def on_step(_: int, loss: float) -> None:
            progress.update(bar, completed=trainer.steps, note=f"loss {loss:.3f}")

        def on_epoch(metrics: Any, epoch: int) -> None:
            last.clear()
            last.update(metrics)
            tracker.log(metrics, epoch)
            measured = " ".join(
                f"{name.removeprefix('validation/')} {value:.3f}"
                for name, value in metrics.items()
                if name.startswith("validation/")
            )
            console.print(
                f"epoch {epoch}/{epochs} | loss {metrics['loss']:.3f} | {metrics['seconds/train']:.0f} s"
                + (f" | validation: {measured}" if measured else ""),
                highlight=False,
            )

        trainer.train(on_step, on_epoch)
    return last


def _card(options: Options, data: DemonstrationSet, seconds: float, last: dict[str, Any]) -> dict[str, Any]:
    """What the model card says about the training."""
    tasks = sorted(set(data.tasks))
    return {
        "title": options.title,
        **({"license": "mit"} if options.init is None else {}),
        "method": "imitation (vlarl sft), from random weights" if options.init is None else "imitation (vlarl sft)",
        "demonstrations": f"{len(data.images)} of {len(tasks)} tasks, {sum(map(len, data.actions))} control steps, "
        "made by the scripted expert in simulation",
        "tasks": ", ".join(f"{suite}/{task}" for suite, task in tasks),
        "epochs": options.epochs,
        "samples_per_epoch": int(len(data) * options.epoch_share),
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "label_sigma": options.label_sigma,
        "augmentation": f"brightness {options.brightness}, shift {options.shift_pixels} px, "
        f"proprioception noise {options.proprio_noise}",
        "seed": options.seed,
        "training_seconds": round(seconds),
        "final_loss": round(last.get("loss", float("nan")), 4),
        "storage": options.storage,
    }
