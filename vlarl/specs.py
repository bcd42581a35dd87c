"""Draws the episodes of an iteration and of an evaluation; pure functions of seed and iteration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vlarl.env_protocol import EpisodeSpec, TaskInfo
from vlarl.seeding import episode_seed, stream
from vlarl.splits import init_states


def training_groups(
    tasks: Sequence[TaskInfo], *, split: str, groups: int, group_size: int, seed: int, iteration: int, draw: int = 0
) -> list[EpisodeSpec]:
    """Specs of ``groups * group_size`` episodes: every group shares one task and one initial state.

    Tasks take turns, so that each gets the same number of groups; the initial states of a task are a fresh
    permutation per iteration. ``draw`` counts further draws of the same iteration (dynamic sampling).
    """
    generator = stream("training-groups", seed, iteration, draw)
    order = [tasks[i] for i in generator.permutation(len(tasks))]
    states = {t.task: list(generator.permutation(init_states(split, "train", t.num_init_states))) for t in order}
    specs = []
    for index in range(groups):
        info = order[index % len(order)]
        pool = states[info.task]
        base = EpisodeSpec(
            suite=info.suite,
            task=info.task,
            instruction=info.instruction,
            init_state=int(pool[(index // len(order)) % len(pool)]),
            seed=0,
            group=draw * groups + index,
            split=f"{split}/train",
        )
        for member in range(group_size):
            number = (draw * groups + index) * group_size + member
            specs.append(replace(base, seed=episode_seed("training-episode", seed, iteration, number)))
    return specs


def evaluation_specs(tasks: Sequence[TaskInfo], *, split: str, episodes_per_task: int, seed: int) -> list[EpisodeSpec]:
    """The same number of episodes for every task, cycling through the evaluation states of ``split``."""
    specs = []
    for info in tasks:
        states = init_states(split, "eval", info.num_init_states)
        specs += [
            EpisodeSpec(
                suite=info.suite,
                task=info.task,
                instruction=info.instruction,
                init_state=states[index % len(states)],
                seed=episode_seed("evaluation-episode", seed, info.task, index),
                group=len(specs) // max(episodes_per_task, 1),
                split=f"{split}/eval",
            )
            for index in range(episodes_per_task)
        ]
    return specs
