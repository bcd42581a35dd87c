"""The language-goal rewards as terms: what they score, when, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from envs.drive import DriveConfig
from tests.support.image_text import tiny_clip
from vlarl.batch_slots import BatchSlots
from vlarl.collector import Collector
from vlarl.env_protocol import EpisodeSpec, Observation, Outcome
from vlarl.errors import ConfigError, NotFiniteError, UserError
from vlarl.local_slots import LocalSlots
from vlarl.policies.carl_driving import CarlDriving
from vlarl.policy import Decoding
from vlarl.resolve import list_names
from vlarl.reward import score_all, watching
from vlarl.rewards import language_goal_formulas as formulas
from vlarl.rewards.language_goal import FORMS, LanguageGoalConfig
from vlarl.rewards.language_goal_driving import EVENT, LanguageGoalDrivingConfig
from vlarl.rewards.language_goal_judge import JudgeConfig
from vlarl.rewards.language_goal_model import ImageTextModel
from vlarl.rewards.language_goal_scorer import ScoringError
from vlarl.rewards.success import SuccessConfig
from vlarl.specs import training_groups
from vlarl.types import PolicyOutput, Trajectory

CLEAR, CRASH, ROAD = "the road is clear", "two cars have collided", "the road"
MOTION = np.array([[5.0, 0.3, 0.1], [6.0, 0.6, -0.2]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def judge(folder):
    return JudgeConfig(model=str(folder), batch=4, camera="above", device="cpu")


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def episode(decisions: int = 3, outcome: Outcome = Outcome.SUCCESS, seed: int = 0) -> Trajectory:
    """Chunks of two steps, of which the last one ends after its first."""
    zeros = np.zeros((2, 1), np.float32)
    output = PolicyOutput(actions=zeros, tokens=zeros, log_probs=zeros, inputs={}, temperature=1.0, version=0)
    executed = [np.array([True, n + 1 < decisions]) for n in range(decisions)]
    return Trajectory(
        spec=EpisodeSpec(suite="made_up", task=0, instruction="", init_state=0, seed=seed),
        observations=[],
        outputs=[output] * decisions,
        executed=executed,
        env_rewards=[np.zeros(2, np.float32)] * decisions,
        outcome=outcome,
        events=[{EVENT: (1.0 + 0.1 * n) * MOTION * executed[n][:, None]} for n in range(decisions)],
    )


def watched(term, trajectory: Trajectory, first: int = 0) -> Trajectory:
    for number in range(len(trajectory.outputs)):
        seen = Observation(
            images={"above": picture(first + number)}, state=np.zeros(1, np.float32), instruction="", time=0.0
        )
        watching([term])(trajectory, seen)
    return trajectory


@pytest.fixture(scope="module")
def cosines(folder):
    """``[picture, sentence]`` of pictures 0 to 2 and CLEAR, CRASH, ROAD."""
    model = ImageTextModel(folder, device="cpu")
    texts = model.embed_texts([CLEAR, CRASH, ROAD])
    return model.embed_images([picture(n) for n in range(3)]) @ texts.T, float(texts[0] @ texts[2])


def test_every_form_scores_the_frame_after_the_decision(judge, cosines):
    (clear, crash, road), between = cosines[0].T, cosines[1]
    expected = {
        "clg": 0.6 * clear - 0.4 * crash,
        "lord": 1 - crash,
        # 3.6 times the speed after the last executed step of each decision
        "lord_speed": 1 - crash + 1 - np.abs(3.6 * np.array([6.0, 6.6, 6.0]) - 20) / 20,
        "vlm_rm": formulas.goal_baseline(clear, road, between, 0.6),
        "vlm_sr": np.where(clear >= 0.05, 1, -1),
        "roboclip": clear,
    }
    assert set(expected) == set(FORMS)
    base = LanguageGoalConfig(
        positive=(CLEAR,), negative=(CRASH,), baseline=ROAD, alpha=0.6, beta=0.4, threshold=0.05, scale=2.0, judge=judge
    )
    for form, values in expected.items():
        term = replace(base, form=form).build()
        found = term.score([watched(term, episode())])[0]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, 2.0 * np.asarray(values), rtol=1e-5, atol=1e-6, err_msg=form)


def test_of_several_sentences_the_most_similar_one_counts(judge, cosines):
    term = LanguageGoalConfig(form="roboclip", positive=(CLEAR, CRASH, ROAD), judge=judge, negative=(ROAD,)).build()
    found = term.score([watched(term, episode())])[0]
    np.testing.assert_allclose(found, cosines[0].max(axis=1), rtol=1e-5, atol=1e-6)


def test_synthesis_multiplies_language_and_state_step_by_step(judge, cosines):
    config = LanguageGoalDrivingConfig(
        positive=(CLEAR,),
        negative=(CRASH,),
        low=-0.2,
        high=0.2,
        discount=0.9,
        scale=0.5,
        deviation_steps=2,
        judge=judge,
    )
    term = config.build()
    language = np.clip((cosines[0][:, 0] - cosines[0][:, 1] + 0.2) / 0.4, 0, 1)
    speed, distance, angle = (
        np.array([5, 6, 5.5, 6.6, 6]),
        np.array([0.3, 0.6, 0.33, 0.66, 0.36]),
        np.array([0.1, -0.2, 0.11, -0.22, 0.12]),
    )
    deviation = np.array([0, 0.15, 0.135, 0.165, 0.15])  # half the difference of two neighbours
    wanted = 25 * language[[0, 0, 1, 1, 2]]
    steps = (
        (1 - np.abs(3.6 * speed - wanted) / 25)
        * (1 - distance / 3)
        * (1 - np.abs(np.degrees(angle)) / 90)
        * (1 - deviation / 0.4)
    )
    sums = [steps[0] + 0.9 * steps[1], steps[2] + 0.9 * steps[3], steps[4]]
    np.testing.assert_allclose(term.score([watched(term, episode())])[0], 0.5 * np.array(sums), rtol=1e-4)
    failed = term.score([watched(term, episode(outcome=Outcome.FAILURE))])[0]
    np.testing.assert_allclose(failed, [0.5 * sums[0], 0.5 * sums[1], -5.0], rtol=1e-4)
    cut_off = term.score([watched(term, episode(outcome=Outcome.TRUNCATED))])[0]
    np.testing.assert_allclose(cut_off, 0.5 * np.array(sums), rtol=1e-4)


def test_what_frames_score_does_not_hang_on_batches_or_threads(judge, folder):
    found = []
    for blocking, batch in ((True, 4), (False, 4)):
        config = LanguageGoalConfig(
            positive=(CLEAR,), negative=(CRASH,), judge=replace(judge, blocking=blocking, batch=batch)
        )
        term = config.build()
        episodes = [watched(term, episode(5, seed=n), first=10 * n) for n in range(3)]
        found.append(np.concatenate(term.score(episodes[::-1] if blocking else episodes)[:: -1 if blocking else 1]))
    np.testing.assert_array_equal(found[0], found[1])


def test_refusals(judge):
    term = LanguageGoalDrivingConfig(positive=(CLEAR,), negative=(CRASH,), judge=judge).build()
    with pytest.raises(UserError, match="has seen 0 frames of an episode of 3 decisions"):
        term.score([episode()])
    seen = Observation(images={"abvoe": picture(0)}, state=np.zeros(1, np.float32), instruction="", time=0.0)
    with pytest.raises(UserError, match=r"unknown camera 'above'. Did you mean 'abvoe'"):
        term.watch(episode(), seen)
    elsewhere = watched(term, episode())
    elsewhere.events = [{}] * 3
    with pytest.raises(UserError, match="needs the event 'drive/motion'.*suite 'made_up' does not give it"):
        term.score([elsewhere])
    with pytest.raises(ConfigError, match="unknown form of language goal 'clgg'. Did you mean 'clg'"):
        LanguageGoalConfig(form="clgg")
    with pytest.raises(ConfigError, match="at least one sentence"):
        LanguageGoalConfig(positive=(), judge=judge).build()
    with pytest.raises(ConfigError, match="low is 0.5 and high 0.5"):
        LanguageGoalDrivingConfig(low=0.5, high=0.5)
    with pytest.raises(ConfigError, match="most_"):
        LanguageGoalDrivingConfig(most_angle=0.0)
    with pytest.raises(ConfigError, match="judge.batch is 0"):
        JudgeConfig(batch=0)


def test_a_completed_route_is_worth_what_was_asked_for(judge):
    """Only the last decision of a success, and with the scale of everything else."""
    plain = LanguageGoalDrivingConfig(positive=(CLEAR,), negative=(CRASH,), low=-0.2, high=0.2, scale=0.5, judge=judge)
    for outcome, added in ((Outcome.SUCCESS, 50.0), (Outcome.TRUNCATED, 0.0), (Outcome.FAILURE, 0.0)):
        without, with_it = (
            term.score([watched(term, episode(outcome=outcome))])[0]
            for term in (plain.build(), replace(plain, success=100.0).build())
        )
        np.testing.assert_allclose(with_it - without, [0.0, 0.0, added], atol=1e-4)


def test_a_similarity_that_is_not_a_number_never_becomes_a_reward(judge):
    """Not even where the reward of a failure would cover it."""
    term = LanguageGoalDrivingConfig(positive=(CLEAR,), negative=(CRASH,), judge=judge).build()
    term.judge._texts[0] = np.full_like(term.judge._texts[0], np.nan)
    with pytest.raises(NotFiniteError, match="similarity of reward term 'language_goal_driving' is nan at decision 0"):
        score_all([term], [watched(term, episode(1, Outcome.FAILURE))])


def test_a_model_that_fails_stops_the_run(judge, monkeypatch):
    term = LanguageGoalConfig(positive=(CLEAR,), negative=(CRASH,), judge=judge).build()

    def fail(frames):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(term.judge.model, "embed_images", fail)
    with pytest.raises(ScoringError, match="nothing was learned from them: the device is gone"):
        score_all([term], [watched(term, episode())])


def test_both_are_listed_and_their_helpers_are_not():
    names = [item.name for item in list_names("rewards")]
    assert [name for name in names if name.startswith("language")] == ["language_goal", "language_goal_driving"]


def test_nobody_watches_where_no_reward_asks_for_it():
    assert watching([SuccessConfig().build()]) is None


ENV = DriveConfig(routes=3, route_metres=30.0, horizon=7, actors=12, resolution=32, view_metres=32.0, layers=64)
SPECS = training_groups(ENV.task_specs("drive_grid_town"), split="heldout", groups=4, group_size=1, seed=1, iteration=0)


@pytest.mark.parametrize("slots", [lambda: BatchSlots(ENV, num_slots=4), lambda: LocalSlots(ENV)])
def test_driving_is_watched_decision_by_decision_to_its_end(judge, slots, cosines):
    """Scores equal those of the frames themselves, whoever else plays."""
    here = replace(judge, camera="birds_eye")
    term = LanguageGoalConfig(positive=(CLEAR,), negative=(CRASH,), judge=here).build()
    frames: dict[int, list[np.ndarray]] = {}

    def watch(trajectory, observation):
        frames.setdefault(trajectory.spec.seed, []).append(observation.images["birds_eye"])
        term.watch(trajectory, observation)

    with slots() as pool:
        episodes = Collector(CarlDriving.for_env(ENV, seed=1), pool).collect(SPECS, Decoding(), watch=watch)
    score_all([term], episodes)
    model = term.judge.model
    texts = torch.from_numpy(model.embed_texts([CLEAR, CRASH])).numpy()
    for played in episodes:
        seen = frames[played.spec.seed]
        assert len(seen) == len(played.outputs) == len(played.rewards["language_goal"])
        for before, after in zip(played.observations[1:], seen, strict=False):
            np.testing.assert_array_equal(before.images["birds_eye"], after)
        expected = model.embed_images(seen) @ texts.T
        np.testing.assert_allclose(played.rewards["language_goal"], expected[:, 0] - expected[:, 1], atol=1e-6)


def test_an_episode_that_ends_as_an_error_is_not_scored(judge):
    term = LanguageGoalConfig(positive=(CLEAR,), negative=(CRASH,), judge=replace(judge, camera="birds_eye")).build()
    broken = replace(SPECS[0], init_state=5000)
    with BatchSlots(ENV, num_slots=2) as pool:
        episodes = Collector(CarlDriving.for_env(ENV, seed=1), pool).collect(
            [broken, SPECS[1]], Decoding(), watch=watching([term])
        )
    assert [t.outcome is Outcome.ERROR for t in episodes] == [True, False]
    assert not episodes[0].notes and len(episodes[1].notes["language_goal"]) == len(episodes[1].outputs)
