"""Figures and reward of driven episodes, by hand."""

import numpy as np
import pytest
from rich.console import Console

from vlarl.driving_figures import driving_figures, driving_metrics, driving_table, infraction_lines
from vlarl.env_protocol import EpisodeSpec, Outcome
from vlarl.errors import UserError
from vlarl.rewards.additive_driving import AdditiveDrivingConfig
from vlarl.rewards.carl import CarlConfig
from vlarl.types import Trajectory


def episode(*events):
    return Trajectory(
        spec=EpisodeSpec(suite="toy", task=0, instruction="", init_state=0, seed=0),
        observations=[],
        outputs=[],
        executed=[],
        env_rewards=[],
        outcome=Outcome.FAILURE,
        events=list(events),
    )


def end(score, completion, kilometres, hits, lights, comfort=1.0, speed=20.0):
    return {
        "drive/comfort/jerk": 0.5 * comfort + 0.5,
        "drive/comfort/all": comfort,
        "drive/driving_score": score,
        "drive/route_completion": completion,
        "drive/kilometres": kilometres,
        "drive/speed": speed,
        "drive/count/collision_vehicle": hits,
        "drive/count/red_light": lights,
    }


def test_means_over_episodes_and_rates_over_all_kilometres():
    """The last event of an episode counts; 3 hits in 0.1 + 0.4 km are 6 per km."""
    played = [
        episode(end(1, 1, 1, 9, 9), end(60.0, 100.0, 0.1, 1.0, 0.0, 0.8, 30.0)),
        episode(end(20.0, 50.0, 0.4, 2.0, 1.0, 0.4)),
    ]
    figures = driving_figures(played)["driving"]
    assert figures["driving_score"] == 40.0
    assert figures["driving_score_ci95"] == [20.0, 60.0]
    assert figures["route_completion"] == 75.0
    assert figures["comfort"] == pytest.approx(0.6)
    assert figures["comfort_by_bound"] == pytest.approx({"jerk": 0.8})
    assert figures["kilometres"] == 0.5
    assert figures["speed"] == 25.0
    assert figures["infractions"] == {"collision_vehicle": 3, "red_light": 1}
    assert figures["infractions_per_km"] == {"collision_vehicle": 6.0, "red_light": 2.0}
    # exact interval of 3 events: 0.618672 to 8.767273 (Ulm 1990, table 1), per half a kilometre
    assert figures["infractions_per_km_ci95"]["collision_vehicle"] == pytest.approx([1.237344, 17.534546], abs=1e-5)


def test_intervals_narrow_with_episodes_and_are_the_same_every_time():
    def spread(count):
        rng = np.random.default_rng(0)
        played = [episode(end(score, 50.0, 0.1, 0.0, 0.0)) for score in rng.uniform(0.0, 100.0, count)]
        figures = driving_figures(played)["driving"]
        assert figures == driving_figures(played)["driving"]
        low, high = figures["driving_score_ci95"]
        assert low < figures["driving_score"] < high
        assert figures["route_completion_ci95"] == [50.0, 50.0]
        return high - low

    assert spread(100) < 0.5 * spread(10)


def test_other_episodes_have_no_such_figures():
    assert driving_figures([episode({}), episode()]) == {}


def test_metrics_are_the_same_figures():
    metrics = driving_metrics([episode(end(60.0, 100.0, 0.1, 1.0, 0.0)), episode(end(20.0, 50.0, 0.4, 2.0, 1.0))])
    assert metrics == {
        "driving_score": 40.0,
        "route_completion": 75.0,
        "comfort": 1.0,
        "speed": 20.0,
        "infractions_per_km/collision_vehicle": 6.0,
        "infractions_per_km/red_light": 2.0,
    }
    assert driving_metrics([episode({})]) == {}


def test_standing_still_is_no_division_by_zero():
    figures = driving_figures([episode(end(0.0, 0.0, 0.0, 0.0, 0.0))])["driving"]
    assert figures["infractions_per_km"]["red_light"] == 0.0
    assert figures["infractions_per_km_ci95"]["red_light"] is None
    assert list(infraction_lines(figures)) == ["infractions per km: none"]


def test_what_is_printed_names_routes_and_infractions():
    figures = driving_figures([episode(end(60.0, 100.0, 0.5, 1.0, 0.0)), episode(end(20.0, 50.0, 0.5, 2.0, 1.0))])
    console = Console(width=120, record=True)
    console.print(driving_table({"tasks": [{"name": "town route 0", **figures}], **figures}))
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[0][:3] == ["route", "driving", "score"]
    assert lines[1][:7] == ["town", "route", "0", "40.0", "(20-60)", "75.0", "(50-100)"]
    assert lines[2][0] == "all"
    assert list(infraction_lines(figures["driving"])) == [
        "infractions per km: collision_vehicle 3.00 (0.62 to 8.77), 3 in all",
        "infractions per km: red_light 1.00 (0.03 to 5.57), 1 in all",
    ]


def test_the_reward_adds_up_the_steps_of_each_decision():
    steps = [np.array([0.5, 0.25], np.float32), np.array([-1.0, 0.0], np.float32)]
    played = episode(*({"drive/carl": values} for values in steps))
    np.testing.assert_allclose(CarlConfig().build().score([played])[0], [0.75, -1.0])
    discounted = CarlConfig(scale=2.0, discount=0.5).build().score([played])[0]
    np.testing.assert_allclose(discounted, [2 * (0.5 + 0.125), -2.0])


@pytest.mark.parametrize("events", [[], [{"drive/carl": np.zeros(1)}, {}]])
def test_the_reward_wants_a_driving_suite(events):
    with pytest.raises(UserError, match=r"suite 'toy' does not give it.*drive_grid_town"):
        CarlConfig().build().score([episode(*events)])


def test_the_additive_reward_by_hand():
    """Progress, forecast, speed, comfort, hint: (5*2 + (5*.5 + 4*1 + 2*.75)/20)/16 = .65, then (11/20)/16 - 1."""
    steps = np.array([[[2.0, 0.5, 1.0, 0.75, 0.0], [0.0, 1.0, 1.0, 1.0, 1.0]]], np.float32)
    played = episode({"drive/factors": steps[0]}, {"drive/factors": np.zeros((2, 5), np.float32)})
    first, second = 0.65, 0.55 / 16 - 1.0
    np.testing.assert_allclose(AdditiveDrivingConfig().build().score([played])[0], [first + second, 0.0], rtol=1e-6)
    discounted = AdditiveDrivingConfig(scale=2.0, discount=0.5).build().score([played])[0]
    np.testing.assert_allclose(discounted[0], 2.0 * (first + 0.5 * second), rtol=1e-6)
    with pytest.raises(UserError, match="'drive/factors'"):
        AdditiveDrivingConfig().build().score([episode({"drive/carl": steps[0]})])
