"""What the learner trains and what it leaves alone."""

import pytest
import torch

from tests.property.test_masks import trajectory
from vlarl.errors import ConfigError
from vlarl.learner import Learner, LearnerConfig, trained_parameters
from vlarl.objectives.grpo import GrpoConfig
from vlarl.policies.state_mlp import StateMlp
from vlarl.types import stack_trajectories


def test_frozen_parts_keep_their_weights_and_the_others_learn():
    policy = StateMlp()
    episodes = [trajectory(policy, group=0, seed=i, decisions=2, last=3, success=i < 2) for i in range(4)]
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    learner = Learner(policy, GrpoConfig().build(), LearnerConfig(frozen=("net.0", "net.4.bias"), average_decay=0.5))
    learner.update(stack_trajectories(episodes), seed=0, iteration=0)
    changed = {name for name, value in policy.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"net.2.weight", "net.2.bias", "net.4.weight"}
    with learner.averaged():
        assert torch.equal(policy.state_dict()["net.0.weight"], before["net.0.weight"])


def test_names_cover_whole_words_only():
    policy = StateMlp()
    assert len(trained_parameters(policy, ["bias"])) == 3
    with pytest.raises(ConfigError, match=r"part of the policy .*'bia'.*Did you mean 'bias'"):
        trained_parameters(policy, ["bia"])


def test_freezing_everything_is_refused():
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        trained_parameters(StateMlp(), ["net"])
