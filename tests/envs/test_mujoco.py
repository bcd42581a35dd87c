"""The Gymnasium adapter against stepping the same environment directly."""

import gymnasium
import numpy as np
import pytest

from envs.mujoco import MujocoConfig
from vlarl.collector import Collector
from vlarl.env_protocol import ActionError, EnvError, EpisodeSpec, Outcome, UnknownTaskError
from vlarl.local_slots import LocalSlots
from vlarl.policies.mlp import MlpPolicy
from vlarl.policy import Decoding
from vlarl.worker_pool import WorkerPool


def spec(init_state=3, **changes):
    return EpisodeSpec(suite="g", task=0, instruction="", init_state=init_state, **({"seed": init_state} | changes))


@pytest.mark.parametrize("env_id", ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5"])
def test_states_and_rewards_equal_the_environment_stepped_directly(env_id):
    config = MujocoConfig(env_id=env_id)
    sizes = config.spaces()
    slot, plain = config.make(), gymnasium.make(env_id)
    seen = slot.reset(spec(5))
    expected, _ = plain.reset(seed=5)
    assert seen.state.shape == (sizes["state_size"],) and np.array_equal(seen.state, expected.astype(np.float32))
    rng = np.random.default_rng(0)
    for _ in range(6):
        chunk = rng.uniform(-1.3, 1.3, (3, len(sizes["low"]))).astype(np.float32)  # beyond the bounds on purpose
        result = slot.step_chunk(chunk)
        for executed, action, reward in zip(result.executed, chunk, result.reward, strict=True):
            if executed:
                expected, wanted, *_ = plain.step(np.clip(action, -1, 1))
                assert reward == pytest.approx(wanted, rel=1e-5, abs=1e-6)
        assert np.array_equal(result.observation.state, expected.astype(np.float32))
        if result.outcome.has_ended:
            break
    slot.close()
    plain.close()


def test_falling_is_a_failure_and_the_time_limit_a_truncation():
    slot = MujocoConfig(env_id="Hopper-v5").make()
    slot.reset(spec())
    result = slot.step_chunk(np.ones((1000, 3), np.float32))
    assert result.outcome is Outcome.FAILURE and 0 < result.executed.sum() < 1000
    assert not result.reward[~result.executed].any()
    with pytest.raises(EnvError, match="call reset first"):
        slot.step_chunk(np.zeros((1, 3), np.float32))
    with pytest.raises(ActionError, match=r"expected \[chunk >= 1, 3\]"):
        slot.step_chunk(np.zeros((1, 2), np.float32))
    short = MujocoConfig(env_id="HalfCheetah-v5", horizon=4).make()
    short.reset(spec())
    assert short.step_chunk(np.zeros((9, 6), np.float32)).outcome is Outcome.TRUNCATED
    assert MujocoConfig(env_id="HalfCheetah-v5").task_specs("g")[0].horizon == 1000


def test_discrete_actions():
    config = MujocoConfig(env_id="CartPole-v1")
    assert config.spaces() == {"state_size": 4, "choices": 2}
    policy = MlpPolicy.for_env(config)
    assert policy.config.distribution == "categorical"
    with LocalSlots(config) as slots:
        (episode,) = Collector(policy, slots).collect([spec()], Decoding())
    assert episode.outcome is Outcome.FAILURE and episode.env_return == episode.num_steps > 5


def test_a_misspelt_environment_gets_gymnasiums_advice():
    with pytest.raises(UnknownTaskError, match="Hoper-v5.*Hopper"):
        MujocoConfig(env_id="Hoper-v5").spaces()
    with pytest.raises(UnknownTaskError, match="no_such_package"):
        MujocoConfig(env_id="no_such_package:Thing-v0").steps()


def test_slots_in_this_process_and_in_workers_play_the_same_episodes():
    config = MujocoConfig(env_id="Hopper-v5", horizon=30)
    policy = MlpPolicy.for_env(config)
    specs = [spec(state, seed=10 + state) for state in range(5)]
    with LocalSlots(config, num_slots=2) as slots:
        here = Collector(policy, slots).collect(specs, Decoding())
    with WorkerPool(config, tasks=[], workers=1, num_slots=3) as pool:
        there = Collector(policy, pool).collect(specs, Decoding())
    for a, b in zip(here, there, strict=True):
        assert a.outcome == b.outcome and a.num_steps == b.num_steps
        assert np.array_equal(np.stack([o.tokens for o in a.outputs]), np.stack([o.tokens for o in b.outputs]))
        assert (a.final_observation is None) == (a.outcome is not Outcome.TRUNCATED)
        if a.final_observation is not None:
            assert np.array_equal(a.final_observation.state, b.final_observation.state)


class Bad(MujocoConfig):
    def make(self):
        raise RuntimeError("no simulator today")


def test_a_fault_in_this_process_is_an_error_episode():
    with LocalSlots(Bad()) as slots:
        (episode,) = Collector(MlpPolicy(), slots).collect([spec()], Decoding())
    assert episode.outcome is Outcome.ERROR and "no simulator today" in episode.error


@pytest.mark.parametrize("motor", ["Cont-CC-PMSM-v0", "Finite-CC-PMSM-v0"])
def test_electric_motors_come_through_the_same_adapter(motor):
    """Tuple observations, no time limit, no seeding of a plain reset; both kinds of actions."""
    pytest.importorskip("gym_electric_motor", reason="pip install gym-electric-motor to test it")
    config = MujocoConfig(env_id=f"gym_electric_motor:{motor}", horizon=40)
    policy = MlpPolicy.for_env(config)
    specs = [spec(state, seed=7) for state in (1, 1, 2)]
    with LocalSlots(config) as slots:
        first, again, other = Collector(policy, slots).collect(specs, Decoding())
    assert first.outcome in (Outcome.FAILURE, Outcome.TRUNCATED), first.error
    states = [np.stack([o.state for o in t.observations]) for t in (first, again, other)]
    assert states[0].dtype == np.float32 and np.array_equal(states[0], states[1])
    assert states[0][0].tolist() != states[2][0].tolist()
    assert np.isfinite(first.env_return) and first.num_steps <= 40
