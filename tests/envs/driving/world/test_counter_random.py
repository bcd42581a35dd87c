"""The random numbers against the published generator, and as random numbers."""

import numpy as np

from envs.driving.world.counter_random import GOLDEN, choice, mix, normal, uniform

SEED = np.uint64(7)


def test_mix_is_splitmix64():
    """The first three outputs of SplitMix64 from state 0, as published with xoshiro's reference code."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    with np.errstate(over="ignore"):
        states = [GOLDEN * np.uint64(k) for k in (1, 2, 3)]
    assert [int(mix(state)) for state in states] == expected


def test_numbers_are_uniform_and_independent_of_neighbouring_keys():
    values = np.array([[uniform(SEED, step, actor, 3) for actor in range(40)] for step in range(250)])
    assert values.min() >= 0.0
    assert values.max() < 1.0
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert ((counts - 500) ** 2 / 500).sum() < 43.8, "chi squared, 19 degrees of freedom, 0.1 %"
    for a, b in ((values[:-1], values[1:]), (values[:, :-1], values[:, 1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.04


def test_every_part_of_the_key_matters():
    keys = [
        (SEED, 1, 2, 3),
        (np.uint64(8), 1, 2, 3),
        (SEED, 2, 2, 3),
        (SEED, 1, 3, 3),
        (SEED, 1, 2, 4),
        (SEED, 2, 1, 3),
    ]
    assert len({uniform(*key) for key in keys}) == len(keys)
    assert uniform(*keys[0]) == uniform(*keys[0])


def test_choices_and_normal_numbers():
    drawn = [choice(SEED, step, 0, 1, 3) for step in range(3000)]
    assert set(drawn) == {0, 1, 2}
    assert np.bincount(drawn).min() > 900
    values = np.array([normal(SEED, step, 0, 1) for step in range(4000)])
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1.0) < 0.05
