"""Imitation: it learns, its labels are right, it repeats bit for bit and resumes where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vlarl.data.demonstration import DataError, Demonstration
from vlarl.errors import UserError
from vlarl.policies.oft_presets import preset
from vlarl.policies.openvla_oft import OpenVlaOft
from vlarl.policy import Decoding
from vlarl.sft import SftConfig, SupervisedTrainer
from vlarl.sft_data import DemonstrationSet, augment

INSTRUCTIONS = ("pick up the milk", "turn on the stove and put the pot on it")


def demonstration(number: int, steps: int = 12) -> Demonstration:
    """Two kinds of episodes: what is to be done depends on the instruction and on the state."""
    generator = np.random.default_rng(number)
    kind = number % 2
    images = {
        name: np.full((steps, 128, 128, 3), 60 + 100 * kind, dtype=np.uint8)
        + generator.integers(0, 20, (steps, 128, 128, 3), dtype=np.uint8)
        for name in ("agentview", "wrist")
    }
    phase = np.linspace(-1, 1, steps, dtype=np.float32)
    actions = np.zeros((steps, 7), dtype=np.float32)
    actions[:, 0] = 0.8 if kind else -0.8
    actions[:, 6] = np.where(phase > 0, 1.0, -1.0)
    return Demonstration(
        images=images,
        state=np.tile(phase[:, None], (1, 8)),
        actions=actions,
        instruction=INSTRUCTIONS[kind],
        suite="made_up",
        task=kind,
        init_state=number,
        succeeded=True,
    )


@pytest.fixture(scope="module")
def data() -> DemonstrationSet:
    data = DemonstrationSet(cameras=("agentview", "wrist"), chunk=8)
    data.extend(demonstration(number) for number in range(4))
    return data


def new_policy(data: DemonstrationSet) -> OpenVlaOft:
    config = replace(
        preset("tiny"),
        action_statistics=data.action_statistics([0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 1.0]),
        proprio_statistics=data.state_statistics(),
    )
    return OpenVlaOft.from_scratch(config, seed=0)


def train(
    data: DemonstrationSet, out: Path, stop_after: int | None = None, **changes
) -> tuple[OpenVlaOft, list[float]]:
    policy, losses = new_policy(data), []
    settings = dict(epochs=2, batch_size=8, microbatch_size=4, warmup_steps=2, brightness=0.05)
    trainer = SupervisedTrainer(policy, data, SftConfig(**(settings | changes)), out)

    def on_epoch(metrics, epoch: int) -> None:
        losses.append(metrics["loss"])
        if stop_after is not None and epoch > stop_after:
            raise KeyboardInterrupt  # before this epoch is saved: its work is lost, as in a killed run

    try:
        trainer.train(lambda *_: None, on_epoch)
    except KeyboardInterrupt:
        assert stop_after is not None
    return policy, losses


def test_samples_hold_the_following_actions_and_a_mask_at_the_end(data: DemonstrationSet):
    assert len(data) == 48
    batch = data.batch([0, 8, 12])  # first step, fifth last step of the first demonstration, first of the second
    np.testing.assert_array_equal(batch.actions[0], data.actions[0][:8])
    np.testing.assert_array_equal(batch.actions[1, :4], data.actions[0][8:])
    assert batch.mask.tolist() == [[True] * 8, [True] * 4 + [False] * 4, [True] * 8]
    assert not batch.actions[1, 4:].any()
    assert batch.instructions == [INSTRUCTIONS[0], INSTRUCTIONS[0], INSTRUCTIONS[1]]
    np.testing.assert_array_equal(batch.images[2, 1], demonstration(1).images["wrist"][0])


def test_keeping_every_third_step_keeps_whole_chunks():
    sparse = DemonstrationSet(cameras=("wrist",), chunk=8, keep_every=3)
    sparse.add(demonstration(0))
    assert len(sparse) == 4
    batch = sparse.batch([1])
    np.testing.assert_array_equal(batch.actions[0], sparse.actions[0][3:11])
    np.testing.assert_array_equal(batch.state[0], sparse.states[0][3])
    np.testing.assert_array_equal(batch.images[0, 0], demonstration(0).images["wrist"][3])


def test_statistics(data: DemonstrationSet):
    statistics = data.action_statistics([0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 1.0])
    assert statistics.high[0] == pytest.approx(0.8) and statistics.low[1:3] == (0.0, 0.0)
    assert statistics.low[3:] == (-0.1, -0.1, -0.1, -1.0) and statistics.high[3:] == (0.1, 0.1, 0.1, 1.0)
    states = np.concatenate(data.states)[:, 0].astype(np.float64)
    assert data.state_statistics().low[0] == pytest.approx(np.quantile(states, 0.005), abs=1e-6)


def test_missing_camera_is_named():
    other = DemonstrationSet(cameras=("agentview", "side"), chunk=8)
    with pytest.raises(DataError, match="'side'"):
        other.add(demonstration(0))


def test_augmentation_shifts_the_first_camera_and_repeats_borders():
    image = np.zeros((1, 2, 8, 8, 3), dtype=np.uint8)
    image[0, :, :, 0] = 200
    seen = set()
    for seed in range(30):
        result = augment(image, np.random.default_rng(seed), shift=[2, 0], brightness=0.0)
        np.testing.assert_array_equal(result[0, 1], image[0, 1])
        seen.add(int((result[0, 0, 0, :, 0] > 0).sum()))
    assert seen == {0, 1, 2, 3}  # moved left: the bright column leaves; moved right: its repetition fills in
    bright = augment(image + 100, np.random.default_rng(0), shift=[0, 0], brightness=0.2)
    assert bright.min() >= 0 and bright.max() <= 255 and not np.array_equal(bright, image + 100)


def test_imitation_overfits_and_the_greedy_policy_reproduces_the_actions(data: DemonstrationSet, tmp_path: Path):
    from vlarl.env_protocol import Observation

    policy, losses = train(
        data,
        tmp_path,
        epochs=25,
        learning_rate=5e-3,
        brightness=0.0,
        shift_pixels=0,
        proprio_noise=0.0,
        label_sigma=1.0,
    )
    assert losses[0] > 4.0 and losses[-1] < 2.6  # smoothed labels of width 1 have an entropy of 1.4
    for number in (0, 1):
        made = demonstration(number)
        seen = Observation(
            images={name: frames[2] for name, frames in made.images.items()},
            state=made.state[2],
            instruction=made.instruction,
            time=0.0,
        )
        output = policy.act([seen], [np.full((8, 7), 0.5, np.float32)], Decoding(mode="greedy"))[0]
        np.testing.assert_allclose(output.actions, made.actions[2:10], atol=0.15)


def test_training_does_not_depend_on_threads_and_resumes_exactly(data: DemonstrationSet, tmp_path: Path):
    whole, _ = train(data, tmp_path / "whole", threads=2)
    single, _ = train(data, tmp_path / "single", threads=1)
    train(data, tmp_path / "stopped", stop_after=1)
    resumed, losses = train(data, tmp_path / "stopped")
    assert len(losses) == 1
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, single.state_dict()[name]), name
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_command_trains_and_writes_a_loadable_policy(tmp_path: Path, capsys: pytest.CaptureFixture):
    from vlarl.commands.sft import Options, run
    from vlarl.data.lerobot import LeRobotDataset  # noqa: F401  (the reader the command uses)
    from vlarl.data.lerobot_writer import LeRobotWriter

    folder = tmp_path / "demos"
    with LeRobotWriter(folder, fps=20) as writer:
        for number in range(4):
            writer.add_episode(demonstration(number))
    options = Options(
        demonstrations=(folder,),
        out=tmp_path / "run",
        config="tiny",
        epochs=1,
        batch_size=8,
        validation_demos=1,
        json=tmp_path / "result.json",
    )
    assert run(options) == 0
    assert "policy written to" in capsys.readouterr().out
    assert json.loads((tmp_path / "result.json").read_text())["metrics"]["loss"] > 0
    policy = OpenVlaOft.from_pretrained(tmp_path / "run" / "policy")
    assert policy.config.action_statistics.high[6] == 1.0
    card = (tmp_path / "run" / "policy" / "README.md").read_text()
    assert "2 of 2 tasks" in card and "made_up/0" in card
    assert "validation/loss" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1


def test_a_folder_that_another_process_trains_in_is_refused(tmp_path: Path):
    from vlarl.commands.sft import Options, run

    holder = "import sys, time; from pathlib import Path; from vlarl.files import training_alone\n"
    holder += "with training_alone(Path(sys.argv[1])): print('held', flush=True); time.sleep(300)"
    words = [sys.executable, "-c", holder, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process trains in .*run: wait"):
            run(Options(demonstrations=(tmp_path / "none",), out=tmp_path / "run"))
        process.kill()
