"""The whole loop in one process: what a run leaves behind, and that it can be read."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.toy_grpo import config as toy_config
from envs.toy import ToyConfig
from vlarl.checkpoint import load_checkpoint
from vlarl.config import EvaluationConfig, RolloutConfig
from vlarl.errors import ConfigError
from vlarl.policy import Decoding, load_policy
from vlarl.progress import Display
from vlarl.trainer import Trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = replace(
        toy_config(),
        iterations=4,
        tasks=(0, 2),
        env=ToyConfig(radius=0.5),
        rollout=RolloutConfig(groups=2, group_size=4, temperature=1.3, max_draws=2, workers=1, slots=4),
        evaluation=EvaluationConfig(
            every=2, episodes_per_task=6, decodings=(Decoding(mode="sample"), Decoding(mode="expectation"))
        ),
    )
    with Display(config.iterations) as display:
        Trainer(config, load_policy(config.policy), folder, display=display).fit()
    return folder


def test_the_run_folder_describes_the_run(run):
    names = {path.name for path in run.iterdir()}
    assert {"metrics.jsonl", "report.html", "policy", "checkpoints", "videos"} <= names
    evaluations = {name for name in names if name.startswith("eval_")}
    assert evaluations == {
        f"eval_{when}{mode}.json" for when in ("before", "after", "iteration_0002") for mode in ("", "_expectation_T1")
    }


def test_every_evaluation_carries_its_protocol(run):
    for path in run.glob("eval_*.json"):
        result = json.loads(path.read_text())
        assert {"command", "protocol", "versions", "machine", "ci95", "errors", "tasks"} <= set(result)
        protocol = result["protocol"]
        assert protocol["split"] == "heldout" and protocol["init_states"] == sorted(set(protocol["init_states"]))
        assert protocol["decoding"]["mode"] == ("expectation" if "expectation" in path.name else "sample")
        assert result["episodes"] == 12


def test_metrics_have_the_fields_usual_names(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert {"success", "groups_kept", "env_steps_per_second", "idle_fraction", "seconds/update"} <= set(line)
        assert np.isfinite([v for v in line.values()]).all()
    learned = [line for line in lines if line["groups_kept"]]
    assert learned
    for line in learned:
        assert {"approx_kl", "clipfrac", "entropy", "grad_norm"} <= set(line)
        assert line["ratio_before_update"] == pytest.approx(1.0, abs=1e-6)


def test_the_saved_policy_holds_the_averaged_weights(run):
    newest, learner, meta = load_checkpoint(sorted((run / "checkpoints").iterdir())[-1])
    saved = list(load_policy(run / "policy").parameters())
    assert meta["iteration"] == 4
    assert all(torch.equal(a, b) for a, b in zip(saved, learner["average"], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(saved, newest.values(), strict=True))


def test_a_task_that_does_not_exist_is_refused(tmp_path):
    config = replace(toy_config(), tasks=(0, 9))
    with pytest.raises(ConfigError, match=r"tasks 0\.\.3; asked for \[9\]"):
        Trainer(config, load_policy(config.policy), tmp_path, display=Display())


def test_a_run_may_end_by_control_steps(tmp_path):
    """The iteration that reaches them is the last, the learning rate falls with them, and a resumed run counts on."""
    config = replace(
        toy_config(),
        tasks=(0, 2),
        steps=60,
        videos=False,
        rollout=RolloutConfig(groups=2, group_size=2, temperature=1.3, max_draws=1, workers=1, slots=4),
        learner=replace(toy_config().learner, learning_rate=1e-3, final_learning_rate=0.0, warmup_updates=0),
        evaluation=EvaluationConfig(episodes_per_task=2, decodings=(Decoding(mode="sample"),)),
    )

    def go_on(config, *, resume):
        Trainer(config, load_policy(config.policy), tmp_path, display=Display(), resume=resume).fit()
        return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]

    def check(lines, steps):
        played = np.cumsum([line["env_steps"] for line in lines])
        assert played[-1] >= steps and len(lines) < config.iterations
        return played

    played = check(go_on(config, resume=False), 60)
    assert (played[:-1] < 60).all()
    lines = go_on(replace(config, steps=120), resume=True)
    played = check(lines, 120)
    before = np.concatenate([[0.0], played[:-1]])
    wanted = 1e-3 * (1.0 - before / np.where(before < 60, 60, 120))
    assert [line["learning_rate"] for line in lines] == pytest.approx(wanted.tolist(), abs=1e-9)
