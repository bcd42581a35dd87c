"""The curriculum prefers what is solved half of the time, and says so."""

from types import SimpleNamespace

import numpy as np
import pytest

from vlarl.curriculum import Curriculum, CurriculumConfig
from vlarl.env_protocol import EpisodeSpec, Outcome


def episode(init_state, won, task=0, outcome=None):
    spec = EpisodeSpec(suite="s", task=task, instruction="", init_state=init_state, seed=0)
    outcome = outcome or (Outcome.SUCCESS if won else Outcome.FAILURE)
    return SimpleNamespace(spec=spec, succeeded=won, outcome=outcome)


def test_weight_peaks_at_one_half_and_never_vanishes():
    part = Curriculum(CurriculumConfig(width=0.25, floor=0.05))
    part.success = {(0, state): state / 10 for state in range(11)}
    weights = [part.weight(0, state) for state in range(11)]
    assert max(weights) == weights[5] == pytest.approx(1.05)
    assert weights == pytest.approx(weights[::-1])
    assert weights[0] == pytest.approx(0.05 + np.exp(-4)) and all(np.diff(weights[:6]) > 0)


def test_unknown_starts_count_as_their_tasks_mean():
    part = Curriculum(CurriculumConfig())
    assert part.weight(0, 7) == pytest.approx(1.05)
    part.note([episode(1, True), episode(2, True), episode(9, False, task=1)])
    assert part.weight(0, 7) == pytest.approx(part.weight(0, 1))
    assert part.weight(1, 3) == pytest.approx(part.weight(1, 9))


def test_success_is_remembered_and_errors_do_not_count():
    part = Curriculum(CurriculumConfig(memory=0.8))
    part.note([episode(1, True), episode(1, False)])
    metrics = part.note([episode(1, True), episode(4, False, outcome=Outcome.ERROR)])
    assert part.success == {(0, 1): pytest.approx(0.8 * 0.5 + 0.2)}
    assert metrics["curriculum/starts"] == 1 and metrics["curriculum/half_solved"] == 1
    again = Curriculum(CurriculumConfig())
    again.load(part.state())
    assert again.success == part.success


def test_what_teaches_most_is_drawn_most():
    part = Curriculum(CurriculumConfig(floor=0.0, width=0.2))
    part.success = {(0, 0): 0.5, (0, 1): 1.0, (0, 2): 0.0, (0, 3): 0.45}
    specs = [
        EpisodeSpec(suite="s", task=0, instruction="", init_state=state, seed=member, group=state)
        for state in range(4)
        for member in range(2)
    ]
    counts = np.zeros(4)
    for seed in range(200):
        chosen = part.choose(specs, 2, np.random.default_rng(seed))
        assert len(chosen) == 4 and len({spec.group for spec in chosen}) == 2
        assert [spec.group for spec in chosen] == sorted(spec.group for spec in chosen)
        for spec in chosen[::2]:
            counts[spec.init_state] += 1
    assert counts[0] > 190 and counts[3] > 190 and counts[1] + counts[2] < 20
