"""The report says what the run folder's files say, and nothing else."""

import base64
import json
import re

import numpy as np
import pytest

from vlarl.cli import main
from vlarl.errors import UserError
from vlarl.media import write_video
from vlarl.report import write_report
from vlarl.report.page import page_context
from vlarl.report.run_folder import read_run_folder
from vlarl.statistics import difference, wilson_interval

SENTENCES = ("pick up the soup", "pick up the <pudding>")


def evaluation(
    successes, *, iteration=0, seconds=0.0, mode="sample", profile="fast", errors=0, episodes=80, **protocol
):
    """A result as ``vlarl.evaluate`` writes it: two tasks with ``successes`` each."""
    total = sum(successes)

    def rates(count, of):
        return {
            "success_rate": count / of,
            "ci95": list(wilson_interval(count, of)),
            "successes": count,
            "episodes": of,
        }

    tasks = [
        {
            "suite": "libero_object",
            "task": task,
            "name": f"t{task}",
            "instruction": text,
            "errors": 0,
            **rates(n, episodes),
        }
        for task, text, n in zip((0, 8), SENTENCES, successes, strict=True)
    ]
    return {
        "command": "vlarl train libero_quickstart",
        "protocol": {
            "split": "heldout",
            "render_profile": profile,
            "decoding": {"mode": mode, "temperature": 1.0},
            "init_states": list(range(40, 50)),
            **protocol,
        },
        "versions": {"torch": "2.13.0+cpu"},
        "machine": {"cores": 2},
        "errors": errors,
        "iteration": iteration,
        "train_seconds": seconds,
        "success_at_k": {"1": 0.5, "2": 0.75},
        "tasks": tasks,
        **rates(total, 2 * episodes),
    }


def metrics_line(step, **changes):
    return {
        "step": step,
        "seconds": 20.0 * step,
        "success": 0.3 + 0.04 * step,
        "approx_kl": 0.004,
        "ratio_before_update": 1.0,
        "env_steps_per_second": 600 + step,
        "peak_memory_gb": 3.0 + step / 10,
        "seconds/simulate": 6.0,
        "seconds/render": 2.0,
        "seconds/policy": 1.0,
        "seconds/update": 1.0,
        "idle_fraction": 0.1,
        **changes,
    }


def write_run(folder, files, metrics=()):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    if metrics:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    return folder


@pytest.fixture
def whole_run(tmp_path):
    """Everything is there."""
    imitation = [
        {
            "demonstrations_per_task": n,
            "minutes": m,
            "success_rate": k / 160,
            "ci95": list(wilson_interval(k, 160)),
            "episodes": 160,
        }
        for n, m, k in ((40, 9.0, 112), (10, 3.0, 50))
    ]
    files = {
        "config.json": {"name": "libero_quickstart", "seed": 3},
        "eval_before.json": evaluation((26, 24)),
        "eval_after.json": evaluation((61, 57), iteration=10, seconds=200),
        "eval_iteration_0005.json": evaluation((45, 44), iteration=5, seconds=100),
        "eval_before_greedy.json": evaluation((20, 10), mode="greedy"),
        "eval_after_greedy.json": evaluation((30, 20), iteration=10, seconds=200, mode="greedy"),
        "eval_after_sample_T0.6.json": evaluation(
            (24, 16), iteration=10, seconds=200, decoding={"mode": "sample", "temperature": 0.6}
        ),
        "eval_after_reference.json": evaluation((58, 57), iteration=10, seconds=200, profile="reference"),
        "imitation.json": imitation,
    }
    folder = write_run(tmp_path / "run", files, [metrics_line(step) for step in range(1, 11)])
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    for name in ("failure", "success"):
        write_video(folder / "videos" / f"{name}.mp4", frames, 20)
    return folder


def page_text(folder):
    """The page without styles and drawings, tags removed."""
    page = write_report(folder).read_text()
    page = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_headline_and_differences(whole_run):
    text = page_text(whole_run)
    change = difference(118, 160, 50, 160)
    points = f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    assert points == "+42.5 [+32.0, +51.6]"
    assert f"Success rose from 31.2 % to 73.8 % in 3.3 minutes of training: {points} points." in text
    assert "31.2 % [24.6, 38.8] (50/160)" in text
    assert "73.8 % [66.4, 80.0] (118/160)" in text


