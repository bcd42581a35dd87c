"""Every named objective raises success on a tiny environment, from random weights, through collector and learner."""

from functools import partial

import pytest
import torch

from tests.support.tiny_env import SignsConfig
from vlarl.collector import Collector, add_final_inputs
from vlarl.learner import LearnerConfig, make_learner
from vlarl.local_slots import LocalSlots
from vlarl.policies.state_mlp import StateMlp, StateMlpConfig
from vlarl.policy import Decoding
from vlarl.resolve import list_presets, resolve_preset
from vlarl.reward import score_all
from vlarl.rewards.success import SuccessConfig
from vlarl.specs import training_groups
from vlarl.types import stack_trajectories

PRESETS = sorted(item.name for item in list_presets("objectives"))
PASSES_ONCE = ("gpg", "reinforce", "vla_rl")
"""Without a ratio, mini-batches may be used only once."""
SLOW = ("vla_rl", "rl4vla", "rlinf_ppo")
"""Their critics learn 10 to 30 times as fast as the policy, so the policy takes small steps here."""


def small_policy() -> StateMlp:
    return StateMlp(StateMlpConfig(state_size=3, chunk=1, action_dim=1, bins=3, hidden=16))


def learn(objective, policy, iterations: int, *, rate: float = 2e-2, epochs: int = 2) -> list[float]:
    """Success per iteration."""
    torch.set_num_threads(1)
    env = SignsConfig()
    config = LearnerConfig(
        learning_rate=rate,
        warmup_updates=0,
        epochs=epochs,
        minibatch_trajectories=16,
        microbatch_decisions=16,
        threads=1,
    )
    learner = make_learner(policy, objective, config)
    annealing = next(iter(objective.temperature), None)
    success = []
    with LocalSlots(env, num_slots=4) as slots:
        collector = Collector(policy, slots)
        for iteration in range(iterations):
            specs = training_groups(
                env.task_specs("signs"), split="official", groups=6, group_size=8, seed=0, iteration=iteration
            )
            schedule = annealing and partial(annealing.temperature, iteration=iteration)
            episodes = collector.collect(specs, Decoding(), annealing=schedule)
            score_all([SuccessConfig().build()], episodes)
            if learner.bootstraps:
                add_final_inputs(policy, episodes, Decoding())
            batch = stack_trajectories(episodes, annealed=annealing is not None)
            metrics = learner.update(batch, seed=0, iteration=iteration)
            if "ratio_before_update" in metrics and not metrics.get("replayed"):
                assert metrics["ratio_before_update"] == pytest.approx(1.0, abs=1e-5)
            success.append(sum(t.succeeded for t in episodes) / len(episodes))
    return success


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "ttrl"])
def test_preset_learns(name):
    objective = resolve_preset(name, "objectives")
    if name in SLOW:
        success = learn(objective, small_policy(), 24, rate=6e-3, epochs=1 if name in PASSES_ONCE else 3)
    else:
        success = learn(objective, small_policy(), 14, epochs=1 if name in PASSES_ONCE else 2)
    assert sum(success[:2]) / 2 < 0.4, success
    assert sum(success[-3:]) / 3 > 0.6, success


def test_agreement_alone_improves_a_policy_that_is_mostly_right():
    policy = small_policy()
    learn(resolve_preset("grpo", "objectives"), policy, 4, rate=3e-3)
    success = learn(resolve_preset("ttrl", "objectives"), policy, 12, rate=5e-3)
    assert 0.3 < success[0] < 0.9, success
    assert sum(success[-3:]) / 3 > success[0] + 0.05, success


def test_a_preset_can_be_written_in_a_file(tmp_path):
    (tmp_path / "mine.py").write_text("from vlarl.objectives.presets.baselines import rloo as mine\n")
    assert resolve_preset(f"{tmp_path / 'mine.py'}:mine", "objectives") == resolve_preset("rloo", "objectives")
