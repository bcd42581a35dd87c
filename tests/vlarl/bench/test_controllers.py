"""``vlarl bench controllers``: what it concludes from given episodes, and that it goes on where it stopped."""

from types import SimpleNamespace

import numpy as np
import pytest

from vlarl.bench import controllers
from vlarl.env_protocol import Outcome
from vlarl.errors import UserError


def episode(outcome):
    return {"outcome": outcome, "steps": 3}


def test_pairs_rates_and_drift_by_hand():
    state = {
        "played": {
            "exact": [episode(o) for o in ("success", "success", "truncated", "error")],
            "compiled": [episode(o) for o in ("success", "truncated", "success", "success")],
        },
        "actions": [],
        "drift": [[0.0] * 9 + [1e-12] + [2e-9] * 10, [0.0] * 12],
    }
    summary = controllers.summarize(state)
    assert summary["exact"]["success_rate"] == pytest.approx(2 / 3) and summary["exact"]["episodes"] == 3
    assert summary["compiled"]["success_rate"] == 0.75
    assert summary["compiled minus exact"]["value"] == pytest.approx(0.75 - 2 / 3)
    low, high = summary["compiled minus exact"]["ci95"]
    assert low < 0 < high
    assert summary["pairs"] == {"same outcome": 1, "only exact succeeds": 1, "only compiled succeeds": 2}
    assert summary["drift"]["after steps"]["10"] == {"episodes": 2, "median": 5e-13, "max": 1e-12}
    assert summary["drift"]["after steps"]["20"]["episodes"] == 1
    assert summary["drift"]["first step above 1e-9"] == [11, None]


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    """The second batch of the second controller fails: a second run plays exactly what is missing."""
    played = []
    failing = [True]

    def fake_play(options, controller, tasks, specs):
        for first in range(0, len(specs), options.batch):
            if controller == "compiled" and len(played) >= 3 and failing[0]:
                raise KeyboardInterrupt
            chosen = specs[first : first + options.batch]
            played.append((controller, [(spec.task, spec.init_state) for spec in chosen]))
            output = SimpleNamespace(actions=np.full((2, 7), 0.1, np.float32))
            trajectory = SimpleNamespace(
                outcome=Outcome.SUCCESS, num_steps=1, outputs=[output], executed=[np.array([True, False])]
            )
            yield [trajectory] * len(chosen)

    monkeypatch.setattr(controllers, "play", fake_play)
    monkeypatch.setattr(controllers, "drift", lambda spec, actions: [float(len(actions))] * 12)
    path = tmp_path / "controllers.json"
    options = controllers.Options("somewhere", episodes=8, batch=4, drift_episodes=3, json=path)
    with pytest.raises(KeyboardInterrupt):
        controllers.run(options)
    failing[0] = False
    assert controllers.run(options) == 0
    assert [name for name, _ in played] == ["exact", "exact", "compiled", "compiled"]
    assert played[0][1] == played[2][1] and played[1][1] == played[3][1], "the same episodes under both"
    assert {task for task, _ in played[0][1]} == {0, 8}
    assert "compiled: 1.000" in capsys.readouterr().out
    with pytest.raises(UserError, match="another measurement"):
        controllers.run(controllers.Options("elsewhere", episodes=8, json=path))


def test_recorded_actions_are_those_executed():
    outputs = [SimpleNamespace(actions=np.arange(14, dtype=np.float32).reshape(2, 7) + 14 * i) for i in range(2)]
    masks = [np.array([True, True]), np.array([True, False])]
    actions = controllers.recorded(SimpleNamespace(outputs=outputs, executed=masks))
    assert np.array(actions).shape == (3, 7) and actions[2][0] == 14.0