def test_tasks_decodings_pixels_imitation_time(whole_run):
    text = page_text(whole_run)
    assert "libero_object 8 pick up the &lt;pudding&gt; 30.0 % [21.1, 40.8] (24/80) 71.2 % [60.5, 80.0] (57/80)" in text
    assert "greedy fast 18.8 % [13.5, 25.5] (30/160) 31.2 % [24.6, 38.8] (50/160)" in text
    assert "sample, temperature 0.6 fast – 25.0 %" in text
    assert "sample, temperature 1 reference – 71.9 % [64.5, 78.3] (115/160) –" in text
    assert "On the simulator&#39;s stock pixels the trained policy succeeds in 71.9 %" in text
    assert "40 demonstrations per task give 70.0 %" in text
    assert re.search(r"10 3\.0 31\.2 %.*40 9\.0 70\.0 %", text)  # sorted by demonstrations
    assert re.search(r"simulate 6\.00 60 %.*render 2\.00 20 %.*cores idle 10%", text)
    assert "k = 1: 50.0 %, k = 2: 75.0 %" in text
    assert "init states 40 to 49" in text
    assert "split heldout" in text
    assert "peak memory 4.0 GB" in text
    assert "control steps per second 606 " in text
    assert "Not in this run folder" not in text


def test_the_page_needs_nothing_else(whole_run):
    page = write_report(whole_run).read_text()
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "url(http" not in page
    assert "<script" not in page
    embedded = [base64.b64decode(found) for found in re.findall(r"data:video/mp4;base64,([^\"]+)", page)]
    assert embedded == [(whole_run / "videos" / f"{name}.mp4").read_bytes() for name in ("success", "failure")]
    assert page.count("<svg") >= 5
    assert not set(re.findall(r' id="([^"]+)"', page)) & {"figure_1", "axes_1"}
    ids = re.findall(r'<(?:clipPath|path) id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page == write_report(whole_run).read_text()


def test_large_videos_are_linked(whole_run, monkeypatch):
    monkeypatch.setattr("vlarl.report.page.EMBED_MEGABYTES", 0.0)
    page = write_report(whole_run).read_text()
    assert 'src="videos/success.mp4"' in page
    assert "base64" not in page


def test_learning_curve_shows_rollouts_and_evaluations(whole_run):
    context = page_context(read_run_folder(whole_run))
    assert "mean of 5 iterations" in context["learning_curve"]
    shown = [e.file for e in read_run_folder(whole_run).evaluations if e.variant == ""]
    assert sorted(shown) == ["eval_after.json", "eval_before.json", "eval_iteration_0005.json"]
    assert set(context["diagnostics"]) == {"approx_kl", "env_steps_per_second"}


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ((10, 8), r"Success fell from 31\.2 % to 11\.2 %"),
        ((27, 26), r"Success did not change measurably: it went from 31\.2 % to 33\.1 %"),
    ],
)
def test_no_success_is_invented(tmp_path, after, sentence):
    files = {"eval_before.json": evaluation((26, 24)), "eval_after.json": evaluation(after, seconds=60)}
    assert re.search(sentence, page_text(write_run(tmp_path / "r", files)))


def test_what_is_missing_is_named(tmp_path):
    text = page_text(write_run(tmp_path / "r", {"config.json": {}}))
    assert "No success rate was measured in this run." in text
    for line in (
        "eval_before.json is not there",
        "eval_after.json is not there",
        "metrics.jsonl does not exist: no learning curve",
        "imitation.json is not there",
        "videos/ holds no mp4",
    ):
        assert line in text
    only_before = write_run(tmp_path / "b", {"eval_before.json": evaluation((26, 24))})
    assert "Success before training: 31.2 % [24.6, 38.8] (50/160). There is nothing to compare" in page_text(
        only_before
    )


