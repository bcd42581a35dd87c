"""Order of subgoals, without a simulator."""

import itertools

import pytest

from envs.libero.expert.goals import order


def test_turning_comes_before_opening_before_placing_before_closing():
    goals = [["close", "c"], ["in", "a", "b"], ["open", "d"], ["turnon", "e"]]
    for shuffled in itertools.permutations(goals):
        assert [goal[0] for goal in order(shuffled)] == ["turnon", "open", "in", "close"]


def test_a_stack_is_built_from_below():
    upper, lower = ("on", "bowl_1", "bowl_2"), ("on", "bowl_2", "tray_1")
    assert order([upper, lower]) == [lower, upper] == order([lower, upper])


def test_names_of_predicates_are_lowered_and_goals_become_tuples():
    assert order([["Turnon", "flat_stove_1"]]) == [("turnon", "flat_stove_1")]


@pytest.mark.parametrize("first", [0, 1])
def test_independent_placements_keep_the_order_of_the_task(first):
    goals = [("in", "soup_1", "basket_1"), ("in", "butter_1", "basket_1")]
    goals = goals[first:] + goals[:first]
    assert order(goals) == goals
