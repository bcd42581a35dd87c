"""The command line as a person or a program meets it."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vlarl.cli import command_names, main, plain_description
from vlarl.commands.bench import benchmarks
from vlarl.commands.eval import Options, told_instructions
from vlarl.commands.train import CHANGEABLE_ON_RESUME
from vlarl.errors import UserError
from vlarl.resolve import resolve

ROOT = Path(__file__).parents[1]
TOY_EVAL = ["eval", "vlarl.policies.state_mlp:StateMlp", "--suite", "toy"]
HEAVY = ("torch", "mujoco", "numpy", "transformers", "libero", "robosuite", "matplotlib", "av")


def vlarl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlarl.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "120"},
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["list"], ["train", "--help"], ["trian"], ["--version"]])
def test_help_and_lists_load_nothing_heavy(words):
    script = (
        f"import sys; from vlarl.cli import main; code = main({words!r})\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "LOADED []" in done.stdout, done.stdout + done.stderr


def test_overview_shows_commands_and_experiments():
    done = vlarl()
    assert done.returncode == 0
    for name in ("train", "eval", "list", "toy_grpo", "libero_quickstart"):
        assert name in done.stdout


def test_every_command_has_a_summary_and_an_example(capsys):
    for name in command_names():
        with contextlib.suppress(SystemExit):
            assert main([name, "--help"]) == 0
        said = capsys.readouterr().out
        assert "Example" in said, name
        assert f"vlarl {name}" in said, name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["--helpp"], "the command comes first"),
        (["list", "confgs"], "Did you mean 'configs'?"),
        (["list", "tasks"], "whose tasks?"),
        (["list", "tasks", "--suite", "tyo"], "toy"),
        (["list", "tasks", "--suite", "libero_objct"], "did you mean 'libero_object'?"),
        (["train"], "toy_grpo"),
        (["train", "toy_gpo"], "Did you mean 'toy_grpo'?"),
        (["train", "--resume", "runs/there/is/none"], "holds no run to resume"),
        (["train", "toy_grpo", "--out", "/dev/null/run"], "choose another folder"),
        (["train", "toy_grpo", "--rollout.slots", "1"], "rollout.slots is 1; expected at least rollout.workers = 2"),
        (["train", "toy_grpo", "--rollout.temperature", "0"], "rollout.temperature is 0.0; expected more than 0"),
        (["train", "toy_grpo", "--tasks", "1,1"], "each task once"),
        (["train", "toy_grpo", "--split", "heldot"], "Did you mean 'heldout'?"),
        ([*TOY_EVAL, "--tasks", "1", "--wrong-instruction"], "at least two tasks"),
        ([*TOY_EVAL, "--instruction", "x", "--wrong-instruction"], "exclude each other"),
        (["eval", "--suite", "toy"], "CHECKPOINT"),
        (["eval", "x", "--suite", "toi_a"], "Did you mean a suite of 'toy'?"),
        (["eval", "no/such/folder", "--suite", "toy"], "no/such/folder"),
        ([*TOY_EVAL, "--tasks", "0,9"], "has no task 9"),
        ([*TOY_EVAL, "--profile", "fast"], "no render profiles"),
        (["eval", "x", "--suite", "drive/grid_twon"], "Did you mean 'drive_grid_town'"),
        (["eval", "x", "--suite=drive/town02"], "--env.map-file"),
    ],
)
def test_mistakes_are_answered_without_a_traceback(words, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_wrong_flag_shows_the_nearest(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "toy_grpo", "--iteratons", "3"])
    assert caught.value.code == 2
    assert "--iterations" in capsys.readouterr().err


def test_program_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("vlarl.cli._dispatch", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main([])


def test_interrupt_exits_with_130(monkeypatch, capsys):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("vlarl.cli._dispatch", interrupted)
    assert main([]) == 130
    assert "stopped" in capsys.readouterr().err


def test_benchmarks_are_the_modules_that_can_be_run():
    found = benchmarks()
    assert {"rollout", "mujoco", "updates"} <= set(found) and not {"measure", "shared_runs"} & set(found)
    modules = [importlib.import_module(f"vlarl.bench.{name}") for name in found]
    assert all(callable(module.run) and isinstance(module.Options, type) for module in modules) and all(found.values())


def test_list_writes_json(tmp_path, capsys):
    assert main(["list", "--json", str(tmp_path / "l.json")]) == 0
    written = json.loads((tmp_path / "l.json").read_text())
    assert {"command", "protocol", "versions", "machine"} <= set(written)
    assert "toy" in [item["name"] for item in written["envs"]]
    assert "toy" in capsys.readouterr().out


def test_list_shows_the_tasks_of_a_suite(tmp_path, capsys):
    assert main(["list", "tasks", "--suite", "toy", "--json", str(tmp_path / "l.json")]) == 0
    assert "move to the green target" in capsys.readouterr().out
    tasks = json.loads((tmp_path / "l.json").read_text())["tasks"]
    assert tasks[0] == {"task": "0", "instruction": "move to the red target"}


def test_the_wrong_instruction_is_the_next_tasks():
    tasks = resolve("toy", "envs", "ToyConfig")().task_specs("toy")[:3]
    told = told_instructions(tasks, Options(suite="toy", wrong_instruction=True))
    assert told == {0: tasks[1].instruction, 1: tasks[2].instruction, 2: tasks[0].instruction}
    assert told_instructions(tasks, Options(suite="toy")) is None


TRAIN_FLAGS = (Path(__file__).parent / "golden" / "train_flags.txt").read_text().split()


def test_the_flags_of_train_are_frozen(capsys):
    """A new option is a decision: add it to the file on purpose. Flags of env, rewards and objective vary."""
    with pytest.raises(SystemExit):
        main(["train", "toy_grpo", "--help"])
    shown = set(re.findall(r"--[a-z][a-z0-9.-]*", capsys.readouterr().out)) - {"--help"}
    varying = ("--env.", "--rewards.", "--objective.", "--no-", "--evaluation.no-", "--load.no-")
    shown = {flag for flag in shown if not flag.startswith(varying)}
    new, gone = sorted(shown - set(TRAIN_FLAGS)), sorted(set(TRAIN_FLAGS) - shown)
    assert not new, "add them to tests/golden/train_flags.txt"
    assert not gone, "this breaks users' commands: remove them from tests/golden/train_flags.txt and say so"


def test_changeable_fields_exist():
    for field in CHANGEABLE_ON_RESUME:
        flag = "--" + field.replace("_", "-")
        assert any(known == flag or known.startswith(flag + ".") for known in TRAIN_FLAGS), field


def test_train_evaluate_and_resume_on_the_toy(tmp_path, monkeypatch, capfd):
    """The whole walk, from a user's own configuration file in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    Path("my_experiment.py").write_text(
        '"""Mine."""\nfrom dataclasses import replace\nfrom configs.toy_grpo import config as toy\n\n\n'
        "def config():\n    return replace(toy(), name='mine')\n"
    )
    small = "--evaluation.episodes-per-task 2 --no-videos --rollout.groups 2 --rollout.slots 2 --rollout.workers 1"
    assert main(["train", "my_experiment.py", "--iterations", "1", *small.split()]) == 0
    folder = Path("runs/mine")
    assert json.loads((folder / "config.json").read_text())["rollout"]["groups"] == 2
    assert {"command", "versions", "machine"} <= set(json.loads((folder / "run.json").read_text()))
    for name in ("eval_before.json", "eval_after.json", "metrics.jsonl", "policy/model.safetensors"):
        assert (folder / name).is_file(), name
    assert main(["train", "my_experiment.py"]) == 2
    assert "holds a run already" in capfd.readouterr().err
    assert main(["train", "--resume", str(folder), "--seed", "7"]) == 2
    assert "seed" in capfd.readouterr().err
    assert main(["train", "--resume", str(folder), "--iterations", "2"]) == 0
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert (folder / "eval_iteration_0001.json").is_file()
    assert main("eval runs/mine --suite toy --tasks 1,0 --episodes 3 --workers 1 --json result.json".split()) == 0
    written = json.loads(Path("result.json").read_text())
    assert written["episodes"] + written["errors"] == 6
    assert [row["task"] for row in written["tasks"]] == [1, 0]
    assert written["protocol"]["split"] == "heldout"