def test_damage_is_named_and_the_rest_is_shown(whole_run):
    (whole_run / "eval_after_greedy.json").write_text('{"success_rate": 0.')
    (whole_run / "eval_something.json").write_text("{}")
    with open(whole_run / "metrics.jsonl", "a") as stream:
        stream.write('{"step": 11, "succ')  # the writer was stopped here
    text = page_text(whole_run)
    assert "eval_after_greedy.json is not valid JSON" in text
    assert "eval_something.json is not shown" in text
    assert "10 iterations" in text
    assert "Success rose from 31.2 % to 73.8 %" in text


def test_what_makes_numbers_doubtful_is_said(tmp_path):
    files = {
        "eval_before.json": evaluation((26, 24), errors=3),
        "eval_after.json": evaluation((61, 57), split="official", policy="runs/x"),
    }
    lines = [metrics_line(1, errors=2), metrics_line(2, ratio_before_update=1.2)]
    text = page_text(write_run(tmp_path / "r", files, lines))
    assert "eval_before.json: 3 episodes ended in a simulator error. They are not scored; 160 were." in text
    assert "2 training episodes ended in a simulator error" in text
    assert "differ in split: heldout and official" in text
    assert "differ in policy" not in text
    assert "ratio before the first update was 1.2000" in text


def test_all_episodes_failed_with_errors(tmp_path):
    broken = evaluation((0, 0)) | {"success_rate": None, "ci95": None, "episodes": 0, "errors": 160, "tasks": []}
    text = page_text(write_run(tmp_path / "r", {"eval_before.json": evaluation((26, 24)), "eval_after.json": broken}))
    assert "eval_after.json: 160 episodes ended in a simulator error. They are not scored; 0 were." in text
    assert "Success before training: 31.2 %" in text


def test_imitation_is_found_where_the_configuration_says(tmp_path):
    rows = [{"demonstrations_per_task": 80, "minutes": None, "success_rate": 1.0, "ci95": [0.98, 1.0], "episodes": 160}]
    (tmp_path / "imitation.json").write_text(json.dumps({"command": "vlarl sft", "rows": rows}))
    files = {
        "config.json": {"imitation_reference": str(tmp_path / "imitation.json")},
        "eval_after.json": evaluation((61, 57)),
    }
    text = page_text(write_run(tmp_path / "r", files))
    assert "Imitation alone does better" in text
    assert "80 – 100.0 % [98.0, 100.0] (160/160)" in text


def test_command_and_wrong_folders(whole_run, tmp_path, capsys):
    assert main(["report", str(whole_run), "--json", str(tmp_path / "r.json")]) == 0
    assert "Success rose from" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["headline"].startswith("Success rose from")
    with pytest.raises(UserError, match="is not a folder"):
        write_report(tmp_path / "none")
    with pytest.raises(UserError, match=r"is not a run folder.*Did you mean .*run\?"):
        write_report(tmp_path)


def test_driving_figures_are_shown_per_suite(tmp_path):
    def driven(score, suite, **rates):
        figures = {"driving_score": score, "route_completion": 90.0, "kilometres": 1.5, "infractions_per_km": rates}
        return evaluation((5, 5), suites=[suite], mode="greedy") | {"driving": figures}

    files = {
        "config.json": {"name": "drive_carl"},
        "eval_before.json": driven(10.0, "drive_maps", red_light=2.5, stop_sign=0.0, off_road=4.0),
        "eval_after.json": driven(61.25, "drive_maps", red_light=0.0),
        "eval_after_drive_roundabout.json": driven(50.0, "drive_roundabout", red_light=1.0),
    }
    context = page_context(read_run_folder(write_run(tmp_path / "run", files, [metrics_line(1)])))
    rows = [(r["where"], r["when"], r["score"], r["infractions"]) for r in context["driving"]]
    assert rows == [
        ("drive_maps (headline)", "before", "10.0", "off road 4.00, red light 2.50"),
        ("drive_maps (headline)", "after", "61.2", "none"),
        ("drive_roundabout", "after", "50.0", "red light 1.00"),
    ]
    assert [row["decoding"] for row in context["variants"]] == ["greedy (headline)", "greedy on drive_roundabout"]


def test_runs_that_do_not_drive_show_no_driving(whole_run):
    assert page_context(read_run_folder(whole_run))["driving"] == []
