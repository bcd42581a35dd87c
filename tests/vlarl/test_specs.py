"""Specs: groups share their start, splits keep training and evaluation apart, everything follows from the seed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlarl.env_protocol import TaskInfo
from vlarl.errors import ConfigError
from vlarl.seeding import episode_noise
from vlarl.specs import evaluation_specs, training_groups
from vlarl.splits import init_states


def tasks(count: int = 3, states: int = 50) -> list[TaskInfo]:
    return [
        TaskInfo(suite="s", task=i, name=f"t{i}", instruction=f"do {i}", num_init_states=states, horizon=10)
        for i in range(count)
    ]


@given(groups=st.integers(1, 12), size=st.integers(1, 5), seed=st.integers(0, 99), iteration=st.integers(0, 99))
def test_a_group_shares_task_and_state_and_nothing_else(groups, size, seed, iteration):
    specs = training_groups(tasks(), split="heldout", groups=groups, group_size=size, seed=seed, iteration=iteration)
    assert len(specs) == groups * size
    for group in range(groups):
        members = [spec for spec in specs if spec.group == group]
        assert len(members) == size
        assert len({(spec.task, spec.init_state) for spec in members}) == 1
    assert len({spec.seed for spec in specs}) == len(specs)
    again = training_groups(tasks(), split="heldout", groups=groups, group_size=size, seed=seed, iteration=iteration)
    assert specs == again


def test_tasks_get_the_same_number_of_groups_and_states_do_not_repeat_early():
    specs = training_groups(tasks(), split="heldout", groups=12, group_size=1, seed=0, iteration=0)
    assert set(Counter(spec.task for spec in specs).values()) == {4}
    for task in range(3):
        states = [spec.init_state for spec in specs if spec.task == task]
        assert len(set(states)) == len(states)


def test_further_draws_are_new_groups():
    first, second = (
        training_groups(tasks(), split="heldout", groups=4, group_size=2, seed=0, iteration=3, draw=d) for d in (0, 1)
    )
    assert not {s.group for s in first} & {s.group for s in second}
    assert not {s.seed for s in first} & {s.seed for s in second}


@given(states=st.integers(2, 60))
def test_heldout_states_are_never_trained_on(states):
    train, evaluation = (init_states("heldout", role, states) for role in ("train", "eval"))
    assert not set(train) & set(evaluation)
    assert sorted(train + evaluation) == list(range(states))
    specs = training_groups(tasks(states=states), split="heldout", groups=9, group_size=1, seed=1, iteration=1)
    assert {spec.init_state for spec in specs} <= set(train)
    played = evaluation_specs(tasks(states=states), split="heldout", episodes_per_task=70, seed=0)
    assert {spec.init_state for spec in played} == set(evaluation)


def test_the_official_split_is_the_published_one():
    assert init_states("official", "train", 50) == init_states("official", "eval", 50) == list(range(50))


def test_a_misspelt_split_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'heldout'"):
        init_states("held_out", "eval", 50)


def test_noise_belongs_to_the_episode():
    spec = evaluation_specs(tasks(1), split="official", episodes_per_task=2, seed=0)
    first, again = episode_noise(spec[0], (2, 3)), episode_noise(spec[0], (2, 3))
    other = episode_noise(spec[1], (2, 3))
    a, b, c = next(first), next(again), next(other)
    assert (a == b).all() and not (a == c).any()
    assert (a > 0).all() and (a < 1).all() and not (next(first) == a).any()