def test_a_run_that_never_began_may_be_started_again(tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert main(["train", "toy_grpo", "--policy", str(tmp_path / "missing"), *out]) == 2
    assert "missing" in capsys.readouterr().err
    assert (tmp_path / "run" / "config.json").is_file()
    assert main(["train", "toy_grpo", "--policy", str(tmp_path / "absent"), *out]) == 2
    assert "absent" in capsys.readouterr().err


@contextlib.contextmanager
def training_in(folder):
    """A training that has done two iterations, and goes on for long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vlarl.cli", "train", "toy_grpo", "--out", str(folder), "--iterations", "3000"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job is started with Ctrl-C ignored, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    try:
        next(line for line in process.stderr if line.startswith("iteration 2/"))
        yield process
    finally:
        process.kill()


def test_ctrl_c_leaves_a_run_that_can_be_continued(tmp_path):
    with training_in(tmp_path / "run") as process:
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "--resume" in rest.replace("\n", "")
    assert "Traceback" not in rest


def test_two_processes_do_not_train_in_one_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    with training_in(folder):
        before = (folder / "config.json").read_bytes()
        assert main(["train", "--resume", str(folder), "--iterations", "4000"]) == 2
        assert main(["train", "toy_grpo", "--out", str(folder)]) == 2
        assert capsys.readouterr().err.count(f"another process trains in {folder}: wait") == 2
        assert (folder / "config.json").read_bytes() == before


def test_description_keeps_the_example_under_its_heading():
    assert (
        plain_description("A ``b``.\n\nExample::\n\n    x\n    y\n\nMore.") == "A b.\n\nExample:\n    x\n    y\n\nMore."
    )
    assert issubclass(UserError, Exception)
