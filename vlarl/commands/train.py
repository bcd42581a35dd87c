"""Improve a policy by reinforcement learning: evaluate, train, evaluate again, report.

Example::

    vlarl train toy_grpo
    vlarl train toy_grpo --objective gspo --objective.ratio.level chunk
    vlarl train libero_quickstart --iterations 20 --rollout.temperature 1.0
    vlarl train path/to/my_experiment.py --out runs/mine
    vlarl train path/to/my_experiment.py --resume runs/mine

CONFIG is a name in configs/ or a path to a Python file that defines config() -> TrainConfig. Every field of the
configuration is a flag: 'vlarl train CONFIG --help' lists them; --objective NAME takes another objective first, see
'vlarl list objectives'. A stopped run continues with --resume and ends with
the same weights as one that was not stopped; where classes lie in files of yours, name CONFIG again.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlarl.cli import EXIT_INTERRUPTED, plain_description
from vlarl.errors import ConfigError, UserError, nearest
from vlarl.file_modules import loaded_files
from vlarl.resolve import is_path, list_names, resolve, resolve_preset

if TYPE_CHECKING:
    from vlarl.config import TrainConfig

CONFIG_FILE = "config.json"
RUN_FILE = "run.json"

CHANGEABLE_ON_RESUME = (
    "iterations",
    "steps",
    "checkpoint_every",
    "videos",
    "trackers",
    "imitation_reference",
    "evaluation",
    "rollout.workers",
    "rollout.slots",
    "rollout.watchdog_seconds",
    "learner.threads",
)
"""Fields that do not change what the finished part of a run did, nor how the rest continues."""


@dataclass(frozen=True)
class Options:
    """Flags of the command itself."""

    out: Path | None = None
    """Run folder; runs/NAME if not given."""
    resume: Path | None = None
    """Continue the run in this folder from its last checkpoint."""


def main(arguments: Sequence[str]) -> int:
    """Read CONFIG and flags, then train."""
    words = list(arguments)
    name = words.pop(0) if words and not words[0].startswith("-") else None
    resume = flag_value(words, "--resume")
    if name is None and resume is None:
        if any(word in ("-h", "--help") for word in words):
            print_help()
            return 0
        raise UserError(f"which experiment? vlarl train CONFIG, with CONFIG one of {names_text()} or a path to a file")
    saved = load_saved(Path(resume), name) if resume is not None else None
    base = saved if saved is not None else load_named(str(name))
    base = with_objective(base, words, resumed=saved is not None)
    from vlarl.flags import apply_flags

    config, options = apply_flags(
        base,
        words,
        command=f"train {name}" if name else "train",
        description=plain_description(__doc__ or ""),
        options=Options(),
    )
    named = name if name is not None and is_path(name) else None
    with run_folder(config, saved, options) as folder:
        return train(config, folder, resume=saved is not None, named=named)


def train(config: TrainConfig, folder: Path, *, resume: bool, named: str | None = None) -> int:
    """Run the training loop in ``folder``; Ctrl-C leaves a run that can be continued, and says how.

    ``named`` is the configuration's file where it has to be named again.
    """
    from vlarl.policy import load_policy
    from vlarl.progress import Display
    from vlarl.trainer import Trainer

    policy = load_policy(config.policy, seed=config.seed, env=config.env, load=config.load)
    with Display(config.iterations) as display:
        try:
            Trainer(config, policy, folder, display=display, resume=resume).fit()
        except KeyboardInterrupt:
            again = shlex.join(["vlarl", "train", *filter(None, [named]), "--resume", str(folder)])
            display.console.print(f"stopped; continue with: {again}", highlight=False)
            return EXIT_INTERRUPTED
    print(f"run folder: {folder}")
    return 0


def load_named(name: str) -> TrainConfig:
    """Call ``config()`` of a named experiment.

    Raises:
        NameNotFoundError: no such experiment; the nearest one is named.
        ConfigError: it gives something else than a ``TrainConfig``.
    """
    from vlarl.config import TrainConfig

    made = resolve(name, "configs", "config")
    config = made() if callable(made) else made
    if not isinstance(config, TrainConfig):
        raise ConfigError(f"{name}: config() gave a {type(config).__name__}, expected a vlarl.config.TrainConfig")
    return config


def load_saved(folder: Path, name: str | None) -> TrainConfig:
    """The configuration of a run that is to be continued.

    Raises:
        UserError: no run there, or it is a run of another experiment.
    """
    from vlarl.config import TrainConfig
    from vlarl.config_io import load_config

    file = folder / CONFIG_FILE
    if not file.is_file():
        siblings = [path.parent.name for path in folder.parent.glob(f"*/{CONFIG_FILE}")]
        guess = nearest(folder.name, siblings)
        tail = f" Did you mean {folder.parent / guess}?" if guess else ""
        raise UserError(f"{folder} holds no run to resume: {file} is missing.{tail}")
    if name is not None and is_path(name):
        load_named(name)  # whoever names a file trusts it, and what it loads
    config = load_config(file, TrainConfig, loaded_files())
    if name is not None and not is_path(name) and name != config.name:
        raise UserError(
            f"{folder} is a run of '{config.name}', not of '{name}'. Continue it with: vlarl train --resume {folder}"
        )
    return config


@contextmanager
def run_folder(config: TrainConfig, saved: TrainConfig | None, options: Options) -> Iterator[Path]:
    """The run folder, with ``config.json`` and ``run.json`` written, and no other process training in it.

    Raises:
        UserError: another process trains there, the folder holds another run, or flags would change what a resumed run
            already did.
    """
    from vlarl.files import training_alone

    folder = options.resume or options.out or Path("runs") / config.name
    with training_alone(folder):
        prepare_folder(folder, config, saved, options)
        yield folder


def prepare_folder(folder: Path, config: TrainConfig, saved: TrainConfig | None, options: Options) -> None:
    """Write ``config.json`` and ``run.json``.

    Raises:
        UserError: the folder holds another run, or flags would change what a resumed run already did.
    """
    from vlarl.config_io import save_config
    from vlarl.files import atomic_write_json
    from vlarl.flags import changed_fields
    from vlarl.results import result_header

    if saved is not None:
        if options.out is not None and options.out.resolve() != folder.resolve():
            raise UserError("--resume continues a run in its own folder: leave --out away")
        forbidden = [
            field
            for field in changed_fields(saved, config)
            if not any(field == allowed or field.startswith(f"{allowed}.") for allowed in CHANGEABLE_ON_RESUME)
        ]
        if forbidden:
            raise UserError(
                f"a resumed run continues as it began; these flags would change it: {', '.join(forbidden)}. "
                "Start a new run with another --out instead."
            )
    elif (folder / CONFIG_FILE).exists() and has_begun(folder):
        raise UserError(
            f"{folder} holds a run already. Continue it with 'vlarl train --resume {folder}', or choose another --out."
        )
    if saved is not None and (saved.iterations, saved.steps) != (config.iterations, config.steps):
        set_aside_final_results(folder)
    if saved != config:
        save_config(folder / CONFIG_FILE, config)
    if saved is None:
        head = result_header(shlex.join(["vlarl", *sys.argv[1:]]), {})
        atomic_write_json(folder / RUN_FILE, {key: value for key, value in head.items() if key != "protocol"})


def has_begun(folder: Path) -> bool:
    """Whether a run got as far as a result worth keeping (one that failed on the way there may be replaced)."""
    metrics = folder / "metrics.jsonl"
    results = [*folder.glob("eval_*.json"), *folder.glob("checkpoints/*")]
    return bool(results) or (metrics.is_file() and metrics.stat().st_size > 0)


def set_aside_final_results(folder: Path) -> None:
    """Rename ``eval_after*.json`` of a run that goes on, so that it is evaluated again at its new end."""
    from vlarl.files import read_json

    for path in folder.glob("eval_after*.json"):
        iteration = read_json(path)["iteration"]
        path.rename(path.with_name(path.name.replace("eval_after", f"eval_iteration_{iteration:04d}", 1)))


def with_objective(config: TrainConfig, words: list[str], *, resumed: bool) -> TrainConfig:
    """Take ``--objective NAME`` out of ``words`` and put what it names into the configuration.

    Raises:
        NameNotFoundError: no such preset.
        UserError: the run has begun with its objective already.
    """
    name = flag_value(words, "--objective")
    if name is None:
        return config
    if resumed:
        raise UserError("a resumed run continues with the objective it began with: leave --objective away")
    place = next(index for index, word in enumerate(words) if word.partition("=")[0] == "--objective")
    del words[place : place + (1 if "=" in words[place] else 2)]
    return dataclasses.replace(config, objective=resolve_preset(name, "objectives"))


def flag_value(words: Sequence[str], flag: str) -> str | None:
    """The value of ``--flag VALUE`` or ``--flag=VALUE``, read before the flags as a whole are known."""
    for index, word in enumerate(words):
        if word == flag and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def names_text() -> str:
    """The experiments by name."""
    return ", ".join(item.name for item in list_names("configs")) or "(none)"


def print_help() -> None:
    """What ``vlarl train --help`` shows: the experiments and the command's own flags."""
    print("usage: vlarl train CONFIG [--out FOLDER] [--FIELD VALUE ...]")
    print("       vlarl train --resume FOLDER [--iterations N]\n")
    print(plain_description(__doc__ or ""))
    print("\nExperiments:")
    for item in list_names("configs"):
        print(f"    {item.name:24} {item.summary}")
    documented: dict[str, Any] = {field.name: field for field in dataclasses.fields(Options)}
    print(f"\nFlags besides the configuration's: {', '.join('--' + name for name in documented)}")
